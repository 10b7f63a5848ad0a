"""
Assets and symbols: what may be listed, and the numbers that admission needs of each.

    symbol (16 words)   BASE  QUOTE  LOT_ATOMS  TICK_LOT_ATOMS  MIN_PRICE  MAX_PRICE  MIN_QTY  MAX_QTY  MIN_NOTIONAL  MAX_NOTIONAL
                        ORDERS_MAX  and the house balances BASE_CLEARING  BASE_FEES  QUOTE_CLEARING  QUOTE_FEES

Always true: max_price x max_qty x tick_lot_atoms and max_qty x lot_atoms fit in AMOUNT_MAX, so that no notional within the filters can
leave 63 bits; one lot is a whole number of base atoms, and one tick x one lot of quote atoms, so that a trade never rounds.
"""

from __future__ import annotations

from typing import Final, NamedTuple, final

from librt.vecs import append, vec
from mypy_extensions import i64

from zerosum.core.codes import AMOUNT_MAX, BREAK, CLEARING, DECIMALS_MAX, FEES, PPM, PRICE_MAX, TRADING
from zerosum.core.ledger import Ledger

BASE: Final = 0
QUOTE: Final = 1
LOT_ATOMS: Final = 2
TICK_LOT_ATOMS: Final = 3
MIN_PRICE: Final = 4
MAX_PRICE: Final = 5
MIN_QTY: Final = 6
MAX_QTY: Final = 7
MIN_NOTIONAL: Final = 8
MAX_NOTIONAL: Final = 9
ORDERS_MAX: Final = 10
BASE_CLEARING: Final = 11
BASE_FEES: Final = 12
QUOTE_CLEARING: Final = 13
QUOTE_FEES: Final = 14
SYMBOL_BITS: Final = 4  # a symbol's offset is its number << 4
SYMBOL_WORDS: Final = 16

ASSETS_MAX: Final = 1 << 16
SYMBOLS_MAX: Final = 1 << 16
ASSET_NAME_CHARS_MAX: Final = 16
SYMBOL_NAME_CHARS_MAX: Final = 24
DEFAULT_ORDERS_MAX: Final = 200
ORDERS_MAX_MAX: Final = 10_000  # so that canceling all of them is bounded work
BAND_PPM_MAX: Final = 100 * PPM
NAME_CHARS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")


class Asset(NamedTuple):
    asset: int
    decimals: int
    name: str


class Symbol(NamedTuple):
    """
    A listing as it is asked for. A tick is tick x 10^-tick_decimals quote per base, a lot is lot x 10^-lot_decimals base; prices are in
    ticks, quantities in lots, notionals in quote atoms.
    """

    symbol: int
    base: int
    quote: int
    tick: int
    tick_decimals: int
    lot: int
    lot_decimals: int
    min_price_ticks: int
    max_price_ticks: int
    min_qty_lots: int
    max_qty_lots: int
    min_notional_atoms: int
    max_notional_atoms: int  # 0: AMOUNT_MAX
    band_down_ppm: int
    band_up_ppm: int
    reference_ticks: int
    orders_max: int  # 0: 200
    level_orders_max: int  # 0: no cap
    status: int
    name: str


def name_fault(name: str, chars_max: int) -> str:
    if not 1 <= len(name) <= chars_max or not set(name) <= NAME_CHARS:
        return f"name {name!r} is not 1 to {chars_max} of A-Z and 0-9"
    return ""


def asset_fault(asset: Asset, listed: list[Asset]) -> str:
    """Why an asset may not be listed, with the numbers that show it; or ''."""
    if asset.asset != len(listed) or len(listed) >= ASSETS_MAX:
        return f"asset {asset.asset} is not the next number, {len(listed)}"
    if not 0 <= asset.decimals <= DECIMALS_MAX:
        return f"decimals {asset.decimals} is not in 0..{DECIMALS_MAX}"
    if any(asset.name == other.name for other in listed):
        return f"name {asset.name!r} is taken"
    return name_fault(asset.name, ASSET_NAME_CHARS_MAX)


def scaled(mantissa: int, decimals: int) -> tuple[int, bool]:
    """mantissa x 10^decimals rounded down, and whether it is whole."""
    if decimals >= 0:
        return mantissa * 10**decimals, True
    return mantissa // 10**-decimals, mantissa % 10**-decimals == 0


