"""
The consumer of a process: a thread that fetches for all its streams, and hands over to the event loop.

    event loop --commands: go to an offset, pause, go on--> thread --fetched messages--> event loop: each stream's buffer

A stream whose buffer is full is paused, and the others go on. No group, no commits: where a role reads on from is its own affair.
What the thread ends of, every reader is told. Once other certificates are to be believed, another consumer goes on from where the one
before was.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, NamedTuple, Protocol, TypeVar, final

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from zerosum.errors import ZerosumError
from zerosum.log.kafka.settings import KafkaSettings, Login, error_text
from zerosum.log.streams import Appended, Ends

POLL_S: Final = 0.02  # the most that a command waits
FETCHED_MAX: Final = 1_000  # messages handed over at a time
FETCH_BYTES: Final = 1 << 20  # of a stream at a time
ENDS_S: Final = 2.0
IDLE_MS: Final = 500  # between two requests where nothing comes
PATIENT_BYTES: Final = 256 << 10  # that are worth a request
OUT_OF_RANGE: Final = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE})


T = TypeVar("T")
Place = tuple[str, int]
"""Topic and partition."""


class ReadingFailed(ZerosumError):
    """Nothing more can be read in this process, or not this stream."""


class Fetched(NamedTuple):
    """
    `visit`: which going to an offset these are of; those of an earlier one are stale. `is_out_of_range`: nothing is there. `refused`: why
    it may not be read.
    """

    visit: int
    messages: list[Appended]
    is_out_of_range: bool = False
    refused: str = ""


class Receiver(Protocol):
    """A stream's buffer."""

    @property
    def is_waited_for(self) -> bool: ...

    def receive(self, fetched: Fetched) -> None: ...

    def fail(self, error: Exception) -> None: ...


