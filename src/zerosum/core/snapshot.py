"""
The whole state as named sections of bytes, and back: mostly the pools' words as they are.

What can be derived is not saved (a symbol's words for admission), except the indexes, which are cheaper to copy than to build again.
Whoever stores the sections adds checksums; whoever loads them checks those first.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from librt.vecs import vec
from mypy_extensions import i64

from zerosum.core.book import Book
from zerosum.core.index import Index
from zerosum.core.listings import Asset, Symbol
from zerosum.core.matching import MatchingEngine
from zerosum.core.pool import Pool, words_bytes, words_from
from zerosum.core.ubscore import UBSCore

SYMBOL_FIELDS = 20


def numbers(values: list[i64]) -> bytes:
    return words_bytes(vec[i64](values))


def words_of(data: bytes) -> list[i64]:
    return list(struct.unpack(f"<{len(data) // 8}q", data))


def ubscore_pools(ubscore: UBSCore) -> list[tuple[str, Pool]]:
    return [
        ("accounts", ubscore.ledger.accounts),
        ("balances", ubscore.ledger.balances),
        ("holds", ubscore.holds.pool),
        ("seats", ubscore.holds.seats),
        ("client_ids", ubscore.holds.client_ids.pool),
        ("transfers", ubscore.transfers.pool),
        ("replacements", ubscore.replacements.pool),
    ]


def ubscore_indexes(ubscore: UBSCore) -> list[tuple[str, Index]]:
    return [
        ("accounts_by_id", ubscore.ledger.accounts_by_id),
        ("balances_by_owner", ubscore.ledger.balances_by_owner),
        ("holds_by_id", ubscore.holds.by_id),
        ("seats_by_who", ubscore.holds.seats_by_who),
        ("client_ids_by_hash", ubscore.holds.client_ids.by_hash),
        ("transfers_by_hash", ubscore.transfers.by_hash),
        ("replacements_by_request", ubscore.replacements.by_request),
    ]


def ubscore_sections(ubscore: UBSCore) -> Iterator[tuple[str, bytes]]:
    """One after the other, so that no two large ones need be held at once."""
    for name, pool in ubscore_pools(ubscore):
        yield from pool.sections(name)
    for name, index in ubscore_indexes(ubscore):
        yield from index.sections(name)
    yield "house", words_bytes(ubscore.ledger.house)
    yield "ubscore", numbers([ubscore.now_us, ubscore.admitted, ubscore.listings.revision])
    yield "assets", "\n".join([row(asset) for asset in ubscore.listings.assets]).encode()
    yield "symbols", "\n".join([row(symbol) for symbol in ubscore.listings.listed]).encode()


def matching_sections(matching: MatchingEngine) -> Iterator[tuple[str, bytes]]:
    for name, pool in matching_pools(matching):
        yield from pool.sections(name)
    yield from matching.orders_by_id.sections("orders_by_id")
    yield "books", b"".join([numbers(each.state()) for each in matching.own_books()])


def matching_pools(matching: MatchingEngine) -> list[tuple[str, Pool]]:
    return [("orders", matching.orders), ("levels", matching.levels), ("nodes", matching.nodes)]


def load_ubscore(ubscore: UBSCore, sections: dict[str, bytes]) -> None:
    for name, pool in ubscore_pools(ubscore):
        pool.load(name, sections)
    for name, index in ubscore_indexes(ubscore):
        index.load(name, sections)
    ubscore.ledger.house = words_from(sections["house"], 0)
    head = words_of(sections["ubscore"])
    ubscore.now_us = head[0]
    ubscore.admitted = head[1]
    for fields in rows(sections["assets"]):
        ubscore.listings.assets.append(Asset(int(fields[0]), int(fields[1]), fields[2]))
    for fields in rows(sections["symbols"]):
        ubscore.listings.restore_symbol(Symbol(*[int(field) for field in fields[:-1]], fields[-1]))  # type: ignore[arg-type, call-arg]
    ubscore.listings.revision = head[2]


def load_matching(matching: MatchingEngine, sections: dict[str, bytes]) -> None:
    for name, pool in matching_pools(matching):
        pool.load(name, sections)
    matching.orders_by_id.load("orders_by_id", sections)
    load_books(matching, words_of(sections["books"]))


def load_books(matching: MatchingEngine, states: list[i64]) -> None:
    width = Book.STATE_WORDS
    for at in range(0, len(states), width):
        book = Book(states[at], states[at + 1], matching.orders, matching.levels, matching.nodes)
        book.restore(states[at : at + width])
        matching.put_book(book)


def row(fields: tuple[object, ...]) -> str:
    return ",".join([str(field) for field in fields])


def rows(data: bytes) -> list[list[str]]:
    return [line.split(",") for line in data.decode().splitlines()]
