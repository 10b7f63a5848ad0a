"""
An Entry without a log: a real exchange behind the gateway's door, and a real store that settles when it is asked to. Its clock stands where
a test puts it.

    submit --> applied at once --> views --> answer
    after hold() commands gather, and release() applies them as one group, as a log thread's return does
"""

from __future__ import annotations

from typing import final

from zerosum.core import records
from zerosum.core.exchange import Exchange
from zerosum.gateway.entry import Answer, Busy, Event, Lost, Passed, unheard
from zerosum.settlement.sqlite import Batch, SqliteStore
from zerosum.views.events import unpacked
from zerosum.views.views import Views

START_US = 1_700_000_000_000_000


@final
class DirectEntry:
    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.unsettled: list[tuple[bytes, bytes]] = []  # account and market events
        self.exchange = Exchange(reserve=1 << 12)
        self.views = Views()
        self.clock_us = START_US
        self.commands: list[bytes] = []  # every one that was applied
        self.busy = ""  # why nothing is taken, if it is not
        self.settles = True  # in time
        self.submitted = 0
        self._held: list[tuple[bytes, Answer, Lost]] | None = None
        self._passed: list[Passed] = []

    # ------------------------------------------------------------------ Entry

    def submit(self, command: bytes, answer: Answer, lost: Lost = unheard) -> None:
        if self.busy:
            raise Busy(self.busy)
        self.submitted += 1
        if self._held is not None:
            self._held.append((command, answer, lost))
        else:
            self._apply([(command, answer)])

    def barrier(self, account_id: int, passed: Passed) -> None:
        if self._held:
            self._passed.append(passed)
        else:
            passed(True)

    def settled(self, account_id: int, passed: Passed, timeout_s: float) -> None:
        assert timeout_s > 0
        if self.settles:
            self.settle()
        passed(self.settles)

    def now_us(self) -> int:
        return self.clock_us

    # ------------------------------------------------------------------ for tests

    def hold(self) -> None:
        """From here on commands wait."""
        self._held = []

    def release(self) -> None:
        """Apply what waits as one group, answer it, and let barriers pass."""
        held, self._held = self._held or [], None
        self._apply([(command, answer) for command, answer, _ in held])
        passed, self._passed = self._passed, []
        for call in passed:
            call(True)

    def lose(self) -> None:
        """What waits is never applied, and its senders are told that they can't know."""
        held, self._held = self._held or [], None
        for _, _, lost in held:
            lost()

    def settle(self) -> None:
        """Bring the settled record up to here."""
        account_events, market_events = (b"".join(parts) for parts in zip(*self.unsettled, strict=True)) if self.unsettled else (b"", b"")
        self.store.write(Batch(self.exchange.sequence, account_events, market_events))
        self.unsettled.clear()

    def command(self, kind: int, *fields: int) -> list[Event]:
        """Apply an operator's command, and return its account events."""
        events: list[Event] = []
        self.submit(records.command(kind, 0, *fields), events.extend)
        return events

    def _apply(self, group: list[tuple[bytes, Answer]]) -> None:
        first = self.exchange.sequence + 1
        data = b"".join(command[:8] + self.clock_us.to_bytes(8, "little") + command[16:] for command, _ in group)
        at = 0
        account_events, market_events = b"", b""
        while at < len(data) or self.exchange.unfinished():
            at = self.exchange.advance(data, at)
            account_events += self.exchange.take_account_events()
            market_events += self.exchange.take_market_events()
        self.commands += [command for command, _ in group]
        self.unsettled.append((account_events, market_events))
        self.views.apply(account_events, market_events)
        caused: list[list[Event]] = [[] for _ in group]
        for event in unpacked(account_events):
            caused[event[2] - first].append(event)
        for (_, answer), events in zip(group, caused, strict=True):
            answer(events)