def symbol_fault(symbol: Symbol, assets: list[Asset], listed: list[Symbol]) -> str:
    """Why a symbol may not be listed, or a listed one not be changed so, with the numbers that show it; or ''."""
    if not 0 <= symbol.symbol <= len(listed) or len(listed) >= SYMBOLS_MAX:
        return f"symbol {symbol.symbol} is neither listed nor the next number, {len(listed)}"
    if not (0 <= symbol.base < len(assets) and 0 <= symbol.quote < len(assets)) or symbol.base == symbol.quote:
        return f"base {symbol.base} and quote {symbol.quote} are not two listed assets"
    fault = name_fault(symbol.name, SYMBOL_NAME_CHARS_MAX) or step_fault(symbol, assets) or bounds_fault(symbol, assets)
    if fault:
        return fault
    if symbol.symbol < len(listed):
        return change_fault(symbol, listed[symbol.symbol])
    if not 0 <= symbol.reference_ticks <= symbol.max_price_ticks:
        return f"reference_ticks {symbol.reference_ticks} is not in 0..{symbol.max_price_ticks}"
    if symbol.status < TRADING or symbol.status > BREAK:
        return f"status {symbol.status} is not TRADING (0), HALT (1) or BREAK (2)"
    if any(symbol.name == other.name for other in listed):
        return f"name {symbol.name!r} is taken"
    return ""


def step_fault(symbol: Symbol, assets: list[Asset]) -> str:
    if symbol.tick < 1 or symbol.lot < 1:
        return f"tick {symbol.tick} and lot {symbol.lot} are not both at least 1"
    if not (0 <= symbol.tick_decimals <= DECIMALS_MAX and 0 <= symbol.lot_decimals <= DECIMALS_MAX):
        return f"tick_decimals {symbol.tick_decimals} and lot_decimals {symbol.lot_decimals} are not both in 0..{DECIMALS_MAX}"
    base, quote = assets[symbol.base], assets[symbol.quote]
    if not scaled(symbol.lot, base.decimals - symbol.lot_decimals)[1]:
        return (
            f"a lot of {symbol.lot} x 10^-{symbol.lot_decimals} is no whole number of atoms of {base.name},"
            f" which has {base.decimals} decimals"
        )
    if not scaled(symbol.tick * symbol.lot, quote.decimals - symbol.tick_decimals - symbol.lot_decimals)[1]:
        return (
            f"tick x lot, {symbol.tick} x 10^-{symbol.tick_decimals} x {symbol.lot} x 10^-{symbol.lot_decimals}, is no whole number of"
            f" atoms of {quote.name}, which has {quote.decimals} decimals"
        )
    return ""


def bounds_fault(symbol: Symbol, assets: list[Asset]) -> str:
    lot_atoms, tick_lot_atoms = derived_atoms(symbol, assets)
    if not 1 <= symbol.min_price_ticks <= symbol.max_price_ticks <= PRICE_MAX:
        return f"prices {symbol.min_price_ticks}..{symbol.max_price_ticks} ticks are not within 1..{PRICE_MAX}"
    if not 1 <= symbol.min_qty_lots <= symbol.max_qty_lots:
        return f"quantities {symbol.min_qty_lots}..{symbol.max_qty_lots} lots are not a range from 1 up"
    if symbol.max_qty_lots * lot_atoms > AMOUNT_MAX:
        return f"max_qty {symbol.max_qty_lots} lots x {lot_atoms} atoms = {symbol.max_qty_lots * lot_atoms} passes {AMOUNT_MAX}"
    notional = symbol.max_price_ticks * symbol.max_qty_lots * tick_lot_atoms
    if notional > AMOUNT_MAX:
        return (
            f"max_price {symbol.max_price_ticks} x max_qty {symbol.max_qty_lots} x {tick_lot_atoms} atoms a tick x lot = {notional}"
            f" passes {AMOUNT_MAX}"
        )
    if not 0 <= symbol.min_notional_atoms <= (symbol.max_notional_atoms or AMOUNT_MAX) <= AMOUNT_MAX or symbol.max_notional_atoms < 0:
        return f"notionals {symbol.min_notional_atoms}..{symbol.max_notional_atoms} atoms are not a range within 0..{AMOUNT_MAX}"
    if not 0 <= symbol.band_down_ppm <= PPM:
        return f"band_down_ppm {symbol.band_down_ppm} is not in 0..{PPM}"
    if symbol.band_up_ppm != 0 and not PPM <= symbol.band_up_ppm <= BAND_PPM_MAX:
        return f"band_up_ppm {symbol.band_up_ppm} is neither 0 nor in {PPM}..{BAND_PPM_MAX}"
    if not 0 <= symbol.orders_max <= ORDERS_MAX_MAX:
        return f"orders_max {symbol.orders_max} is not in 0..{ORDERS_MAX_MAX}"
    if symbol.level_orders_max < 0:
        return f"level_orders_max {symbol.level_orders_max} is negative"
    return ""


