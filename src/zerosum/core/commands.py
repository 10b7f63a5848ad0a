"""
Which method of UBSCore a command is for. By the embedded exchange and by a shard of a cluster, so that they can't differ.
"""

from __future__ import annotations

from typing import Final

from librt.strings import read_i64_le
from librt.vecs import vec
from mypy_extensions import i64

from zerosum.core import records
from zerosum.core.listings import Asset, Symbol
from zerosum.core.ubscore import UBSCore

KIND_MASK: Final = 0xFF
FORMAT_SHIFT: Final = 8
WORDS_SHIFT: Final = 16
WORDS_MASK: Final = 0xFFFF
ORIGIN_SHIFT: Final = 32


def command_lengths() -> vec[i64]:
    """By kind, the words of a command; 0 for a kind that does not exist."""
    lengths = vec[i64]([0] * 256)
    for kind, (_, fields) in records.COMMANDS.items():
        lengths[kind] = records.FIELDS + i64(len(fields))
    return lengths


def apply_command(ubscore: UBSCore, kind: i64, data: bytes, at: i64) -> None:
    """A command of a known kind and the right length. TICK has done all it does by its time; CHECKPOINT and versions are the caller's."""
    if kind == records.MOVE:
        ubscore.move(data, at)
    elif kind == records.PLACE:
        ubscore.place(data, at)
    elif kind == records.CANCEL:
        ubscore.cancel(data, at)
    elif kind == records.REDUCE:
        ubscore.reduce(data, at)
    elif kind == records.CANCEL_REPLACE:
        ubscore.cancel_replace(data, at)
    elif kind == records.CANCEL_ALL:
        ubscore.cancel_all(data, at)
    else:
        apply_rare(ubscore, kind, fields_of(data, at))


def fields_of(data: bytes, at: i64) -> list[i64]:
    """A command's own."""
    words = read_i64_le(data, at) >> WORDS_SHIFT & WORDS_MASK
    return [read_i64_le(data, at + (i << 3)) for i in range(records.FIELDS, words)]


def apply_rare(ubscore: UBSCore, kind: i64, fields: list[i64]) -> None:
    """Everything but orders."""
    treasury = ubscore.treasury
    if kind == records.DEPOSIT:
        treasury.deposit(fields[1], fields[0], fields[2], fields[3])
    elif kind == records.WITHDRAW:
        treasury.withdraw(fields[1], fields[0], fields[2], fields[3])
    elif kind == records.TRANSFER:
        treasury.transfer(fields[1], fields[0], fields[2], fields[3], fields[4])
    elif kind == records.REQUEST_WITHDRAWAL:
        treasury.request_withdrawal(fields[1], fields[0], fields[2], fields[3])
    elif kind == records.SETTLE_WITHDRAWAL:
        treasury.end_withdrawal(records.SETTLE_WITHDRAWAL, fields[1], fields[0])
    elif kind == records.RETURN_WITHDRAWAL:
        treasury.end_withdrawal(records.RETURN_WITHDRAWAL, fields[1], fields[0])
    elif kind == records.REVERSE_DEPOSIT:
        treasury.reverse_deposit(fields[1], fields[0])
    elif kind == records.ADJUST:
        treasury.adjust(fields[1], fields[0], fields[2], fields[3], fields[4], fields[5], fields[6])
    elif kind == records.OPEN_ACCOUNT:
        treasury.open_account(fields[0], fields[1], fields[2], fields[3])
    elif kind == records.SET_ACCOUNT_STATUS:
        treasury.set_status(fields[0], fields[1])
    elif kind == records.SET_ACCOUNT_FEES:
        treasury.set_fees(fields[0], fields[1], fields[2])
    elif kind == records.LIST_ASSET:
        ubscore.list_asset(Asset(fields[0], fields[1], text(fields[2:])), fields)
    elif kind == records.LIST_SYMBOL:
        ubscore.list_symbol(symbol_of(fields), fields)
    elif kind == records.SET_SYMBOL_STATUS:
        ubscore.set_symbol_status(fields[0], fields[1])


def text(words: list[i64]) -> str:
    """A name; what is no ASCII text becomes '?', which no name may have."""
    return b"".join([(int(word) & (1 << 64) - 1).to_bytes(8, "little") for word in words]).rstrip(b"\0").decode("ascii", "replace")


def symbol_of(fields: list[i64]) -> Symbol:
    return Symbol(
        fields[0], fields[1], fields[2], fields[3], fields[4], fields[5], fields[6], fields[7], fields[8], fields[9], fields[10],
        fields[11], fields[12], fields[13], fields[14], fields[15], fields[16], fields[17], fields[18], text(fields[19:22]),
    )  # fmt: skip
