"""
A translator with what it remembers, to be put away in a snapshot and gone on from: for a record that it can't be read back from.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, final

from zerosum.settlement.accounts import ASSET_BITS, ASSET_MASK, AccountTranslator
from zerosum.settlement.batch import Event
from zerosum.settlement.market import MarketTranslator
from zerosum.settlement.rows import BalanceRow, KlineRow, MarketRow, OrderRow, Rows, SymbolRow


def packed(rows: Iterable[tuple[Any, ...]]) -> bytes:
    return json.dumps(list(rows), separators=(",", ":")).encode()


def lists(sections: dict[str, bytes] | None, name: str) -> list[list[Any]]:
    found: list[list[Any]] = json.loads(sections[name]) if sections is not None else []
    return found


@final
class AccountPast:
    def __init__(self, sections: dict[str, bytes] | None) -> None:
        self._symbols = [SymbolRow(*row) for row in lists(sections, "symbols")]
        self._orders = [OrderRow(*row) for row in lists(sections, "orders")]
        self._balances = {(row[0], row[1]): BalanceRow(*row) for row in lists(sections, "balances")}

    def symbols(self) -> list[SymbolRow]:
        return self._symbols

    def open_orders(self) -> list[OrderRow]:
        return self._orders

    def balance(self, account: int, asset: int) -> BalanceRow | None:
        return self._balances.pop((account, asset), None)

    def rest(self) -> Iterator[BalanceRow]:
        """Balances that nobody has asked for yet."""
        return iter(self._balances.values())


@final
class AccountMemory:
    def __init__(self, sections: dict[str, bytes] | None) -> None:
        self._past = AccountPast(sections)
        self._translator = AccountTranslator(self._past)
        self._translator.set_moving(dict(lists(sections, "moving")))

    def translate(self, events: Iterable[Event], rows: Rows) -> None:
        self._translator.translate(events, rows)

    def sections(self) -> list[tuple[str, bytes]]:
        translator = self._translator
        balances = [
            (owner >> ASSET_BITS, owner & ASSET_MASK, balance.available, balance.frozen, balance.version)
            for owner, balance in translator.balances()
        ]
        return [
            ("symbols", packed(translator.symbols.values())),
            ("orders", packed(order.open_values() for order in translator.open_orders())),
            ("moving", packed(translator.moving())),
            ("balances", packed([*balances, *self._past.rest()])),
        ]


@final
class MarketPast:
    def __init__(self, sections: dict[str, bytes] | None) -> None:
        self._markets = [MarketRow(*row) for row in lists(sections, "markets")]
        self._trade_ids = [(row[0], row[1]) for row in lists(sections, "trade_ids")]
        self._klines = [KlineRow(*row) for row in lists(sections, "klines")]

    def markets(self) -> list[MarketRow]:
        return self._markets

    def last_trade_ids(self) -> list[tuple[int, int]]:
        return self._trade_ids

    def last_klines(self) -> list[KlineRow]:
        return self._klines


@final
class MarketMemory:
    def __init__(self, sections: dict[str, bytes] | None) -> None:
        self._translator = MarketTranslator(MarketPast(sections))

    def translate(self, events: Iterable[Event], rows: Rows) -> None:
        self._translator.translate(events, rows)

    def sections(self) -> list[tuple[str, bytes]]:
        return [
            ("markets", packed(self._translator.markets())),
            ("trade_ids", packed(self._translator.last_trade_ids())),
            ("klines", packed(self._translator.last_klines())),
        ]
