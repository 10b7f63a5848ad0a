"""
The layouts of all records: commands that go into the machines, events that come out, and what machines in different processes tell each
other.

    word 0   kind : 8 | format : 8 | words : 16 | origin : 32       low bits first; a word is 8 bytes, little-endian, signed
    command  HEAD  TIME  fields ...                                 TIME: the log's, in microseconds since 1970
    event    HEAD  SEQUENCE  CAUSE  TIME  fields ...                SEQUENCE: dense, from 1, per origin and stream; CAUSE: the place of the
    link     HEAD  SEQUENCE  CAUSE  TIME  fields ...                command that it all began with

    origin   who numbered it: shards from 0, engine partitions after the shards, in account and market events the stream's own number.
             0 in the embedded exchange, and in a command

    terms    side : 8 | type : 8 | tif : 8 | stp : 8 | symbol : 32
    texts    (names, client order ids) are ASCII, padded with zeros to whole words

Always true: a record's meaning is its layout here and the codes in `codes`; a layout changes only with its FORMAT.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from mypy_extensions import i64

FORMAT: Final = 1
HEAD: Final = 0
TIME: Final = 1
FIELDS: Final = 2  # where a command's own fields begin

# Kinds of commands.
TICK: Final = 1
CHECKPOINT: Final = 2
SET_CORE_VERSION: Final = 3
LIST_ASSET: Final = 10
LIST_SYMBOL: Final = 11
SET_SYMBOL_STATUS: Final = 12
OPEN_ACCOUNT: Final = 20
SET_ACCOUNT_STATUS: Final = 21
SET_ACCOUNT_FEES: Final = 22
DEPOSIT: Final = 30
WITHDRAW: Final = 31
TRANSFER: Final = 32
REQUEST_WITHDRAWAL: Final = 33
SETTLE_WITHDRAWAL: Final = 34
RETURN_WITHDRAWAL: Final = 35
REVERSE_DEPOSIT: Final = 36
ADJUST: Final = 37
PLACE: Final = 40
CANCEL: Final = 41
CANCEL_ALL: Final = 42
REDUCE: Final = 43
MOVE: Final = 44
CANCEL_REPLACE: Final = 45

# Kinds of links: from a shard to an engine, from an engine to a shard, from a shard to another. See `links`.
ENGINE_LIST: Final = 60
ENGINE_STATUS: Final = 61
ENGINE_PLACE: Final = 62
ENGINE_CANCEL: Final = 63
ENGINE_REDUCE: Final = 64
ENGINE_MOVE: Final = 65
ENGINE_CHECKPOINT: Final = 66
ENGINE_VERSION: Final = 67
OUTCOME_ACCEPTED: Final = 70
OUTCOME_FILL: Final = 71
OUTCOME_REDUCED: Final = 72
OUTCOME_MOVED: Final = 73
OUTCOME_MOVE_REJECTED: Final = 74
OUTCOME_DONE: Final = 75
OUTCOME_REJECTED: Final = 76
OUTCOME_CANCEL_REJECTED: Final = 77
OUTCOME_RESTED: Final = 78
HANDED_ON: Final = 80
CREDIT: Final = 81
CREDIT_RETURNED: Final = 82
FIRST_LINK: Final = ENGINE_LIST

# Kinds of account events, from UBSCore.
ADMITTED: Final = 101
ACCEPTED: Final = 102
FILL: Final = 103
DONE: Final = 104
REJECTED: Final = 105
REDUCED: Final = 106
MOVED: Final = 107
MOVE_REJECTED: Final = 108
CANCEL_REJECTED: Final = 109
REFUSED: Final = 110
CANCEL_ADMITTED: Final = 111
MOVE_ADMITTED: Final = 112
CANCEL_ALL_ADMITTED: Final = 113
RESTED: Final = 114
TRANSFERRED: Final = 120
ACCOUNT_CHANGED: Final = 121
ASSET_LISTED: Final = 122
SYMBOL_LISTED: Final = 123
TRANSFER_SENT: Final = 124
TRANSFER_ARRIVED: Final = 125
TRANSFER_RETURNED: Final = 126
WITHDRAWAL_ENDED: Final = 127
ADJUSTED: Final = 128
CHECKPOINTED: Final = 130
VERSION_SET: Final = 131
PASSED_OVER: Final = 132
FOREIGN: Final = 133

# Kinds of market events, from the matching engine.
BOOK: Final = 201
TRADE: Final = 202
MARKET_STATUS: Final = 203
MARKET_CHECKPOINTED: Final = 210
MARKET_VERSION_SET: Final = 211
MARKET_PASSED_OVER: Final = 212
MARKET_FOREIGN: Final = 213

# Where the fields of the commands for orders stand, in words (see COMMANDS).
ACCOUNT_AT: Final = 2
TO_ACCOUNT_AT: Final = 6  # of TRANSFER and ADJUST
TERMS_AT: Final = 3
PLACE_PRICE_AT: Final = 4
PLACE_QTY_AT: Final = 5
PLACE_BUDGET_AT: Final = 6
PLACE_DEADLINE_AT: Final = 7
PLACE_CLIENT_AT: Final = 8
ORDER_ID_AT: Final = 4  # CANCEL, REDUCE, MOVE, CANCEL_REPLACE
DEADLINE_AT: Final = 5
CLIENT_AT: Final = 6
AMENDMENT_AT: Final = 11  # REDUCE: by how many lots; MOVE: to which price
NEW_CLIENT_AT: Final = 11  # CANCEL, CANCEL_REPLACE
MODE_AT: Final = 16
REPLACE_PRICE_AT: Final = 17
REPLACE_QTY_AT: Final = 18
REPLACE_BUDGET_AT: Final = 19
REPLACE_CLIENT_AT: Final = 20
CANCEL_ALL_DEADLINE_AT: Final = 4
CANCEL_ALL_CLIENT_AT: Final = 5

CLIENT: Final = ("client_1", "client_2", "client_3", "client_4", "client_5")
NEW_CLIENT: Final = ("new_client_1", "new_client_2", "new_client_3", "new_client_4", "new_client_5")
ORDER_CLIENT: Final = ("order_client_1", "order_client_2", "order_client_3", "order_client_4", "order_client_5")
SYMBOL_FIELDS: Final = (
    "symbol", "base", "quote", "tick", "tick_decimals", "lot", "lot_decimals", "min_price_ticks", "max_price_ticks", "min_qty_lots",
    "max_qty_lots", "min_notional_atoms", "max_notional_atoms", "band_down_ppm", "band_up_ppm", "reference_ticks", "orders_max",
    "level_orders_max", "status", "name_1", "name_2", "name_3",
)  # fmt: skip

COMMANDS: Final[dict[int, tuple[str, tuple[str, ...]]]] = {
    TICK: ("TICK", ()),
    CHECKPOINT: ("CHECKPOINT", ()),
    SET_CORE_VERSION: ("SET_CORE_VERSION", ("version",)),
    LIST_ASSET: ("LIST_ASSET", ("asset", "decimals", "name_1", "name_2")),
    LIST_SYMBOL: ("LIST_SYMBOL", SYMBOL_FIELDS),
    SET_SYMBOL_STATUS: ("SET_SYMBOL_STATUS", ("symbol", "status")),
    OPEN_ACCOUNT: ("OPEN_ACCOUNT", ("account", "maker_ppm", "taker_ppm", "orders_max")),
    SET_ACCOUNT_STATUS: ("SET_ACCOUNT_STATUS", ("account", "status")),
    SET_ACCOUNT_FEES: ("SET_ACCOUNT_FEES", ("account", "maker_ppm", "taker_ppm")),
    DEPOSIT: ("DEPOSIT", ("account", "transfer_id", "asset", "atoms")),
    WITHDRAW: ("WITHDRAW", ("account", "transfer_id", "asset", "atoms")),
    TRANSFER: ("TRANSFER", ("account", "transfer_id", "asset", "atoms", "to_account")),
    REQUEST_WITHDRAWAL: ("REQUEST_WITHDRAWAL", ("account", "transfer_id", "asset", "atoms")),
    SETTLE_WITHDRAWAL: ("SETTLE_WITHDRAWAL", ("account", "transfer_id")),
    RETURN_WITHDRAWAL: ("RETURN_WITHDRAWAL", ("account", "transfer_id")),
    REVERSE_DEPOSIT: ("REVERSE_DEPOSIT", ("account", "transfer_id")),
    ADJUST: ("ADJUST", ("account", "transfer_id", "asset", "atoms", "to_account", "reason_1", "reason_2")),
    PLACE: ("PLACE", ("account", "terms", "price_ticks", "qty_lots", "budget_atoms", "deadline_us", *CLIENT)),
    CANCEL: ("CANCEL", ("account", "terms", "order_id", "deadline_us", *CLIENT, *NEW_CLIENT)),
    CANCEL_ALL: ("CANCEL_ALL", ("account", "terms", "deadline_us", *NEW_CLIENT)),
    REDUCE: ("REDUCE", ("account", "terms", "order_id", "deadline_us", *CLIENT, "by_lots")),
    MOVE: ("MOVE", ("account", "terms", "order_id", "deadline_us", *CLIENT, "price_ticks")),
    CANCEL_REPLACE: (
        "CANCEL_REPLACE",
        (
            "account", "terms", "order_id", "deadline_us", *CLIENT, *NEW_CLIENT, "mode", "price_ticks", "qty_lots", "budget_atoms",
            *ORDER_CLIENT,
        ),
    ),
}  # fmt: skip

LINK_WORDS: Final = 4  # HEAD  SEQUENCE  CAUSE  TIME
LINKS: Final[dict[int, tuple[str, tuple[str, ...]]]] = {
    ENGINE_LIST: (
        "ENGINE_LIST",
        (
            "revision", "symbol", "ticks", "tick_lot_atoms", "min_notional_atoms", "band_down_ppm", "band_up_ppm", "reference_ticks",
            "level_orders_max", "status",
        ),
    ),
    ENGINE_STATUS: ("ENGINE_STATUS", ("revision", "symbol", "status")),
    ENGINE_PLACE: ("ENGINE_PLACE", ("order_id", "hold", "account", "terms", "price_ticks", "qty_lots", "budget")),
    ENGINE_CANCEL: ("ENGINE_CANCEL", ("order_id", "order")),
    ENGINE_REDUCE: ("ENGINE_REDUCE", ("order_id", "order", "by_lots")),
    ENGINE_MOVE: ("ENGINE_MOVE", ("order_id", "order", "hold", "price_ticks", "stp")),
    ENGINE_CHECKPOINT: ("ENGINE_CHECKPOINT", ()),
    ENGINE_VERSION: ("ENGINE_VERSION", ("version",)),
    OUTCOME_ACCEPTED: ("OUTCOME_ACCEPTED", ("hold", "order_id", "order")),
    OUTCOME_FILL: ("OUTCOME_FILL", ("hold", "order_id", "is_taker", "trade_id", "price_ticks", "qty_lots")),
    OUTCOME_REDUCED: ("OUTCOME_REDUCED", ("hold", "order_id", "by_lots", "reason")),
    OUTCOME_MOVED: ("OUTCOME_MOVED", ("hold", "order_id")),
    OUTCOME_MOVE_REJECTED: ("OUTCOME_MOVE_REJECTED", ("hold", "order_id", "reason")),
    OUTCOME_DONE: ("OUTCOME_DONE", ("hold", "order_id", "reason", "request")),
    OUTCOME_REJECTED: ("OUTCOME_REJECTED", ("hold", "order_id", "reason")),
    OUTCOME_CANCEL_REJECTED: ("OUTCOME_CANCEL_REJECTED", ("order_id", "reason", "request")),
    OUTCOME_RESTED: ("OUTCOME_RESTED", ("order_id",)),
    HANDED_ON: ("HANDED_ON", ()),  # and then a whole command
    CREDIT: ("CREDIT", ("transfer_id", "asset", "atoms", "from_account", "to_account")),
    CREDIT_RETURNED: ("CREDIT_RETURNED", ("transfer_id", "asset", "atoms", "from_account", "to_account", "reason")),
}  # fmt: skip

EVENT_HEAD: Final = ("head", "sequence", "cause", "time_us")
ACCOUNT_EVENTS: Final[dict[int, tuple[str, tuple[str, ...]]]] = {
    ADMITTED: (
        "ADMITTED",
        ("order_id", "account", "terms", "price_ticks", "qty_lots", "budget_atoms", "available_atoms", "frozen_atoms", *CLIENT),
    ),
    ACCEPTED: ("ACCEPTED", ("order_id", "account")),
    FILL: (
        "FILL",
        (
            "order_id", "account", "terms", "is_taker", "trade_id", "price_ticks", "qty_lots", "fee_atoms", "open_lots",
            "paid_available_atoms", "paid_frozen_atoms", "got_available_atoms", "got_frozen_atoms", "fees_available_atoms",
        ),
    ),
    DONE: ("DONE", ("order_id", "account", "terms", "reason", "open_lots", "available_atoms", "frozen_atoms")),
    REJECTED: ("REJECTED", ("order_id", "account", "terms", "reason", "open_lots", "available_atoms", "frozen_atoms")),
    REDUCED: ("REDUCED", ("order_id", "account", "terms", "reason", "open_lots", "available_atoms", "frozen_atoms")),
    MOVED: ("MOVED", ("order_id", "account", "terms", "price_ticks", "open_lots", "available_atoms", "frozen_atoms")),
    MOVE_REJECTED: ("MOVE_REJECTED", ("order_id", "account", "terms", "reason", "open_lots", "available_atoms", "frozen_atoms")),
    CANCEL_REJECTED: ("CANCEL_REJECTED", ("order_id", "reason")),
    REFUSED: ("REFUSED", ("command", "reason", "account", "order_id")),
    CANCEL_ADMITTED: ("CANCEL_ADMITTED", ("order_id", "account", *NEW_CLIENT)),
    MOVE_ADMITTED: ("MOVE_ADMITTED", ("order_id", "account", "terms", "price_ticks", "open_lots", "available_atoms", "frozen_atoms")),
    CANCEL_ALL_ADMITTED: ("CANCEL_ALL_ADMITTED", ("account", "symbol", "orders")),
    RESTED: ("RESTED", ("order_id", "account")),
    TRANSFERRED: (
        "TRANSFERRED",
        ("transfer_id", "command", "asset", "atoms", "from_account", "from_available_atoms", "to_account", "to_available_atoms"),
    ),
    ACCOUNT_CHANGED: ("ACCOUNT_CHANGED", ("account", "status", "maker_ppm", "taker_ppm", "orders_max")),
    ASSET_LISTED: ("ASSET_LISTED", ("asset", "decimals", "name_1", "name_2")),
    SYMBOL_LISTED: ("SYMBOL_LISTED", (*SYMBOL_FIELDS, "lot_atoms", "tick_lot_atoms")),
    TRANSFER_SENT: ("TRANSFER_SENT", ("transfer_id", "asset", "atoms", "account", "available_atoms", "to_account")),
    TRANSFER_ARRIVED: ("TRANSFER_ARRIVED", ("transfer_id", "asset", "atoms", "account", "available_atoms", "from_account")),
    TRANSFER_RETURNED: ("TRANSFER_RETURNED", ("transfer_id", "asset", "atoms", "account", "available_atoms", "to_account", "reason")),
    WITHDRAWAL_ENDED: (
        "WITHDRAWAL_ENDED",
        ("transfer_id", "command", "asset", "atoms", "account", "pending_atoms", "to_account", "to_available_atoms"),
    ),
    ADJUSTED: (
        "ADJUSTED",
        (
            "transfer_id", "asset", "atoms", "from_account", "from_available_atoms", "to_account", "to_available_atoms", "reason_1",
            "reason_2",
        ),
    ),
    CHECKPOINTED: ("CHECKPOINTED", ("hash_1", "hash_2", "hash_3", "hash_4")),
    VERSION_SET: ("VERSION_SET", ("version",)),
    PASSED_OVER: ("PASSED_OVER", ("command",)),
    FOREIGN: ("FOREIGN", ("record", "sender", "number")),
}  # fmt: skip
MARKET_EVENTS: Final[dict[int, tuple[str, tuple[str, ...]]]] = {
    BOOK: ("BOOK", ("order_id", "symbol_side", "price_ticks", "open_lots", "level_lots")),
    TRADE: (
        "TRADE",
        (
            "trade_id", "symbol_side", "price_ticks", "qty_lots", "taker_order_id", "maker_order_id", "taker_account", "maker_account",
            "maker_open_lots", "level_lots",
        ),
    ),
    MARKET_STATUS: ("MARKET_STATUS", ("symbol", "status", "reference_ticks", "tick_lot_atoms")),
    MARKET_CHECKPOINTED: ("MARKET_CHECKPOINTED", ("hash_1", "hash_2", "hash_3", "hash_4")),
    MARKET_VERSION_SET: ("MARKET_VERSION_SET", ("version",)),
    MARKET_PASSED_OVER: ("MARKET_PASSED_OVER", ("record",)),
    MARKET_FOREIGN: ("MARKET_FOREIGN", ("record", "sender", "number")),
}  # fmt: skip


def head(kind: i64, words: i64) -> i64:
    return kind | FORMAT << 8 | words << 16


def terms(symbol: int, side: int, order_type: int, tif: int = 0, stp: int = 0) -> int:
    return side | order_type << 8 | tif << 16 | stp << 24 | symbol << 32


def command(kind: int, time_us: int, *fields: int) -> bytes:
    """A command's bytes. `fields` in the order of COMMANDS[kind], trailing zeros may be left out."""
    names = COMMANDS[kind][1]
    assert len(fields) <= len(names), f"{COMMANDS[kind][0]} has {len(names)} fields"
    padded = fields + (0,) * (len(names) - len(fields))
    words = FIELDS + len(names)
    return struct.pack(f"<{words}q", kind | FORMAT << 8 | words << 16, time_us, *padded)


