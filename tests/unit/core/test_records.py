"""The tables of layouts are the layouts: the machines' reading and writing are held to them."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from zerosum.core import codes, records
from zerosum.core.events import AccountEvents, MarketEvents
from zerosum.core.exchange import Exchange

pytestmark = pytest.mark.both_builds

AT = {
    records.PLACE: {
        "account": records.ACCOUNT_AT, "terms": records.TERMS_AT, "price_ticks": records.PLACE_PRICE_AT, "qty_lots": records.PLACE_QTY_AT,
        "budget_atoms": records.PLACE_BUDGET_AT, "deadline_us": records.PLACE_DEADLINE_AT, "client_1": records.PLACE_CLIENT_AT,
    },
    records.CANCEL: {
        "account": records.ACCOUNT_AT, "terms": records.TERMS_AT, "order_id": records.ORDER_ID_AT, "deadline_us": records.DEADLINE_AT,
        "client_1": records.CLIENT_AT, "new_client_1": records.NEW_CLIENT_AT,
    },
    records.CANCEL_ALL: {
        "account": records.ACCOUNT_AT, "terms": records.TERMS_AT, "deadline_us": records.CANCEL_ALL_DEADLINE_AT,
        "new_client_1": records.CANCEL_ALL_CLIENT_AT,
    },
    records.REDUCE: {
        "account": records.ACCOUNT_AT, "order_id": records.ORDER_ID_AT, "deadline_us": records.DEADLINE_AT, "client_1": records.CLIENT_AT,
        "by_lots": records.AMENDMENT_AT,
    },
    records.MOVE: {"client_1": records.CLIENT_AT, "price_ticks": records.AMENDMENT_AT},
    records.CANCEL_REPLACE: {
        "client_1": records.CLIENT_AT, "new_client_1": records.NEW_CLIENT_AT, "mode": records.MODE_AT,
        "price_ticks": records.REPLACE_PRICE_AT, "qty_lots": records.REPLACE_QTY_AT, "budget_atoms": records.REPLACE_BUDGET_AT,
        "order_client_1": records.REPLACE_CLIENT_AT,
    },
}  # fmt: skip


def test_the_offsets_that_the_core_reads_are_those_of_the_table() -> None:
    for kind, offsets in AT.items():
        names = records.COMMANDS[kind][1]
        assert offsets == {name: records.FIELDS + names.index(name) for name in offsets}


def written(kind: int) -> bytes:
    """An event as its writer writes it, each field one more than the field before."""
    account, market = AccountEvents(), MarketEvents()
    count = len((records.ACCOUNT_EVENTS.get(kind) or records.MARKET_EVENTS[kind])[1])
    fields = range(1, count + 1)
    plain: dict[int, Callable[..., None]] = {
        records.ADMITTED: account.admitted, records.ACCEPTED: account.accepted, records.FILL: account.fill,
        records.CANCEL_REJECTED: account.cancel_rejected, records.REFUSED: account.refused,
        records.CANCEL_ADMITTED: account.cancel_admitted, records.TRANSFERRED: account.transferred,
        records.ACCOUNT_CHANGED: account.account_changed, records.BOOK: market.book, records.TRADE: market.trade,
        records.MARKET_STATUS: market.market_status, records.RESTED: account.rested,
        records.CANCEL_ALL_ADMITTED: account.cancel_all_admitted,
    }  # fmt: skip
    if kind in plain:
        plain[kind](*fields)
    elif kind in (records.DONE, records.REJECTED, records.REDUCED, records.MOVED, records.MOVE_REJECTED, records.MOVE_ADMITTED):
        account.changed(kind, *fields)
    elif kind in records.MARKET_EVENTS:
        market.words(kind, list(fields))
    else:
        account.words(kind, list(fields))
    return account.stream.take() + market.stream.take()


@pytest.mark.parametrize("kind", [*records.ACCOUNT_EVENTS, *records.MARKET_EVENTS])
def test_each_event_is_written_as_its_table_says(kind: int) -> None:
    (record,) = records.records(written(kind))
    names = (records.ACCOUNT_EVENTS.get(kind) or records.MARKET_EVENTS[kind])[1]
    assert record[0] == records.head(kind, len(record))
    assert record[len(records.EVENT_HEAD) :] == tuple(range(1, len(names) + 1))
    assert list(records.named(record)) == ["kind", "sequence", "cause", "time_us", *names]


def test_codes_of_a_table_are_apart() -> None:
    reasons = {
        name: value
        for name, value in vars(codes).items()
        if name.isupper() and list(vars(codes)).index(name) >= list(vars(codes)).index("NO_REASON")
    }
    assert len(set(reasons.values())) == len(reasons)
    assert not set(records.ACCOUNT_EVENTS) & set(records.MARKET_EVENTS)


@pytest.mark.parametrize(
    "record",
    [
        struct.pack("<2q", 99 | records.FORMAT << 8 | 2 << 16, 5),
        struct.pack("<3q", records.TICK | records.FORMAT << 8 | 3 << 16, 5, 0),
        struct.pack("<2q", records.TICK | (records.FORMAT + 1) << 8 | 2 << 16, 5),
    ],
    ids=["unknown kind", "wrong length", "later format"],
)
def test_a_record_that_the_core_does_not_know_changes_nothing(record: bytes) -> None:
    exchange = Exchange(reserve=0)
    assert exchange.advance(record, 0) == len(record)
    (event,) = records.records(exchange.take_account_events())
    assert records.named(event)["reason"] == codes.BAD_RECORD
    assert exchange.sequence == 1


def test_text_of_a_name_goes_both_ways() -> None:
    assert records.words_text(records.text_words("BTCUSDT", 3)) == "BTCUSDT"
    with pytest.raises(ValueError, match="at most 16"):
        records.text_words("A" * 17, 2)
