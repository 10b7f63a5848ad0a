"""
What a gateway and the operators' console of a cluster have in common: commands out, events in, identities, and the doors in front of them.

    1 deployment   Kafka and the database are there, and belong together
    2 writing      a message with nothing in it stands in the first shard's commands: it can be written, and the clocks agree
    3 views        every stream of events is read, up to where it ends now
    4 doors        whatever the service opens

They stop in the opposite order.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, final

from nacl.signing import SigningKey

from zerosum.console.doors import tell_of_trail
from zerosum.identity.cql import CqlDocuments
from zerosum.identity.identities import Identities
from zerosum.identity.keyring import KeyRing
from zerosum.identity.sealing import MasterKey
from zerosum.log.kafka.link import KafkaLink
from zerosum.log.messages import pack
from zerosum.log.streams import DeliveryFailed
from zerosum.net.tls import ServerTls
from zerosum.services.cluster.gateway import ClusterEntry, GatewaySettings
from zerosum.services.cluster.joining import RETRY_S, RETRY_S_MAX, Deployment, NotThere
from zerosum.services.cluster.signing import guarded
from zerosum.services.cluster.topology import Streams
from zerosum.settlement.cql.session import CqlSettings, Session
from zerosum.settlement.cql.store import CqlRowStore
from zerosum.views.views import Views

CLOCK_WATCH_S: Final = 1.0
CLOCK_AHEAD_MAX_US: Final = 1_000_000  # or behind: deadlines would be refused, or mean nothing


@dataclass(frozen=True, slots=True)
class FrontSettings:
    """`wait_s`: for what is needed at the start."""

    master_key: MasterKey
    entry: GatewaySettings = field(default_factory=GatewaySettings)
    wait_s: float = 120.0


class Door(Protocol):
    async def start(self) -> None: ...

    async def stop(self) -> None: ...


def clock_us() -> int:
    return time.time_ns() // 1000


@final
class Front:
    """Made in the event loop that it runs in; `stopped` tells why it can't go on."""

    def __init__(
        self, settings: FrontSettings, link: KafkaLink, session: Session, deployment: Deployment, report: Callable[[str], None],
        tls: ServerTls | None = None, key: SigningKey | None = None,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._report = report
        self.running = AsyncExitStack()
        self.tls = tls
        topology = deployment.topology
        self.link = link
        self.views = Views(topology.shards, topology.partitions)
        store = CqlRowStore(session, deployment.epoch)
        streams = guarded(Streams(topology, link.stream), key, None, report)
        self.entry = ClusterEntry(topology, streams, self.views, store, settings.entry, clock_us, link.probe)
        self._documents = CqlDocuments.connect(session.settings)
        self.identities = Identities(self._documents, settings.master_key, tell=tell_of_trail)
        self.running.callback(self.identities.close)
        self.stopped: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    async def start(self, doors: Sequence[Door], ring: KeyRing) -> None:
        """Returns once it serves. `ring`: of those who come through these doors."""
        self.identities.follow(ring)
        await self._until_written()
        self.work("events", self.entry.run())
        self.work("clock", self._watch_clock())
        self._report("reading the streams of events ...")
        current = asyncio.create_task(self.entry.current.wait())
        ends: list[asyncio.Future[Any]] = [current, self.stopped]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        current.cancel()
        if self.stopped.done():
            raise self.stopped.result()
        if self.tls is not None:
            self.tls.start()
            self.running.callback(self.tls.stop)
        for door in doors:
            await door.start()
            self.running.push_async_callback(door.stop)

    async def renew(self, settings: CqlSettings) -> None:
        """Reach identities with another password, or by other certificates. StoreFailed, DatabaseRefused: it goes on as it was."""
        await self._documents.renew(settings)

    async def stop(self) -> None:
        """Answer what is under way, then let go."""
        await self.running.aclose()

    def work(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Something that goes on until the service stops, and without which it can't go on."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self.running.push_async_callback(self._end, task)

    def clock_fault(self) -> str | None:
        ahead_us = self.link.clock_ahead_us
        if abs(ahead_us) <= CLOCK_AHEAD_MAX_US:
            return None
        return f"this machine's clock is {ahead_us / 1e6:+.1f} s from the broker's: set it"

    async def _until_written(self) -> None:
        """NotThere, after a while."""
        loop = asyncio.get_running_loop()
        deadline, wait_s = loop.time() + self._settings.wait_s, RETRY_S
        while (why := await self._write_nothing()) is not None:
            if loop.time() > deadline:
                raise NotThere(
                    f"nothing can be written: {why} See that enough brokers are up, and `zerosum cluster init` for who may write."
                )
            self._report(f"nothing can be written yet: {why}")
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, RETRY_S_MAX)

    async def _watch_clock(self) -> None:
        """A clock that was wrong may have been set, and who is not ready sends nothing that would show it."""
        while True:
            await asyncio.sleep(CLOCK_WATCH_S)
            if self.clock_fault() is not None:
                await self._write_nothing()

    async def _write_nothing(self) -> str | None:
        """A message that every machine passes by; why it may not be there."""
        try:
            await self.link.stream("commands.0").writer().append(pack(b""))
        except DeliveryFailed as error:
            return str(error)
        return None

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and not self.stopped.done():
            self.stopped.set_result(task.exception() or AssertionError(f"{task.get_name()} has ended by itself"))

    async def _end(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        await asyncio.wait([task])
