"""What is listed: assets and symbols, by number and by name."""

from __future__ import annotations

from typing import Final, NamedTuple, final

from zerosum.core.codes import AMOUNT_MAX
from zerosum.core.listings import DEFAULT_ORDERS_MAX, Asset, Symbol
from zerosum.core.records import words_text
from zerosum.views.events import Event

NAME_AT: Final = 19  # where a symbol's name begins among its fields


class Listing(NamedTuple):
    """
    A symbol and its assets. Defaults are filled in: max_notional_atoms and orders_max are what holds, never 0.

    Status and reference price are those of the first listing: what holds now is in the symbol's Market.
    """

    symbol: Symbol
    base: Asset
    quote: Asset
    lot_atoms: int
    tick_lot_atoms: int


@final
class Listings:
    """A changed listing is a new Listing, so what was worked out from one holds for as long as it is the one found here."""

    __slots__ = ("assets", "by_name", "by_number")

    def __init__(self) -> None:
        self.assets: list[Asset] = []
        self.by_number: list[Listing] = []
        self.by_name: dict[str, Listing] = {}

    def asset_listed(self, event: Event) -> None:
        self.put_asset(event[4:])

    def symbol_listed(self, event: Event) -> None:
        self.put_symbol(event[4:])

    def put_asset(self, fields: Event) -> None:
        assert fields[0] == len(self.assets), "assets are listed in the order of their numbers"
        self.assets.append(Asset(fields[0], fields[1], words_text(fields[2:4])))

    def put_symbol(self, fields: Event) -> None:
        symbol = Symbol._make([*fields[:NAME_AT], words_text(fields[NAME_AT : NAME_AT + 3])])
        symbol = symbol._replace(
            max_notional_atoms=symbol.max_notional_atoms or AMOUNT_MAX, orders_max=symbol.orders_max or DEFAULT_ORDERS_MAX
        )
        listing = Listing(symbol, self.assets[symbol.base], self.assets[symbol.quote], fields[-2], fields[-1])
        if symbol.symbol == len(self.by_number):
            self.by_number.append(listing)
        else:
            self.by_number[symbol.symbol] = listing
        self.by_name[symbol.name] = listing
