"""
What a user may ask about themselves: orders, balances, trades.

    current: barrier --> the views            history: settled --> a thread --> the settled record

Always true: what a user is told includes everything that they were told before, and everything they had submitted when they asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Final, TypeVar, final

from zerosum.core.codes import ACTIVE, SUSPENDED
from zerosum.core.listings import Asset
from zerosum.core.records import CLIENT, text_words
from zerosum.gateway import answers, errors
from zerosum.gateway.calls import Call
from zerosum.gateway.decimals import Scale, ratio_text
from zerosum.gateway.entry import Busy, Entry, Passed
from zerosum.gateway.errors import TOO_PRECISE
from zerosum.gateway.history import History
from zerosum.gateway.instruments import Instrument, Instruments
from zerosum.gateway.orders import named_order
from zerosum.gateway.parameters import boolean, limit, optional_integer, time_range_us
from zerosum.settlement.rows import OrderRow, UserTradeRow
from zerosum.views.accounts import NO_BALANCE, Account
from zerosum.views.views import Views

T = TypeVar("T")

SETTLED_TIMEOUT_S: Final = 5.0
READS_MAX: Final = 500  # of history, under way and waiting for their turn
ROWS_DEFAULT: Final = 500
ROWS_MAX: Final = 1000
OPEN_ORDERS_OF_ALL_SYMBOLS_WEIGHT: Final = 80
USER_TRADES_WEIGHT: Final = 20
USER_TRADES_OF_ORDER_WEIGHT: Final = 5
OPEN_ORDERS_WEIGHT: Final = 6

# Which of these may come together in myTrades, with the symbol.
USER_TRADES_COMBINATIONS: Final[tuple[set[str], ...]] = (
    set(), {"orderId"}, {"startTime"}, {"endTime"}, {"fromId"}, {"startTime", "endTime"}, {"orderId", "fromId"},
)  # fmt: skip


@final
class AccountData:
    """Without an `executor`, history is read in the event loop's own thread."""

    __slots__ = ("entry", "executor", "history", "instruments", "reads", "scales", "views")

    def __init__(self, entry: Entry, views: Views, instruments: Instruments, history: History, executor: Executor | None) -> None:
        self.entry = entry
        self.views = views
        self.instruments = instruments
        self.history = history
        self.executor = executor
        self.reads = 0
        self.scales: dict[int, Scale] = {}  # by asset

    # ------------------------------------------------------------------ orders

    def order(self, call: Call) -> None:
        instrument = self.instruments.of(call.params)
        order_id, client = named_order(call.params)
        self.when_current(call, partial(self.tell_order, call, instrument, order_id, client))

    def tell_order(self, call: Call, instrument: Instrument, order_id: int | None, client: str | None) -> None:
        words = None if client is None else text_words(client, len(CLIENT))
        order = None
        if order_id is not None:
            order = self.views.order(call.account_id, order_id)
        elif words is not None:
            order = self.views.order_by_client(call.account_id, words)
        if order is None or order.symbol != instrument.number:
            find = partial(self.history.order, call.account_id, instrument.number, order_id=order_id, client_id=client)
            tell = partial(self.tell_settled_order, call, instrument)
            if order is None:  # what views do not know is settled
                return self.read(call, find, tell)
            return self.read_settled(call, find, tell)  # they know the newest of a client id, and this may be one before it
        if words is not None and order.client != words:
            return call.fail(errors.NO_SUCH_ORDER.of())
        row = answers.row_of(order, instrument.tick_lot_atoms)
        call.ok(answers.encode(answers.order_info(instrument, row, call.divisor)))

    def tell_settled_order(self, call: Call, instrument: Instrument, row: OrderRow | None) -> None:
        if row is None:
            return call.fail(errors.NO_SUCH_ORDER.of())
        call.ok(answers.encode(answers.order_info(instrument, row, call.divisor)))

    def open_orders(self, call: Call) -> None:
        instrument = self.instruments.of(call.params) if "symbol" in call.params else None
        if instrument is None:
            call.use_weight(OPEN_ORDERS_OF_ALL_SYMBOLS_WEIGHT - OPEN_ORDERS_WEIGHT)
        self.when_current(call, partial(self.tell_open_orders, call, instrument))

    def tell_open_orders(self, call: Call, instrument: Instrument | None) -> None:
        account = self.views.account(call.account_id)
        shown = []
        for order in [] if account is None else account.open_orders.values():
            if instrument is None or order.symbol == instrument.number:
                one = instrument or self.instruments.of_order(call.account_id, order.symbol)
                shown.append(answers.order_info(one, answers.row_of(order, one.tick_lot_atoms), call.divisor))
        call.ok(answers.encode(shown))

    def all_orders(self, call: Call) -> None:
        params = call.params
        instrument = self.instruments.of(params)
        start_us, end_us = time_range_us(params)
        find = partial(
            self.history.all_orders, call.account_id, instrument.number, from_order_id=optional_integer(params, "orderId"),
            start_us=start_us, end_us=end_us, limit=limit(params, ROWS_DEFAULT, ROWS_MAX),
        )  # fmt: skip
        self.read_settled(call, find, partial(self.tell_orders, call, instrument))

    def tell_orders(self, call: Call, instrument: Instrument, rows: list[OrderRow]) -> None:
        call.ok(answers.encode([answers.order_info(instrument, row, call.divisor) for row in rows]))

    # ------------------------------------------------------------------ trades

    def user_trades(self, call: Call) -> None:
        params = call.params
        instrument = self.instruments.of(params)
        if {"orderId", "startTime", "endTime", "fromId"} & params.keys() not in USER_TRADES_COMBINATIONS:
            raise errors.BAD_COMBINATION.of()
        if "orderId" not in params:
            call.use_weight(USER_TRADES_WEIGHT - USER_TRADES_OF_ORDER_WEIGHT)
        start_us, end_us = time_range_us(params)
        find = partial(
            self.history.user_trades, call.account_id, instrument.number, order_id=optional_integer(params, "orderId"),
            from_trade_id=optional_integer(params, "fromId"), start_us=start_us, end_us=end_us, limit=limit(params, ROWS_DEFAULT, ROWS_MAX),
        )  # fmt: skip
        self.read_settled(call, find, partial(self.tell_trades, call, instrument))

    def tell_trades(self, call: Call, instrument: Instrument, rows: list[UserTradeRow]) -> None:
        call.ok(answers.encode([answers.user_trade(instrument, row, call.divisor) for row in rows]))

    # ------------------------------------------------------------------ balances

    def account(self, call: Call) -> None:
        omits_zeros = boolean(call.params, "omitZeroBalances", False)
        self.when_current(call, partial(self.tell_account, call, omits_zeros))

    def tell_account(self, call: Call, omits_zeros: bool) -> None:
        account = self.views.account(call.account_id)
        if account is None:
            return call.fail(errors.REJECTED_KEY.of())
        rates = answers.Rates(ratio_text(account.maker_ppm), ratio_text(account.taker_ppm))
        is_active = account.status == ACTIVE
        info = answers.AccountInfo(
            account.maker_ppm // 100, account.taker_ppm // 100, 0, 0, rates, is_active, is_active, account.status in (ACTIVE, SUSPENDED),
            False, False, False, account.updated_us // call.divisor, "SPOT", self.balances(account, omits_zeros), ["SPOT"], call.account_id,
        )  # fmt: skip
        call.ok(answers.encode(info))

    def balances(self, account: Account, omits_zeros: bool) -> list[answers.Balance]:
        shown = []
        for asset in self.views.shard_of(account.account_id).listings.assets:
            available, frozen = account.balances.get(asset.asset, NO_BALANCE)
            if omits_zeros and not available and not frozen:
                continue
            scale = self.scale_of(asset)
            shown.append(answers.Balance(asset.name, scale.text(available), scale.text(frozen)))
        return shown

    def scale_of(self, asset: Asset) -> Scale:
        found = self.scales.get(asset.asset)
        if found is None:
            found = self.scales[asset.asset] = Scale(1, asset.decimals, TOO_PRECISE)
        return found

    # ------------------------------------------------------------------ reading

    def read_settled(self, call: Call, find: Callable[[], T], tell: Callable[[T], None]) -> None:
        """Read once the settled record has everything that is applied now."""
        when_settled = in_time(call, partial(self.read, call, find, tell))
        self.when_current(call, partial(self.entry.settled, call.account_id, when_settled, SETTLED_TIMEOUT_S))

    def when_current(self, call: Call, part: Callable[[], None]) -> None:
        """Go on once the views show what the account has sent before."""
        self.entry.barrier(call.account_id, in_time(call, part))

    def read(self, call: Call, find: Callable[[], T], tell: Callable[[T], None]) -> None:
        """Run `find` away from the event loop, and `tell` in it. Busy where too many reads wait for their turn."""
        if self.executor is None:
            return tell(find())
        if self.reads == READS_MAX:
            raise Busy(f"{READS_MAX} reads of the settled record are under way")

        def found(future: asyncio.Future[T]) -> None:
            self.reads -= 1
            if not future.cancelled():  # the exchange stops, and nobody waits any more
                call.run(lambda: tell(future.result()))

        self.reads += 1
        asyncio.get_running_loop().run_in_executor(self.executor, find).add_done_callback(found)


def in_time(call: Call, part: Callable[[], None]) -> Passed:
    """A part of an operation, to be run once something is so; where that takes too long, the call fails."""

    def go_on(is_so: bool) -> None:
        if not is_so:
            raise errors.TIMEOUT.of()
        part()

    return partial(call.run, go_on)
