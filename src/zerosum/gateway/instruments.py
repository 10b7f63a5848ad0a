"""
A listed symbol as requests need it: its scales, its filters, and what exchangeInfo says of it.

Worked out once for each listing; a changed listing is a new Instrument.
"""

from __future__ import annotations

from typing import Final, final

from zerosum.core.codes import BREAK, BUY, HALT, LIMIT_MAKER, MARKET, MARKET_QUOTE, PPM, TRADING
from zerosum.gateway import errors
from zerosum.gateway.decimals import Scale
from zerosum.gateway.parameters import STP_MODES, SYMBOL, Params, mandatory, matching
from zerosum.views.listings import Listing
from zerosum.views.markets import Market
from zerosum.views.views import Views

STATUSES: Final = {TRADING: "TRADING", HALT: "HALT", BREAK: "BREAK"}
LEVELS_MAX: Final = 1_000  # of a book, that are looked at to find that price: a stranger who may not even have the money asks for it
SLACK_PPM: Final = 1_100_000  # on the worst price in the book that a market buy may meet: the book moves on while the order is on its way

Json = dict[str, object]


@final
class Instrument:
    """`price` counts ticks, `qty` lots, `base_amount` and `quote_amount` atoms."""

    __slots__ = (
        "base_amount", "base_name", "info_by_status", "listing", "market", "name", "number", "price", "qty", "quote_amount", "quote_name",
        "rules", "tick_lot_atoms",
    )  # fmt: skip

    def __init__(self, listing: Listing, market: Market) -> None:
        symbol = listing.symbol
        self.listing = listing
        self.market = market
        self.rules = symbol
        self.name = symbol.name
        self.number = symbol.symbol
        self.base_name = listing.base.name
        self.quote_name = listing.quote.name
        self.tick_lot_atoms = listing.tick_lot_atoms
        self.price = Scale(symbol.tick, symbol.tick_decimals, errors.PRICE_FILTER)
        self.qty = Scale(symbol.lot, symbol.lot_decimals, errors.LOT_SIZE)
        self.base_amount = Scale(1, listing.base.decimals, errors.TOO_PRECISE)
        self.quote_amount = Scale(1, listing.quote.decimals, errors.TOO_PRECISE)
        self.info_by_status: dict[int, Json] = {}

    # ------------------------------------------------------------------ filters

    def check_filters(self, order_type: int, price_ticks: int, qty_lots: int, budget_atoms: int) -> None:
        """
        As UBSCore checks an order, in its order; and a market order by quantity, whose price nobody knows yet, at that of the last trade.
        After it every number fits in its word of the command. Raises ApiError.
        """
        rules = self.rules
        if order_type == MARKET_QUOTE:
            if not max(1, rules.min_notional_atoms) <= budget_atoms <= rules.max_notional_atoms:
                raise errors.NOTIONAL.of()
            return
        if order_type <= LIMIT_MAKER and not rules.min_price_ticks <= price_ticks <= rules.max_price_ticks:
            raise errors.PRICE_FILTER.of()
        if not rules.min_qty_lots <= qty_lots <= rules.max_qty_lots:
            raise errors.LOT_SIZE.of()
        has_price = order_type <= LIMIT_MAKER
        notional = (price_ticks if has_price else self.market.reference_ticks) * qty_lots * self.tick_lot_atoms
        if notional > rules.max_notional_atoms or (has_price and notional < rules.min_notional_atoms):
            raise errors.NOTIONAL.of()

    def cap_ticks(self, order_type: int, side: int, qty_lots: int) -> int:
        """
        The highest price that a market buy by quantity is reckoned with: the band's edge; without a band the worst price in the book for
        that quantity, and a tenth; without so much in its best LEVELS_MAX levels, the highest price that there is. Else 0.
        """
        if order_type != MARKET or side != BUY:
            return 0
        highest = self.rules.max_price_ticks
        edge = self.market.band_high(self.rules)
        if edge:
            return edge
        worst = self.market.asks.price_for(qty_lots, LEVELS_MAX)
        return min(highest, worst * SLACK_PPM // PPM + 1) if worst else highest

    # ------------------------------------------------------------------ exchangeInfo

    def info(self) -> Json:
        status = self.market.status
        found = self.info_by_status.get(status)
        if found is None:
            found = self.info_by_status[status] = self.made_info(status)
        return found

    def made_info(self, status: int) -> Json:
        return {
            "symbol": self.name,
            "status": STATUSES[status],
            "baseAsset": self.base_name,
            "baseAssetPrecision": self.listing.base.decimals,
            "quoteAsset": self.quote_name,
            "quotePrecision": self.listing.quote.decimals,
            "quoteAssetPrecision": self.listing.quote.decimals,
            "baseCommissionPrecision": self.listing.base.decimals,
            "quoteCommissionPrecision": self.listing.quote.decimals,
            "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
            "icebergAllowed": False,
            "ocoAllowed": False,
            "otoAllowed": False,
            "quoteOrderQtyMarketAllowed": True,
            "allowTrailingStop": False,
            "cancelReplaceAllowed": False,
            "amendAllowed": True,
            "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": False,
            "filters": self.filters(),
            "permissions": [],
            "permissionSets": [["SPOT"]],
            "defaultSelfTradePreventionMode": "NONE",
            "allowedSelfTradePreventionModes": list(STP_MODES),
        }

    def filters(self) -> list[Json]:
        rules = self.rules
        price, qty, quote = self.price.text, self.qty.text, self.quote_amount.text
        found: list[Json] = [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": price(rules.min_price_ticks),
                "maxPrice": price(rules.max_price_ticks),
                "tickSize": price(1),
            },
            {"filterType": "LOT_SIZE", "minQty": qty(rules.min_qty_lots), "maxQty": qty(rules.max_qty_lots), "stepSize": qty(1)},
            {
                "filterType": "NOTIONAL",
                "minNotional": quote(rules.min_notional_atoms),
                "applyMinToMarket": True,
                "maxNotional": quote(rules.max_notional_atoms),
                "applyMaxToMarket": True,
                "avgPriceMins": 0,
            },
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": rules.orders_max},
        ]
        if rules.band_down_ppm or rules.band_up_ppm:
            # No bound upwards is written as a factor that takes even one tick past the highest price.
            up_ppm = rules.band_up_ppm or rules.max_price_ticks * PPM
            found.append(
                {
                    "filterType": "PERCENT_PRICE",
                    "multiplierUp": f"{up_ppm // PPM}.{up_ppm % PPM:06d}",
                    "multiplierDown": f"{rules.band_down_ppm // PPM}.{rules.band_down_ppm % PPM:06d}",
                    "avgPriceMins": 0,
                }
            )
        return found