def change_fault(symbol: Symbol, listed: Symbol) -> str:
    for name in ("base", "quote", "tick", "tick_decimals", "lot", "lot_decimals", "max_price_ticks", "name"):
        if getattr(symbol, name) != getattr(listed, name):
            return f"{name} of {listed.name} is {getattr(listed, name)!r} and can't become {getattr(symbol, name)!r}: list a new symbol"
    return ""


def derived_atoms(symbol: Symbol, assets: list[Asset]) -> tuple[int, int]:
    """(lot_atoms, tick_lot_atoms): base atoms in a lot, quote atoms in one tick x one lot."""
    lot_atoms, _ = scaled(symbol.lot, assets[symbol.base].decimals - symbol.lot_decimals)
    tick_lot_decimals = assets[symbol.quote].decimals - symbol.tick_decimals - symbol.lot_decimals
    return lot_atoms, scaled(symbol.tick * symbol.lot, tick_lot_decimals)[0]


@final
class Listings:
    """What is listed. `symbols` has each symbol's numbers at its offset, for admission and settlement."""

    __slots__ = ("assets", "count", "ledger", "listed", "revision", "symbols")

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.assets: list[Asset] = []
        self.listed: list[Symbol] = []
        self.symbols: vec[i64] = vec[i64]()
        self.count: i64 = 0
        self.revision: i64 = 0  # how many changes of listings, status included, there have been

    def add_asset(self, asset: Asset) -> bool:
        """False: refused, and nothing changed."""
        if asset_fault(asset, self.assets):
            return False
        self.assets.append(asset)
        self.ledger.open_asset(asset.asset)
        return True

    def put_symbol(self, symbol: Symbol) -> bool:
        """List a symbol or change a listed one's rules. False: refused, and nothing changed."""
        if symbol_fault(symbol, self.assets, self.listed):
            return False
        if symbol.symbol == len(self.listed):
            self.restore_symbol(symbol)
        else:
            was = self.listed[symbol.symbol]
            self.listed[symbol.symbol] = symbol._replace(status=was.status, reference_ticks=was.reference_ticks)
            self.write_words(symbol)
        return True

    def restore_symbol(self, symbol: Symbol) -> None:
        """Add the next symbol, whose fields are known to be right."""
        self.listed.append(symbol)
        for _ in range(SYMBOL_WORDS):
            self.symbols = append(self.symbols, 0)
        self.count += 1
        self.write_words(symbol)

    def write_words(self, symbol: Symbol) -> None:
        house = self.ledger.house_balance
        lot_atoms, tick_lot_atoms = derived_atoms(symbol, self.assets)
        words = self.symbols
        at: i64 = symbol.symbol << SYMBOL_BITS
        words[at + BASE] = symbol.base
        words[at + QUOTE] = symbol.quote
        words[at + LOT_ATOMS] = lot_atoms
        words[at + TICK_LOT_ATOMS] = tick_lot_atoms
        words[at + MIN_PRICE] = symbol.min_price_ticks
        words[at + MAX_PRICE] = symbol.max_price_ticks
        words[at + MIN_QTY] = symbol.min_qty_lots
        words[at + MAX_QTY] = symbol.max_qty_lots
        words[at + MIN_NOTIONAL] = symbol.min_notional_atoms
        words[at + MAX_NOTIONAL] = symbol.max_notional_atoms or AMOUNT_MAX
        words[at + ORDERS_MAX] = symbol.orders_max or DEFAULT_ORDERS_MAX
        words[at + BASE_CLEARING] = house(CLEARING, symbol.base)
        words[at + BASE_FEES] = house(FEES, symbol.base)
        words[at + QUOTE_CLEARING] = house(CLEARING, symbol.quote)
        words[at + QUOTE_FEES] = house(FEES, symbol.quote)
