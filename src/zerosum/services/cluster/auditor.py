"""
The auditor: follows every stream of events, and checks all the time that nothing is made or lost between the shards. It reports records
that machines were sent by nobody who may: they changed nothing, but somebody can write where nobody else should.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, final

from zerosum.core import records
from zerosum.core.commands import KIND_MASK
from zerosum.errors import ZerosumError
from zerosum.log.streams import Stream
from zerosum.services.cluster.following import follow
from zerosum.services.cluster.machines import NOBODY
from zerosum.services.cluster.topology import Streams
from zerosum.settlement.batch import Event, unpacked
from zerosum.settlement.cut import Cut

CHECK_S: Final = 1.0


class NotConserved(ZerosumError):
    """Money was made or lost."""


@final
class Auditor:
    """
    `checks`: how many times all was found in order, since every stream was read to where it ended at first. `foreign`: records from nobody
    who may send them. `behind`: messages that are not read.
    """

    def __init__(self, streams: Streams, every_s: float = CHECK_S, report: Callable[[str], None] = lambda line: None) -> None:
        self.cut = Cut()
        self.checks = 0
        self.foreign = 0
        self.behind = 0
        self._report = report
        self._streams = streams
        self._every_s = every_s
        self._all = [*streams.account_events, *streams.market_events]
        self._to_catch_up = len(self._all)
        self._next_offsets = dict.fromkeys((stream.name for stream in self._all), 0)

    async def run(self) -> None:
        """NotConserved, with what does not add up."""
        async with asyncio.TaskGroup() as tasks:
            for shard, stream in enumerate(self._streams.account_events):
                tasks.create_task(self._follow(stream, partial(self.cut.account_events, shard)))
            for stream in self._streams.market_events:
                tasks.create_task(self._follow(stream, self.cut.market_events))
            tasks.create_task(self._check_all_the_time())

    async def _follow(self, stream: Stream, take: Callable[[Iterable[Event]], None]) -> None:
        async for followed in follow(stream, self._caught_up):
            self._next_offsets[stream.name] = followed.offset + 1
            events = list(unpacked(followed.records))
            take(events)
            for event in events:
                if event[0] & KIND_MASK in (records.FOREIGN, records.MARKET_FOREIGN):
                    self._note_foreign(stream.name, event)

    def _note_foreign(self, name: str, event: Event) -> None:
        self.foreign += 1
        fields = records.named(event)
        what = f"a record {records.kind_name(fields['record'])} came from sender {fields['sender']}, who may not send it"
        if fields["sender"] == NOBODY:
            what = "what came can't be read, and is of none of the deployment's services"
        self._report(f"{name}, event {event[1]}: {what}. It changed nothing. Find out who else can write to the machines' input.")

    async def _check_all_the_time(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            ends = [(await stream.ends()).next for stream in self._all]
            self.behind = sum(max(0, end - self._next_offsets[stream.name]) for stream, end in zip(self._all, ends, strict=True))
            self.check()

    def _caught_up(self) -> None:
        """With one more of the streams."""
        self._to_catch_up -= 1

    def check(self) -> None:
        """NotConserved."""
        findings = list(self.cut.findings())
        if findings:
            raise NotConserved("\n".join(findings))
        self.checks += not self._to_catch_up
