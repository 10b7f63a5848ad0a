"""
One process's connection to Kafka: a consumer, a session at a time of a producer, and the streams read and written through them.

    KafkaStream("commands.3")   partition 3 of the topic <prefix>.commands        KafkaStream("control")   partition 0 of <prefix>.control

A stream has one reader at a time here: a read from another place than where the last one ended goes there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, final

from confluent_kafka import KafkaException

from zerosum.errors import ZerosumError
from zerosum.log.kafka.reading import Fetched, Reader, ReadingFailed
from zerosum.log.kafka.sending import Session, Waits
from zerosum.log.kafka.settings import KafkaSettings, error_text
from zerosum.log.streams import Appended, Ends, StreamPruned

RETRY_S: Final = 0.1
RETRY_S_MAX: Final = 2.0
TOLD_EVERY_S: Final = 10.0


class StreamCut(ZerosumError):
    """A stream ends before what was read of it, or acknowledged."""


@final
class KafkaLink:
    """Made in the event loop that uses it. `report` is told of trouble, each kind now and then."""

    def __init__(self, settings: KafkaSettings, report: Callable[[str], None]) -> None:
        self.settings = settings
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._alive_at = self._loop.time()
        self._told: dict[str, float] = {}
        self._session: Session | None = None
        self._waits = Waits()
        self.reader = Reader(settings, self.alive, self._warn)

    @property
    def silent_s(self) -> float:
        """For how long no broker has been heard of. Whoever wants to know asks for something now and then."""
        return self._loop.time() - self._alive_at

    @property
    def unacknowledged_s(self) -> float:
        """For how long nothing of what was sent has been acknowledged."""
        return self._waits.seconds(self._loop.time())

    @property
    def failures(self) -> int:
        """Messages that could not be delivered."""
        return self._waits.failures

    @property
    def clock_ahead_us(self) -> int:
        """By how much this machine's clock is ahead of the broker's."""
        return self._session.clock_ahead_us if self._session is not None else 0

    def stream(self, name: str) -> KafkaStream:
        return KafkaStream(name, self)

    def probe(self, name: str) -> KafkaStream:
        """One that is asked where it ends now and then, and for nothing else."""
        return KafkaStream(name, self, is_probe=True)

    def session(self) -> Session:
        """The one of now; another where that has failed."""
        if self._session is None or self._session.failed is not None:
            self._session = Session(self.settings, self.alive, self._warn, self._waits)
        return self._session

    async def renew(self, settings: KafkaSettings) -> None:
        """
        Go on with another password, or other certificates to believe. A password is for connections that are made from now on; certificates
        are believed from the beginning of a client on, so others take the place of those that there are. Nothing is lost or changes places.
        """
        before, self.settings = self.settings, settings
        session = self._session if self._session is not None and self._session.failed is None else None
        if settings.ca != before.ca:
            if session is not None:
                await session.renew(settings)
            await self.reader.renew(settings)
        elif settings.login is not None:
            if session is not None:
                session.set_login(settings.login)
            self.reader.set_login(settings.login)

    async def close(self) -> None:
        if self._session is not None:
            self._session.close()
        await self.reader.close()

    def alive(self) -> None:
        self._alive_at = self._loop.time()

    def _warn(self, text: str) -> None:
        """In a thread of librdkafka's."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self.tell, text)

    def tell(self, text: str) -> None:
        now = self._loop.time()
        if now - self._told.get(text, -TOLD_EVERY_S) >= TOLD_EVERY_S:
            if len(self._told) > 100:
                self._told.clear()
            self._told[text] = now
            self._report(f"Kafka: {text}")


@final
class KafkaWriter:
    def __init__(self, session: Session, topic: str, partition: int) -> None:
        self._session = session
        self._topic = topic
        self._partition = partition

    async def append(self, data: bytes) -> int:
        return await self._session.send(self._topic, self._partition, data)


@final
class KafkaStream:
    def __init__(self, name: str, link: KafkaLink, *, is_probe: bool = False) -> None:
        self.name = name
        self._is_probe = is_probe
        topic, _, partition = name.partition(".")
        self.place = f"{link.settings.prefix}.{topic}", int(partition or 0)
        self._link = link
        self._visit = 0  # the number of the last going to another place
        self._next = -1  # the offset of the next message to be received
        self._buffer: deque[Appended] = deque()
        self.buffered_bytes = 0  # fetched, and not read yet
        self._is_paused = False
        self._is_out_of_range = False
        self._failed: Exception | None = None
        self._more = asyncio.Event()
        self.is_waited_for = False

    def writer(self) -> KafkaWriter:
        return KafkaWriter(self._link.session(), *self.place)

    async def ends(self) -> Ends:
        """Waits for a broker that says."""
        wait_s = RETRY_S
        while True:
            try:
                return await self._link.reader.ends(self.place, is_probe=self._is_probe)
            except KafkaException as error:
                self._link.tell(f"where {self.name} ends can't be asked: {error_text(error.args[0])}. It is tried again.")
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, RETRY_S_MAX)

    async def read(self, offset: int) -> list[Appended]:
        """StreamPruned, StreamCut, ReadingFailed."""
        if offset != (self._buffer[0].offset if self._buffer else self._next):
            self._go_to(offset)
        while not self._buffer:
            if self._is_out_of_range:
                await self._find_in_range(offset)
            await self._wait()
        found = list(self._buffer)
        self._buffer.clear()
        self.buffered_bytes = 0
        if self._is_paused:
            self._is_paused = False
            self._link.reader.resume(self.place)
        return found

    async def _wait(self) -> None:
        """ReadingFailed."""
        if self._failed is not None:
            raise self._failed
        self._more.clear()
        self.is_waited_for = True
        try:
            await self._more.wait()
        finally:
            self.is_waited_for = False

    def _go_to(self, offset: int) -> None:
        self._next = offset
        self._buffer.clear()
        self.buffered_bytes = 0
        self._is_paused = False
        self._is_out_of_range = False
        self._visit = self._link.reader.visit(self.place, offset, self)

    def receive(self, fetched: Fetched) -> None:
        if fetched.visit != self._visit:
            return
        for message in fetched.messages:
            if message.offset >= self._next:
                self._buffer.append(message)
                self.buffered_bytes += len(message.data)
                self._next = message.offset + 1
        self._is_out_of_range = fetched.is_out_of_range
        if fetched.refused:
            login = self._link.settings.login
            user = f"the user {login.user}" if login is not None else "a process without kafka.user"
            self._failed = ReadingFailed(
                f"{self.name} may not be read by {user}: {fetched.refused}. Is it this role's? `zerosum cluster init` makes grants."
            )
        if self.buffered_bytes > self._link.settings.buffered_bytes and not self._is_paused:
            self._is_paused = True
            self._link.reader.pause(self.place)
        self._more.set()

    def fail(self, error: Exception) -> None:
        self._failed = error
        self._more.set()

    async def _find_in_range(self, offset: int) -> None:
        """StreamPruned, StreamCut."""
        ends = await self.ends()
        if offset < ends.first:
            raise StreamPruned(self.name, offset, ends.first)
        if offset > ends.next:
            raise StreamCut(
                f"{self.name}: message {offset} is wanted, and the stream ends at {ends.next}: what was acknowledged is gone. Do not go on:"
                " put the stream back from a replica that has it."
            )
        self._go_to(offset)  # it was so for a moment only: a leader changed