@final
class Reader:
    """Made in the event loop."""

    def __init__(self, settings: KafkaSettings, alive: Callable[[], None], warn: Callable[[str], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._alive = alive
        self._warn = warn
        self._failed: ReadingFailed | None = None
        self._asker = asker(settings, warn)
        self._questions = ThreadPoolExecutor(1, "kafka questions")
        self._probes = ThreadPoolExecutor(
            1, "kafka probes"
        )  # of many streams, some of which may have no leader: no question waits for them
        self._consumer = consumer(settings, warn)
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._receivers: dict[Place, Receiver] = {}
        self._last_visit = 0
        self._visits: dict[Place, int] = {}  # the thread's, as the next two are
        self._next: dict[Place, int] = {}  # offsets
        self._paused: set[Place] = set()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="kafka consumer", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------------ in the event loop

    def visit(self, place: Place, offset: int, receiver: Receiver) -> int:
        """Fetch from an offset on, for one receiver and no other any more. The number that what is fetched then bears. ReadingFailed."""
        before = self._receivers.get(place)
        assert before is None or before is receiver or not before.is_waited_for, f"{place} has one reader at a time"
        if self._failed is not None:
            raise self._failed
        self._last_visit += 1
        self._receivers[place] = receiver
        self._commands.put(partial(self._go_to, place, offset, self._last_visit))
        return self._last_visit

    def pause(self, place: Place) -> None:
        self._commands.put(partial(self._pause, place))

    def resume(self, place: Place) -> None:
        self._commands.put(partial(self._resume, place))

    async def ends(self, place: Place, *, is_probe: bool = False) -> Ends:
        """KafkaException where no broker says."""
        ask = partial(self._asker.get_watermark_offsets, TopicPartition(*place), timeout=ENDS_S, cached=False)
        first, next_offset = await self._loop.run_in_executor(self._probes if is_probe else self._questions, ask)
        self._alive()
        return Ends(first, next_offset)

    def set_login(self, login: Login) -> None:
        """For connections that are made from now on."""
        self._asker.set_sasl_credentials(login.user, login.password)
        self._commands.put(lambda: self._consumer.set_sasl_credentials(login.user, login.password))

    async def renew(self, settings: KafkaSettings) -> None:
        """By new connections, from where the old ones were."""
        self._commands.put(partial(self._go_on_with, consumer(settings, self._warn)))
        before, self._asker = self._asker, asker(settings, self._warn)
        for asks in (self._probes, self._questions):
            await self._loop.run_in_executor(asks, int)  # what was asked of the old one before is answered
        await self._loop.run_in_executor(self._questions, before.close)

    async def close(self) -> None:
        self._closing = True
        await asyncio.to_thread(self._thread.join)
        await self._loop.run_in_executor(self._questions, self._asker.close)
        self._questions.shutdown()
        self._probes.shutdown()

    def _hand_over(self, fetched: dict[Place, Fetched]) -> None:
        for place, each in fetched.items():
            self._receivers[place].receive(each)
        self._alive()

    def _fail(self, error: Exception) -> None:
        self._failed = ReadingFailed(f"Kafka can't be read any more: {error!r}.")
        for receiver in self._receivers.values():
            receiver.fail(self._failed)

    # ------------------------------------------------------------------ in the thread

    def _run(self) -> None:
        try:
            self._fetch()
        except Exception as error:  # noqa: BLE001  whatever it is, those who wait must be told
            self._in_loop(self._fail, error)
        self._consumer.close()

    def _fetch(self) -> None:
        while not self._closing:
            while not self._commands.empty():
                self._commands.get()()
            message = self._consumer.poll(POLL_S)
            if message is not None:
                fetched = self._sorted([message, *self._consumer.consume(FETCHED_MAX, 0)])
                if fetched:
                    self._in_loop(self._hand_over, fetched)

    def _go_to(self, place: Place, offset: int, visit: int) -> None:
        target = TopicPartition(*place, offset)
        if place in self._visits:
            self._consumer.incremental_unassign([target])
        self._consumer.incremental_assign([target])
        self._resume(place)  # a pause outlives the assignment
        self._visits[place] = visit
        self._next[place] = offset

    def _pause(self, place: Place) -> None:
        self._paused.add(place)
        self._consumer.pause([TopicPartition(*place)])

    def _resume(self, place: Place) -> None:
        self._paused.discard(place)
        self._consumer.resume([TopicPartition(*place)])

    def _go_on_with(self, another: Consumer) -> None:
        before, self._consumer = self._consumer, another
        another.assign([TopicPartition(*place, offset) for place, offset in self._next.items()])
        another.pause([TopicPartition(*place) for place in self._paused])
        before.close()

    def _sorted(self, messages: list[Message]) -> dict[Place, Fetched]:
        """By stream."""
        fetched: dict[Place, Fetched] = {}
        for message in messages:
            topic, partition, error = message.topic(), message.partition(), message.error()
            if topic is None or partition is None or (topic, partition) not in self._visits:
                continue
            place = topic, partition
            of_place = fetched.setdefault(place, Fetched(self._visits[place], []))
            if error is None:
                offset = message.offset()
                assert offset is not None, "what a stream holds has a place"
                self._next[place] = offset + 1
                of_place.messages.append(Appended(offset, message.timestamp()[1] * 1000, message.value() or b""))
            elif error.code() in OUT_OF_RANGE:
                fetched[place] = of_place._replace(is_out_of_range=True)
            elif error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                fetched[place] = of_place._replace(refused=error_text(error))
            else:
                self._warn(f"{topic}, partition {partition}: {error_text(error)}")
        return fetched

    def _in_loop(self, call: Callable[[T], None], argument: T) -> None:
        try:
            self._loop.call_soon_threadsafe(call, argument)
        except RuntimeError:  # the loop is closed
            self._closing = True


def asker(settings: KafkaSettings, warn: Callable[[str], None]) -> Consumer:
    """For questions: asked of a consumer that another thread polls, they are never answered."""
    return Consumer({**settings.common(warn), "group.id": settings.prefix})  # of no group; the name is needed all the same


def consumer(settings: KafkaSettings, warn: Callable[[str], None]) -> Consumer:
    return Consumer(
        {
            **settings.common(warn),
            "group.id": settings.prefix,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "check.crcs": True,
            "fetch.min.bytes": PATIENT_BYTES if settings.patience_s else 1,
            "fetch.wait.max.ms": int(settings.patience_s * 1000) or IDLE_MS,
            "fetch.error.backoff.ms": 50,
            "fetch.queue.backoff.ms": 5,
            "max.partition.fetch.bytes": min(FETCH_BYTES, settings.buffered_bytes),
            "queued.max.messages.kbytes": settings.buffered_bytes // 1024,
        }
    )
