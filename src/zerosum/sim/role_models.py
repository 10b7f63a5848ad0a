"""
A shard and an engine once more, slow and obvious: the model of the embedded exchange, cut in two where the cluster is.

    records of a shard's stream ----> ShardModel  --> account events         records of an engine's --> EngineModel --> market events
                                                                                                                   +--> outcomes

Each is held against what the role made of the same input, record by record. They share nothing with the roles but layouts and codes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, final

from zerosum.core import codes, records
from zerosum.core.records import FIELDS, LINK_WORDS, NEW_CLIENT, ORDER_CLIENT
from zerosum.sim.model import (
    CORE_VERSION,
    Account,
    Client,
    Event,
    Fields,
    Model,
    Order,
    Refused,
    Symbol,
    client_of,
    is_given,
    require,
)  # fmt: skip

HOME: Final = 0
FOR_ALL: Final = frozenset(
    {records.CHECKPOINT, records.SET_CORE_VERSION, records.LIST_ASSET, records.LIST_SYMBOL, records.SET_SYMBOL_STATUS}
)


def words_of(data: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(data) // 8}q", data)


@final
class ShardModel(Model):
    """What a shard tells of its accounts. Events have their cause and time, but no numbers; a CHECKPOINTED has no hash."""

    def __init__(self, shard: int, shards: int, partitions: int) -> None:
        super().__init__()
        self.shard = shard
        self.shards = shards
        self.partitions = partitions
        self.supply_max = codes.AMOUNT_MAX // shards
        self.last: dict[int, int] = {}  # by origin
        self._moving: dict[int, int] = {}  # order id: the price asked for
        self._replacements: dict[int, Fields] = {}  # by the place of the command
        self._outcomes: dict[int, Callable[[Fields], None]] = {
            records.OUTCOME_ACCEPTED: self._accepted,
            records.OUTCOME_FILL: self._filled,
            records.OUTCOME_REDUCED: self._reduced,
            records.OUTCOME_MOVED: self._moved,
            records.OUTCOME_MOVE_REJECTED: self._move_rejected,
            records.OUTCOME_DONE: self._done,
            records.OUTCOME_REJECTED: self._rejected,
            records.OUTCOME_CANCEL_REJECTED: self._cancel_rejected,
            records.OUTCOME_RESTED: self._rested,
            records.CREDIT: self._credit,
            records.CREDIT_RETURNED: self._credit_returned,
        }

    def take(self, data: bytes, position: int, time_us: int) -> list[Event]:
        """The account events that a record makes."""
        words = words_of(data)
        kind = words[0] & 0xFF
        place = position * self.shards + self.shard
        self._account_events, self._market_events = [], []
        if kind < records.FIRST_LINK:
            self._begin(place, time_us)
            self._command(data, words)
            return self._account_events
        origin, number = words[0] >> 32, words[1]
        if not self._sends(origin, kind):
            self._begin(place, time_us)
            self._tell(records.FOREIGN, kind, origin, number)
        elif number == self.last.get(origin, 0) + 1:
            self.last[origin] = number
            self._begin(words[2], time_us)
            if kind == records.HANDED_ON:
                self._command(data[LINK_WORDS * 8 :], words[LINK_WORDS:], handed_on=True)
            else:
                self._outcomes[kind](dict(zip(records.LINKS[kind][1], words[LINK_WORDS:], strict=True)))
        return self._account_events

    def _begin(self, cause: int, time_us: int) -> None:
        self.sequence = cause
        self.now_us = max(self.now_us, time_us)

    def _sends(self, origin: int, kind: int) -> bool:
        if kind == records.HANDED_ON:
            return origin == HOME and self.shard != HOME
        if kind in (records.CREDIT, records.CREDIT_RETURNED):
            return 0 <= origin < self.shards and origin != self.shard
        return records.OUTCOME_ACCEPTED <= kind <= records.OUTCOME_RESTED and self.shards <= origin < self.shards + self.partitions

    def _command(self, data: bytes, words: tuple[int, ...], handed_on: bool = False) -> None:
        kind = words[0] & 0xFF
        known = records.COMMANDS.get(kind)
        if known is None or len(words) != FIELDS + len(known[1]) or words[0] >> 8 & 0xFF != records.FORMAT:
            return self._tell(records.REFUSED, kind, codes.BAD_RECORD, 0, 0)
        fields = dict(zip(known[1], words[FIELDS:], strict=True))
        if kind in FOR_ALL and self.shard != HOME and not handed_on:
            return self._tell(records.REFUSED, kind, codes.WRONG_SHARD, 0, 0)
        try:
            if kind == records.OPEN_ACCOUNT:
                self._check_is_here(fields["account"])
            self._handlers[kind](fields)
        except Refused as refused:
            self._tell_refused(kind, refused, fields)

    def _next_order_id(self) -> int:
        return (self.orders_admitted + 1) * self.shards + self.shard

    # What is sent to an engine, and waits for its answer.

    def _engine_place(self, order: Order) -> None:
        pass

    def _check_no_amendment(self, order: Order) -> None:
        require(order.order_id not in self._moving, codes.AMENDMENT_IN_FLIGHT, order.order_id)

    def _engine_move(self, order: Order, price_ticks: int, stp: int) -> None:
        self._moving[order.order_id] = price_ticks

    def _cancel_order(self, order: Order, new_client: Client) -> None:
        if is_given(new_client):
            self._tell(records.CANCEL_ADMITTED, order.order_id, order.account.account_id, *new_client)

    def _reduce(self, fields: Fields) -> None:
        symbol, account = self._symbol_and_account(fields)
        order = self._find(fields, account, symbol)
        require(fields["by_lots"] >= 1, codes.BAD_AMOUNT, order.order_id)

    def _cancel_replace(self, fields: Fields) -> None:
        symbol, account = self._symbol_and_account(fields)
        self._check_may_trade(account, fields["order_id"])
        require(fields["mode"] in (codes.STOP_ON_FAILURE, codes.ALLOW_FAILURE), codes.BAD_TERMS, fields["order_id"])
        try:
            order = self._find(fields, account, symbol)
        except Refused as refused:
            if fields["mode"] == codes.STOP_ON_FAILURE:
                raise
            self._tell_refused(records.CANCEL_REPLACE, refused, fields)
            return self._admit(fields, client_of(fields, ORDER_CLIENT))
        self._replacements[self.sequence] = fields
        self._cancel_order(order, client_of(fields, NEW_CLIENT))

    def _replace(self, request: int) -> None:
        fields = self._replacements.pop(request, None)
        if fields is not None:
            try:
                self._admit(fields, client_of(fields, ORDER_CLIENT))
            except Refused as refused:
                self._tell(records.REFUSED, records.CANCEL_REPLACE, refused.reason, fields["account"], refused.order_id)

    # Outcomes.

    def _order(self, order_id: int) -> Order | None:
        return next((account.orders[order_id] for account in self.accounts.values() if order_id in account.orders), None)

    def _open(self, order_id: int) -> Order:
        order = self._order(order_id)
        assert order is not None, "an engine tells of open orders"
        return order

    def _accepted(self, fields: Fields) -> None:
        order = self._open(fields["order_id"])
        self._tell(records.ACCEPTED, order.order_id, order.account.account_id)

    def _rested(self, fields: Fields) -> None:
        order = self._open(fields["order_id"])
        self._tell(records.RESTED, order.order_id, order.account.account_id)

    def _filled(self, fields: Fields) -> None:
        order = self._open(fields["order_id"])
        order.symbol.trades = fields["trade_id"]
        rate_ppm = order.account.taker_ppm if fields["is_taker"] else order.account.maker_ppm
        self._settle(order, fields["price_ticks"], fields["qty_lots"], rate_ppm, fields["is_taker"])
        if order.open_lots == 0:
            self._moving.pop(order.order_id, None)

    def _reduced(self, fields: Fields) -> None:
        order = self._open(fields["order_id"])
        order.open_lots -= fields["by_lots"]
        self._tell_order(records.REDUCED, order, fields["reason"])

    def _moved(self, fields: Fields) -> None:
        order = self._open(fields["order_id"])
        order.price_ticks, order.frozen_ticks = self._moving.pop(order.order_id), 0
        self._tell_order(records.MOVED, order, order.price_ticks)

    def _move_rejected(self, fields: Fields) -> None:
        order = self._order(fields["order_id"])
        if order is None:
            return self._tell(records.REFUSED, records.MOVE, fields["reason"], 0, fields["order_id"])
        self._moving.pop(order.order_id)
        order.frozen_ticks = 0
        self._tell_order(records.MOVE_REJECTED, order, fields["reason"])

    def _done(self, fields: Fields) -> None:
        order = self._open(fields["order_id"])
        self._moving.pop(order.order_id, None)
        self._end(order, fields["reason"])
        if fields["request"]:
            self._replace(fields["request"])

    def _rejected(self, fields: Fields) -> None:
        order = self._open(fields["order_id"])
        del order.account.orders[order.order_id]
        self._tell_order(records.REJECTED, order, fields["reason"])

    def _cancel_rejected(self, fields: Fields) -> None:
        self._tell(records.CANCEL_REJECTED, fields["order_id"], fields["reason"])
        waiting = self._replacements.get(fields["request"])
        if waiting is None:
            return
        if waiting["mode"] == codes.ALLOW_FAILURE:
            return self._replace(fields["request"])
        del self._replacements[fields["request"]]
        self._tell(records.REFUSED, records.CANCEL_REPLACE, codes.CANCEL_FAILED, waiting["account"], fields["order_id"])

    # Transfers to and from other shards.

    def _check_is_here(self, account_id: int) -> None:
        require(account_id < codes.FIRST_USER or (account_id & codes.ACCOUNT_MAX) % self.shards == self.shard, codes.WRONG_SHARD)

    def _transfer(self, fields: Fields) -> None:
        to = fields["to_account"]
        if to < codes.FIRST_USER or to > codes.HOLDER_MAX or (to & codes.ACCOUNT_MAX) % self.shards == self.shard:
            return super()._transfer(fields)
        self._check_movement(records.TRANSFER, fields)
        require(self._payer(fields["account"]).status != codes.CLOSED, codes.ACCOUNT_CLOSED)
        self._may_pay(fields)
        asset, atoms, account = fields["asset"], fields["atoms"], fields["account"]
        self.transfers[account, fields["transfer_id"]] = (records.TRANSFER, *fields.values())
        self._pay(asset, account, codes.CLEARING, atoms)
        self._tell(records.TRANSFER_SENT, fields["transfer_id"], asset, atoms, account, self.balance(account, asset)[0], to)

    def _credit(self, fields: Fields) -> None:
        asset, atoms, to = fields["asset"], fields["atoms"], fields["to_account"]
        owner = self.accounts.get(to & codes.ACCOUNT_MAX)
        if not 0 <= asset < len(self.assets) or owner is None or owner.status in (codes.HOUSE, codes.CLOSED):
            return  # it is sent back
        self._open_wallet(to)
        self._pay(asset, codes.CLEARING, to, atoms)
        self._tell(records.TRANSFER_ARRIVED, fields["transfer_id"], asset, atoms, to, self.balance(to, asset)[0], fields["from_account"])

    def _credit_returned(self, fields: Fields) -> None:
        asset, atoms = fields["asset"], fields["atoms"]
        account = fields["from_account"]
        owner = self._payer(account)
        if owner.status == codes.CLOSED:
            owner.status = codes.SUSPENDED
            self._tell_account(owner)
        self._pay(asset, codes.CLEARING, account, atoms)
        del self.transfers[account, fields["transfer_id"]]
        self._tell(
            records.TRANSFER_RETURNED, fields["transfer_id"], asset, atoms, account, self.balance(account, asset)[0],
            fields["to_account"], fields["reason"],
        )  # fmt: skip


@final
class EngineModel(Model):
    """What an engine makes of its orders: market events, and outcomes as (kind, fields) less the handles."""

    def __init__(self, shards: int) -> None:
        super().__init__()
        self.shards = shards
        self.outcomes: list[Event] = []
        self.last: dict[int, int] = {}
        self.version = CORE_VERSION
        self._open: dict[int, Order] = {}
        self._markets: dict[int, Symbol] = {}
        self._rules_of: dict[int, int] = {}  # by symbol, the revision
        self._status_of: dict[int, int] = {}
        self._lots: dict[int, int] = {}  # of each order, as was last told
        self._request = 0
        self._orders: dict[int, Callable[[Fields], None]] = {
            records.ENGINE_LIST: self._list,
            records.ENGINE_STATUS: self._status,
            records.ENGINE_PLACE: self._enter,
            records.ENGINE_CANCEL: self._take_out,
            records.ENGINE_REDUCE: self._make_smaller,
            records.ENGINE_MOVE: self._move_to,
            records.ENGINE_CHECKPOINT: lambda fields: self._tell_market(records.MARKET_CHECKPOINTED),
            records.ENGINE_VERSION: self._set_version,
        }

    def take(self, data: bytes, time_us: int) -> tuple[list[Event], list[Event]]:
        """The market events and the outcomes that a record makes."""
        words = words_of(data)
        kind, origin, number = words[0] & 0xFF, words[0] >> 32, words[1]
        self._account_events, self._market_events, self.outcomes = [], [], []
        if kind not in self._orders or not 0 <= origin < self.shards:
            self._begin(0, time_us)
            self._tell(records.MARKET_FOREIGN, kind, origin, number)
        elif number == self.last.get(origin, 0) + 1:
            self.last[origin] = number
            self._begin(words[2], time_us)
            self._orders[kind](dict(zip(records.LINKS[kind][1], words[LINK_WORDS:], strict=True)))
        return self._market_events, self.outcomes

    def _begin(self, cause: int, time_us: int) -> None:
        self.sequence = cause
        self.now_us = max(self.now_us, time_us)

    # Listings.

    def _list(self, fields: Fields) -> None:
        number = fields["symbol"]
        symbol = self._markets.get(number)
        if symbol is None:
            listing = {"symbol": number, "base": 0, "quote": 1, "max_price_ticks": fields["ticks"] - 1}
            symbol = Symbol(listing, 1, fields["tick_lot_atoms"], fields["status"], fields["reference_ticks"])
            self._markets[number] = symbol
            self._status_of[number] = fields["revision"]
            self._tell_status_of(number)
        if fields["revision"] > self._rules_of.get(number, 0):
            self._rules_of[number] = fields["revision"]
            for name in ("min_notional_atoms", "band_down_ppm", "band_up_ppm", "level_orders_max"):
                symbol.listing[name] = fields[name]

    def _status(self, fields: Fields) -> None:
        number = fields["symbol"]
        if fields["revision"] > self._status_of[number]:
            self._status_of[number] = fields["revision"]
            self._markets[number].status = fields["status"]
            self._tell_status_of(number)

    def _tell_status_of(self, number: int) -> None:
        symbol = self._markets[number]
        self._tell(records.MARKET_STATUS, number, symbol.status, symbol.reference_ticks, symbol.tick_lot_atoms)

    def _set_version(self, fields: Fields) -> None:
        if fields["version"] > self.version:
            self.version = fields["version"]
            self._tell(records.MARKET_VERSION_SET, fields["version"])

    def _tell_market(self, kind: int) -> None:
        """Without a hash."""
        self._market_events.append({"kind": kind, "cause": self.sequence, "time_us": self.now_us})

    # Orders.

    def _enter(self, fields: Fields) -> None:
        symbol = self._markets[fields["terms"] >> 32]
        account = self.accounts.setdefault(fields["account"], Account(fields["account"], codes.ACTIVE))
        budget_atoms = fields["budget"] * symbol.tick_lot_atoms
        order = Order(
            fields["order_id"], account, symbol, fields["terms"], fields["price_ticks"], fields["qty_lots"], budget_atoms, (0,) * 5
        )  # fmt: skip
        account.orders[order.order_id] = self._open[order.order_id] = order
        self._lots[order.order_id] = order.open_lots
        self._engine_place(order)
        self._say_if_it_rests(order)

    def _say_if_it_rests(self, order: Order) -> None:
        if order.order_id in order.account.orders:
            self._outcome(records.OUTCOME_RESTED, order)

    def _take_out(self, fields: Fields) -> None:
        order = self._find_open(fields["order_id"])
        if order is None:
            return self._cancel_rejected(fields["order_id"])
        self._request = self.sequence
        self._leave_and_end(order, codes.BY_OWNER)

    def _make_smaller(self, fields: Fields) -> None:
        order = self._find_open(fields["order_id"])
        if order is None:
            return self._cancel_rejected(fields["order_id"])
        if fields["by_lots"] >= order.open_lots:
            self._request = self.sequence
            self._leave_and_end(order, codes.BY_OWNER)
        else:
            self._shrink(order, fields["by_lots"], codes.BY_OWNER)

    def _move_to(self, fields: Fields) -> None:
        order = self._find_open(fields["order_id"])
        if order is None:
            event = {"kind": records.OUTCOME_MOVE_REJECTED, "order_id": fields["order_id"], "reason": codes.UNKNOWN_ORDER}
            return self.outcomes.append(event)
        self._engine_move(order, fields["price_ticks"], fields["stp"])
        if self.outcomes[0]["kind"] == records.OUTCOME_MOVED:
            self._say_if_it_rests(order)

    def _find_open(self, order_id: int) -> Order | None:
        order = self._open.get(order_id)
        return order if order is not None and order_id in order.account.orders else None

    # What the model of the whole exchange would tell of accounts is an outcome here.

    def _outcome(self, kind: int, order: Order, **fields: int) -> None:
        self.outcomes.append({"kind": kind, "order_id": order.order_id, **fields})

    def _cancel_rejected(self, order_id: int) -> None:
        event = {"kind": records.OUTCOME_CANCEL_REJECTED, "order_id": order_id, "reason": codes.UNKNOWN_ORDER, "request": self.sequence}
        self.outcomes.append(event)

    def _tell(self, kind: int, *values: int) -> None:
        if kind == records.ACCEPTED:
            self.outcomes.append({"kind": records.OUTCOME_ACCEPTED, "order_id": values[0]})
        else:
            super()._tell(kind, *values)

    def _tell_order(self, kind: int, order: Order, reason_or_price: int) -> None:
        if kind == records.REJECTED:
            self._outcome(records.OUTCOME_REJECTED, order, reason=reason_or_price)
        elif kind == records.DONE:
            request, self._request = self._request, 0
            self._outcome(records.OUTCOME_DONE, order, reason=reason_or_price, request=request)
        elif kind == records.REDUCED:
            by_lots, self._lots[order.order_id] = self._lots[order.order_id] - order.open_lots, order.open_lots
            self._outcome(records.OUTCOME_REDUCED, order, by_lots=by_lots, reason=reason_or_price)
        elif kind == records.MOVED:
            self._outcome(records.OUTCOME_MOVED, order)
        else:
            self._outcome(records.OUTCOME_MOVE_REJECTED, order, reason=reason_or_price)

    def _settle(self, order: Order, price_ticks: int, lots: int, fee_ppm: int, is_taker: int) -> None:
        order.open_lots -= lots
        self._lots[order.order_id] = order.open_lots
        order.traded_ticks_lots += price_ticks * lots
        if order.open_lots == 0:
            del order.account.orders[order.order_id]
        trade_id = order.symbol.trades
        self._outcome(records.OUTCOME_FILL, order, is_taker=is_taker, trade_id=trade_id, price_ticks=price_ticks, qty_lots=lots)
