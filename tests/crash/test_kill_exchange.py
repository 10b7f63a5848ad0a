"""
kill -9 of the exchange at random moments, under load, again and again on the same data directory.

    several clients --commands--> exchange --answers--> noted      killed: while it starts, while it serves, with its follower or without
    its log --> machines of our own --> what every answer must have been, and the state that the next start must come to

A round is one start and one kill. ZEROSUM_KILLS sets how many there are.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tests.support.exchange import Exchange, NotTaken, Ready, children, door_of
from tests.support.exchange_process import digests
from tests.support.programs import live_program, unstamped
from zerosum.core import records
from zerosum.gateway.entry import Event
from zerosum.log.layout import split_records
from zerosum.log.reader import LogReader
from zerosum.services.audit import Audit
from zerosum.services.datadir import DataDir
from zerosum.services.machine import Machine
from zerosum.views.views import Views

KILLS = int(os.environ.get("ZEROSUM_KILLS", "25"))
CLIENTS = 6
SERVES_S_MAX = 0.5
STARTS_S_MAX = 1.0
OPTIONS = ("--segment-bytes", "262144", "--snapshot-every", "300")


class Witness:
    """Knows what was sent and answered, and what the log says came of it."""

    def __init__(self, data: DataDir) -> None:
        self.data = data
        self.machine = Machine()
        self.views = Views()
        self.sent: Counter[bytes] = Counter()
        self.answered: list[tuple[bytes, list[Event]]] = []  # since the last start
        self.answers = 0

    def check(self, ready: Ready) -> None:
        """After a restart: every answer stands, nothing was added, and the exchange is where its log leads."""
        commands, caused = self.follow(ready.sequence)
        found = Counter(commands.values())
        assert found <= self.sent, "nothing is in the log that was not sent"
        assert Counter(command for command, _ in self.answered) <= found, "whatever was answered is in the log"
        for command, events in self.answered:
            if events:
                place = events[0][2]
                assert commands[place] == command
                assert caused[place] == events
        assert digests(self.machine, self.views) == ready.digests
        self.answers += len(self.answered)
        self.answered.clear()
        self.sent.clear()

    def follow(self, sequence: int) -> tuple[dict[int, bytes], dict[int, list[Event]]]:
        """The commands that are new in the log, by place, and the account events that each caused."""
        commands: dict[int, bytes] = {}
        caused: dict[int, list[Event]] = {}
        with LogReader(self.data.log, after_sequence=self.machine.sequence) as reader:
            for group in reader.read(sequence):
                commands |= {group.first_sequence + at: unstamped(bytes(one)) for at, one in enumerate(split_records(group.records))}
                output = self.machine.apply(bytes(group.records))
                self.views.apply(output.account_events, output.market_events)
                for event in records.records(output.account_events):
                    caused.setdefault(event[2], []).append(event)
        self.views.forget_settled(sequence)
        assert self.machine.sequence == sequence
        return commands, caused

    async def client(self, program: Iterator[bytes]) -> None:
        """Sends command after command until the exchange is gone."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            async with door_of(self.data) as door:
                for command in program:
                    self.sent[unstamped(command)] += 1
                    try:
                        self.answered.append((unstamped(command), await door.ask(command)))
                    except NotTaken:
                        self.sent[unstamped(command)] -= 1


async def kill_while_it_starts(exchange: Exchange, rng: Random) -> None:
    exchange.begin()
    await asyncio.sleep(rng.uniform(0, STARTS_S_MAX))
    exchange.followers |= set(children(exchange.pid))
    await exchange.kill()


async def kill_under_load(exchange: Exchange, witness: Witness, program: Iterator[bytes], rng: Random) -> None:
    witness.check(await exchange.start())
    clients = [asyncio.create_task(witness.client(program)) for _ in range(CLIENTS)]
    await asyncio.sleep(rng.uniform(0, SERVES_S_MAX))
    if rng.random() < 0.3:
        for follower in children(exchange.pid):
            os.kill(follower, signal.SIGKILL)
        await asyncio.sleep(rng.choice([0, 0.3, 0.8]))
        exchange.followers |= set(children(exchange.pid))
    await exchange.kill()
    await asyncio.gather(*clients)


async def test_kill_9_at_any_moment_takes_back_nothing_that_was_answered(tmp_path: Path) -> None:
    """Invariants 3 to 5 of the exchange, on real processes, files and sockets."""
    rng = Random(KILLS)
    data = DataDir(tmp_path / "data")
    data.root.mkdir()
    witness = Witness(data)
    program = live_program(1)
    async with Exchange.on(data, *OPTIONS) as exchange:
        for _ in range(KILLS):
            if rng.random() < 0.2:
                await kill_while_it_starts(exchange, rng)
            else:
                await kill_under_load(exchange, witness, program, rng)
        witness.check(await exchange.start())
        assert await exchange.stop() == 0
    assert witness.answers > 20 * KILLS
    with contextlib.closing(sqlite3.connect(data.settled)) as settled:
        assert settled.execute("SELECT sequence FROM settlement_state").fetchone() == (witness.machine.sequence,)
    broken = [verdict for verdict in Audit(data).run() if not verdict.holds]
    assert broken == []