def text_words(text: str, words: int) -> tuple[int, ...]:
    """ASCII text as words, for names and client order ids. ValueError when it does not fit."""
    data = text.encode("ascii")
    if len(data) > words * 8:
        raise ValueError(f"{text!r} has {len(data)} characters; at most {words * 8} fit")
    return struct.unpack(f"<{words}q", data.ljust(words * 8, b"\0"))


def words_text(words: tuple[int, ...]) -> str:
    return struct.pack(f"<{len(words)}q", *words).rstrip(b"\0").decode("ascii")


def records(data: bytes) -> Iterator[tuple[int, ...]]:
    """Each record as a tuple of its words."""
    at = 0
    end = len(data)
    while at < end:
        words = int.from_bytes(data[at + 2 : at + 4], "little")
        yield struct.unpack_from(f"<{words}q", data, at)
        at += words * 8


def named(record: tuple[int, ...]) -> dict[str, int]:
    """The fields of an event or a link by name, kind first (slow: for people and tests)."""
    kind = record[0] & 0xFF
    _, names = ACCOUNT_EVENTS.get(kind) or MARKET_EVENTS.get(kind) or LINKS[kind]
    return {"kind": kind, **dict(zip((*EVENT_HEAD[1:], *names), record[1:], strict=True))}


def kind_name(kind: int) -> str:
    for table in (COMMANDS, LINKS, ACCOUNT_EVENTS, MARKET_EVENTS):
        if kind in table:
            return table[kind][0]
    return f"kind {kind}"
