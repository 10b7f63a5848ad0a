"""What anyone may ask: the time, what is listed, books and last trades."""

from __future__ import annotations

from typing import Final, final

from zerosum.core.codes import BUY
from zerosum.core.treasury import DEFAULT_ORDERS_MAX as ACCOUNT_ORDERS_MAX
from zerosum.gateway import answers, errors
from zerosum.gateway.calls import Call, announced
from zerosum.gateway.entry import Entry
from zerosum.gateway.instruments import STATUSES, Instrument, Instruments
from zerosum.gateway.limits import Allowance
from zerosum.gateway.parameters import Params, boolean, limit, symbol_names

STATUS_NAMES: Final = frozenset(STATUSES.values())
DEPTH_DEFAULT: Final = 100
DEPTH_MAX: Final = 5000
TRADES_DEFAULT: Final = 500
TRADES_MAX: Final = 1000

DEPTH_WEIGHTS: Final = ((100, 5), (500, 25), (1000, 50), (DEPTH_MAX, 250))
"""Up to how many levels, and what that weighs in all."""


EXCHANGE_FILTERS: Final = [{"filterType": "EXCHANGE_MAX_NUM_ORDERS", "maxNumOrders": ACCOUNT_ORDERS_MAX}]
"""Of an account that was opened without a bound of its own."""


@final
class MarketData:
    __slots__ = ("allowance", "entry", "instruments")

    def __init__(self, entry: Entry, instruments: Instruments, allowance: Allowance) -> None:
        self.entry = entry
        self.instruments = instruments
        self.allowance = allowance

    def ping(self, call: Call) -> None:
        call.ok(b"{}")

    def time(self, call: Call) -> None:
        call.ok(b'{"serverTime":%d}' % (self.entry.now_us() // call.divisor))

    def exchange_info(self, call: Call) -> None:
        shown = [instrument.info() for instrument in self.asked_for(call.params)]
        if not boolean(call.params, "showPermissionSets", True):
            shown = [info | {"permissionSets": []} for info in shown]
        info = {
            "timezone": "UTC",
            "serverTime": self.entry.now_us() // call.divisor,
            "rateLimits": announced(self.allowance),
            "exchangeFilters": EXCHANGE_FILTERS,
            "symbols": shown,
        }
        call.ok(answers.encode(info))

    def asked_for(self, params: Params) -> list[Instrument]:
        status = params.get("symbolStatus")
        if status is not None and status not in STATUS_NAMES:
            raise errors.INVALID_SYMBOL_STATUS.of()
        if sum(name in params for name in ("symbol", "symbols", "symbolStatus")) > 1:
            raise errors.BAD_COMBINATION.of()
        if "symbol" in params:
            return [self.instruments.of(params)]
        names = params.get("symbols")
        if names is None:
            return [one for one in self.instruments.all() if status is None or STATUSES[one.market.status] == status]
        found = [self.instruments.named(name) for name in symbol_names(names)]
        listed = [one for one in found if one is not None]
        if len(listed) < len(found):
            raise errors.INVALID_SYMBOL.of()
        return listed

    def depth(self, call: Call) -> None:
        instrument = self.instruments.of(call.params)
        levels = limit(call.params, DEPTH_DEFAULT, DEPTH_MAX)
        weight = next(weight for most, weight in DEPTH_WEIGHTS if levels <= most)
        if weight > DEPTH_WEIGHTS[0][1]:
            call.use_weight(weight - DEPTH_WEIGHTS[0][1])
        price, qty = instrument.price.text, instrument.qty.text
        market = instrument.market
        bids = [(price(ticks), qty(lots)) for ticks, lots in market.bids.levels(levels)]
        asks = [(price(ticks), qty(lots)) for ticks, lots in market.asks.levels(levels)]
        call.ok(answers.encode(answers.Depth(market.last_update_id, bids, asks)))

    def trades(self, call: Call) -> None:
        instrument = self.instruments.of(call.params)
        newest = instrument.market.last_trades(limit(call.params, TRADES_DEFAULT, TRADES_MAX))
        price, qty, quote = instrument.price.text, instrument.qty.text, instrument.quote_amount.text
        rows = [
            answers.PublicTrade(
                trade.trade_id, price(trade.price_ticks), qty(trade.qty_lots),
                quote(trade.price_ticks * trade.qty_lots * instrument.tick_lot_atoms), time_us // call.divisor,
                trade.symbol_side & 1 != BUY, True,
            )
            for time_us, trade in newest
        ]  # fmt: skip
        call.ok(answers.encode(rows))
