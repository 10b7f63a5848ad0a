"""
Sessions of a producer. A session is idempotent: within it nothing is repeated, nothing changes places, and nothing follows a gap.

    send --> librdkafka's queue --> broker, replicas --> its thread --> event loop: the offset

    renew: what is sent waits --> what is under way is delivered --> another producer --> what waits, in its order

Once one message can't be delivered, all that is under way fails and the session is done: a message that came later must not be there
without an earlier one. What failed may be in its stream, or come there yet.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar, final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from zerosum.log.kafka.settings import KafkaSettings, Login
from zerosum.log.streams import DeliveryFailed

POLL_S: Final = 0.1
TRIED_S: Final = 10.0  # after which a failure says nothing about now

T = TypeVar("T")
Sent = tuple[asyncio.Future[int], int | None, str]
"""Who waits for a message; its offset, or None and why it was not delivered."""


@final
class Waits:
    """For how long what is sent has not been acknowledged, in one session after another."""

    def __init__(self) -> None:
        self._since: float | None = None  # the last acknowledgement, or the first message that waits for one
        self._under_way = 0
        self._failed_at = 0.0
        self.failures = 0

    def sent(self, now: float) -> None:
        if self._since is None or self._is_forgotten(now):
            self._since = now
        self._under_way += 1

    def ended(self, now: float, *, well: bool) -> None:
        self._under_way -= 1
        if well:
            self._since = now if self._under_way else None
        else:
            self.failures += 1
            self._failed_at = now

    def seconds(self, now: float) -> float:
        """0 where nobody has tried for a while."""
        return now - self._since if self._since is not None and not self._is_forgotten(now) else 0.0

    def _is_forgotten(self, now: float) -> bool:
        return not self._under_way and now - self._failed_at > TRIED_S


@final
class Session:
    """Made in the event loop. `clock_ahead_us`: by how much our clock is ahead of the broker's, as far as the last message shows."""

    def __init__(self, settings: KafkaSettings, alive: Callable[[], None], warn: Callable[[str], None], waits: Waits) -> None:
        """`alive` is called, in the event loop, with every acknowledgement."""
        self.failed: str | None = None
        self.clock_ahead_us = 0
        self._loop = asyncio.get_running_loop()
        self._alive = alive
        self._waits = waits
        self._warn = warn
        self._producer = producer(settings, warn)
        self._under_way: set[asyncio.Future[int]] = set()
        self._all_ended = asyncio.Event()  # nothing is under way
        self._held: deque[tuple[asyncio.Future[int], str, int, bytes]] = deque()  # until another producer is there
        self._is_held = False
        self._ended: list[Sent] = []  # by the thread, not handed over yet
        self._closing = False
        self._thread = threading.Thread(target=self._poll, name="kafka producer", daemon=True)
        self._thread.start()

    async def send(self, topic: str, partition: int, data: bytes) -> int:
        """DeliveryFailed."""
        if self.failed is not None:
            raise DeliveryFailed(self.failed)
        waits: asyncio.Future[int] = self._loop.create_future()
        if self._is_held:
            self._held.append((waits, topic, partition, data))
        else:
            self._produce(waits, topic, partition, data)
        return await waits

    def _produce(self, waits: asyncio.Future[int], topic: str, partition: int, data: bytes) -> None:
        began_us = time.time_ns() // 1000

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is None:
                self._compare_clocks(began_us, message.timestamp()[1] * 1000)
            self._ended.append((waits, message.offset() if error is None else None, "" if error is None else error.str()))

        try:
            self._producer.produce(topic, data, partition=partition, on_delivery=delivered)
        except (BufferError, KafkaException) as error:
            self._fail(f"{topic}, partition {partition}: {error}")
            self._refuse(waits)
            return
        self._under_way.add(waits)
        self._all_ended.clear()
        self._waits.sent(self._loop.time())

    def set_login(self, login: Login) -> None:
        """For connections that are made from now on."""
        self._producer.set_sasl_credentials(login.user, login.password)

    async def renew(self, settings: KafkaSettings) -> None:
        """By another producer. To be called once at a time."""
        self._is_held = True
        if self._under_way:
            await self._all_ended.wait()
        if self.failed is None:
            self._producer = producer(settings, self._warn)
        self._is_held = False
        while self._held:
            self._produce(*self._held.popleft())

    def close(self) -> None:
        """Let go of what is under way. To be called once, in the event loop."""
        self._fail("the session is closed")

    def _compare_clocks(self, sent_us: int, appended_us: int) -> None:
        """In the thread. The broker's time has whole milliseconds, and was taken between the sending and now."""
        now_us = time.time_ns() // 1000
        if appended_us > now_us:
            self.clock_ahead_us = now_us - appended_us
        else:
            self.clock_ahead_us = max(0, sent_us - appended_us - 1000)

    def _fail(self, why: str) -> None:
        if self.failed is None:
            self.failed = why
            self._closing = True
            self._producer.purge(in_queue=True, in_flight=True, blocking=False)
            while self._held:
                self._refuse(self._held.popleft()[0])

    def _refuse(self, waits: asyncio.Future[int]) -> None:
        if not waits.done():  # somebody waits
            waits.set_exception(DeliveryFailed(str(self.failed)))

    # ------------------------------------------------------------------ the thread

    def _poll(self) -> None:
        while not self._closing or len(self._producer):
            try:
                self._producer.poll(POLL_S)
            except KafkaException as error:  # a fatal one: it comes once, and nothing is delivered any more
                self._in_loop(self._fail, error.args[0].str())
            if self._ended:
                ended, self._ended = self._ended, []
                self._in_loop(self._hand_over, ended)
        self._producer.flush(0)

    def _in_loop(self, call: Callable[[T], None], argument: T) -> None:
        try:
            self._loop.call_soon_threadsafe(call, argument)
        except RuntimeError:  # the loop is closed: nobody waits any more
            self._closing = True

    def _hand_over(self, ended: list[Sent]) -> None:
        for waits, offset, why in ended:
            self._under_way.discard(waits)
            self._waits.ended(self._loop.time(), well=offset is not None)
            if offset is None:
                self._fail(why)
            if waits.done():  # nobody waits any more
                continue
            if offset is None:
                waits.set_exception(DeliveryFailed(self.failed or why))
            else:
                waits.set_result(offset)
        if any(offset is not None for _, offset, _ in ended):
            self._alive()
        if not self._under_way:
            self._all_ended.set()


def producer(settings: KafkaSettings, warn: Callable[[str], None]) -> Producer:
    return Producer(
        {
            **settings.common(warn),
            "enable.idempotence": True,
            "enable.gapless.guarantee": True,
            "acks": "all",
            "linger.ms": 0,  # a message is many records already
            "message.timeout.ms": int(settings.delivery_s * 1000),
            "queue.buffering.max.kbytes": settings.queued_bytes // 1024,
        }
    )