@final
class Instruments:
    __slots__ = ("_by_name", "_views")

    def __init__(self, views: Views) -> None:
        self._views = views
        self._by_name: dict[str, Instrument] = {}

    def of(self, params: Params) -> Instrument:
        """That of the mandatory parameter `symbol`. Raises ApiError."""
        name = mandatory(params, "symbol")
        found = self.named(name)
        if found is None:
            matching(name, "symbol", SYMBOL)
            raise errors.INVALID_SYMBOL.of()
        return found

    def named(self, name: str) -> Instrument | None:
        listing = self._views.listing(name)
        if listing is None:
            return None
        found = self._by_name.get(name)
        if found is None or found.listing is not listing:
            found = self._by_name[name] = Instrument(listing, self._views.market(listing.symbol.symbol))
        return found

    def of_order(self, account_id: int, number: int) -> Instrument:
        """
        To show an order that an account has. In a cluster its shard may have told of the symbol, and the first shard or the engine not yet
        here: then it is the shard's listing, and no market.
        """
        listing = self._views.shard_of(account_id).listings.by_number[number]
        return self.named(listing.symbol.name) or Instrument(listing, Market())

    def all(self) -> list[Instrument]:
        """In the order of their numbers."""
        found = [self.named(listing.symbol.name) for listing in self._views.listings.by_number]
        return [instrument for instrument in found if instrument is not None]
