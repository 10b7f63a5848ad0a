"""The table of transitions in docs/internals/holds.md, row by row, on a shard whose engine answers when the test does."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, final

import pytest

from zerosum.core import records
from zerosum.core.codes import BUY, BY_OWNER, FIRST_USER, LIMIT, NO_REASON, PRICE_BAND, UNKNOWN_ORDER
from zerosum.core.holds import FROZEN, MOVING_TO, OPEN_LOTS, PRICE
from zerosum.core.ledger import AVAILABLE
from zerosum.core.pool import NONE
from zerosum.core.records import command, terms, text_words
from zerosum.core.ubscore_role import UBSCoreRole

pytestmark = pytest.mark.both_builds

DOCUMENT = Path(__file__).resolve().parents[3] / "docs/internals/holds.md"
ANN, BASE, QUOTE, FUNDS = FIRST_USER, 0, 1, 1_000
SHARDS = 2  # the other side of a trade is in the other, so that clearing is not back at zero
ENGINE = SHARDS  # its origin


class Row(NamedTuple):
    hold: str
    message: str
    after: str
    frozen: str
    available: str


def rows() -> Iterator[Row]:
    text = DOCUMENT.read_text()
    for line in text[text.index("## Transitions") :].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == len(Row._fields) and cells[0] not in ("hold", "---"):
            yield Row(*cells)


ROWS = list(rows())


def test_the_table_is_read() -> None:
    assert len(ROWS) >= 28


@final
class Shard:
    """One, with an account that has one order open, or had one."""

    def __init__(self) -> None:
        self.role = UBSCoreRole(0, SHARDS, 1, 64)
        self.sequence = 0
        self.order_id = 0
        self.take(command(records.LIST_ASSET, 0, BASE, 0, *text_words("BASE", 2)))
        self.take(command(records.LIST_ASSET, 0, QUOTE, 0, *text_words("QUOTE", 2)))
        self.take(command(records.LIST_SYMBOL, 0, 0, BASE, QUOTE, 1, 0, 1, 0, 1, 100, 1, 100, 0, 0, 0, 0, 0, 0, 0, 0, *text_words("B", 3)))
        self.take(command(records.OPEN_ACCOUNT, 0, ANN))
        self.take(command(records.DEPOSIT, 0, ANN, 1, QUOTE, FUNDS))

    def take(self, record: bytes) -> None:
        self.role.begin_message(self.role.position + 1, 1)
        assert self.role.advance(record, 0) == len(record)

    def say(self, kind: int, **fields: int) -> None:
        """As the engine does. A handle of 0 leads nowhere, so that the order is looked up."""
        self.sequence += 1
        names = records.LINKS[kind][1]
        values = [fields.get(name, self.order_id if name == "order_id" else 0) for name in names]
        words = records.LINK_WORDS + len(names)
        head = kind | records.FORMAT << 8 | words << 16 | ENGINE << 32
        self.take(struct.pack(f"<{words}q", head, self.sequence, 1, 1, *values))

    def ask(self, kind: int, *rest: int) -> None:
        self.take(command(kind, 0, ANN, terms(0, BUY, LIMIT), self.order_id, 0, *(0,) * 5, *rest))

    def open(self, hold: str) -> None:
        """The hold that a row begins with."""
        self.take(command(records.PLACE, 0, ANN, terms(0, BUY, LIMIT), 10, 5))
        self.order_id = SHARDS
        if hold == "nothing":
            self.say(records.OUTCOME_DONE, reason=BY_OWNER)
        elif "→" in hold:
            self.ask(records.MOVE, int(hold.rpartition("→")[2]))

    def hold(self) -> tuple[str, int]:
        """As the table writes it, and what is frozen."""
        slot = self.role.ubscore.holds.by_id.get(self.order_id)
        if slot == NONE:
            return "nothing", 0
        words = self.role.ubscore.holds.pool.words
        moving = f" → {words[slot + MOVING_TO]}" if words[slot + MOVING_TO] else ""
        return f"{words[slot + PRICE]} × {words[slot + OPEN_LOTS]}{moving}", int(words[slot + FROZEN])

    def available(self) -> int:
        ledger = self.role.ubscore.ledger
        balance = ledger.balances_by_owner.get(ANN << 16 | QUOTE)
        return int(ledger.balances.words[balance + AVAILABLE])

    def hear(self, message: str) -> None:
        numbers = [int(number) for number in re.findall(r"\d+", message)]
        match re.sub(r" ?\d+", "", message):
            case "accepted":
                self.say(records.OUTCOME_ACCEPTED, order=8)
            case "rested":
                self.say(records.OUTCOME_RESTED)
            case "fill at":
                self.say(records.OUTCOME_FILL, trade_id=1, qty_lots=numbers[0], price_ticks=numbers[1])
            case "reduced by":
                self.say(records.OUTCOME_REDUCED, by_lots=numbers[0], reason=BY_OWNER)
            case "moved":
                self.say(records.OUTCOME_MOVED)
            case "move rejected":
                self.say(records.OUTCOME_MOVE_REJECTED, reason=PRICE_BAND)
            case "done":
                self.say(records.OUTCOME_DONE, reason=BY_OWNER)
            case "rejected":
                self.say(records.OUTCOME_REJECTED, reason=NO_REASON)
            case "cancel rejected":
                self.say(records.OUTCOME_CANCEL_REJECTED, reason=UNKNOWN_ORDER)
            case "cancel asked for":
                self.ask(records.CANCEL)
            case "reduce by asked for":
                self.ask(records.REDUCE, numbers[0])
            case "move to asked for":
                self.ask(records.MOVE, numbers[0])
            case other:
                raise AssertionError(f"no message is called {other!r}")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.hold}, {row.message}")
def test_a_message_does_to_a_hold_what_the_table_says(row: Row) -> None:
    shard = Shard()
    shard.open(row.hold)
    assert shard.hold()[0] == row.hold
    before = shard.available()
    shard.hear(row.message)
    assert shard.hold() == (row.after, int(row.frozen))
    assert shard.available() - before == int(row.available)
    shard.role.check()


def test_every_outcome_is_in_the_table() -> None:
    said = {re.sub(r" ?\d+", "", row.message) for row in ROWS}
    outcomes = {
        name.removeprefix("OUTCOME_").lower().replace("_", " ") for name, _ in records.LINKS.values() if name.startswith("OUTCOME_")
    }
    missing = {outcome for outcome in outcomes if not any(message.startswith(outcome) for message in said)}
    assert missing == set()
