"""
What the account events show of each user: balances, open orders, and the orders that ended since settlement last caught up.

    ADMITTED --> open --FILL, REDUCED, MOVED--> open --last FILL, DONE, REJECTED--> ended --forget_settled--> gone

Always true:
  - an order is open in its account, or stands once in `ended`, in the order in which orders ended
  - by_client has the newest order of each client id that is still known, and no two open orders of an account share one
  - a balance is as the last event that named it said; house accounts are not kept
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple, final

from zerosum.core.codes import BY_OWNER, FIRST_USER, NO_REASON, SELF_TRADE, SELL
from zerosum.core.records import REQUEST_WITHDRAWAL
from zerosum.views.events import Event
from zerosum.views.listings import Listings

OPEN: Final = 0
FILLED: Final = 1
ENDED: Final = 2  # canceled or expired: `reason` tells
REJECTED: Final = 3

NO_BALANCE: Final = (0, 0)
NO_CLIENT: Final = (0, 0, 0, 0, 0)
ORDER_NUMBERS: Final = (
    "order_id", "terms", "price_ticks", "qty_lots", "budget_atoms", "created_us", "updated_us", "open_lots", "executed_lots",
    "quote_tick_lots", "prevented_lots", "state", "reason", "ended_by", "ended_at",
)  # fmt: skip


@final
class Order:
    """
    An order of a user, open or ended.

    `qty_lots` shrinks when its owner reduces it; what self-trade prevention takes is `prevented_lots`. `quote_tick_lots` is the sum of
    price x lots of its fills. `ended_by` is the place of the command that ended it, `ended_at` the number of the event that says so.
    """

    __slots__ = (*ORDER_NUMBERS, "account", "client", "gets", "pays")

    def __init__(
        self, account: Account, order_id: int, terms: int, price_ticks: int, qty_lots: int, budget_atoms: int, created_us: int,
        client: Event,
    ) -> None:  # fmt: skip
        self.account = account
        self.order_id = order_id
        self.terms = terms
        self.price_ticks = price_ticks
        self.qty_lots = qty_lots
        self.budget_atoms = budget_atoms
        self.created_us = created_us
        self.updated_us = created_us
        self.client = client
        self.open_lots = qty_lots
        self.executed_lots = 0
        self.quote_tick_lots = 0
        self.prevented_lots = 0
        self.state = OPEN
        self.reason = NO_REASON
        self.ended_by = 0
        self.ended_at = 0
        self.pays = 0
        self.gets = 0

    @property
    def symbol(self) -> int:
        return self.terms >> 32


class Withdrawal(NamedTuple):
    """One that was requested, and has not ended."""

    asset: int
    atoms: int
    requested_us: int


@final
class Account:
    __slots__ = (
        "account_id", "balances", "by_client", "maker_ppm", "open_orders", "orders_max", "pending", "status", "taker_ppm", "updated_us",
    )  # fmt: skip

    def __init__(self, account_id: int) -> None:
        self.account_id = account_id
        self.status = 0
        self.maker_ppm = 0
        self.taker_ppm = 0
        self.orders_max = 0
        self.updated_us = 0
        self.balances: dict[int, Event] = {}  # asset: (available, frozen) atoms
        self.open_orders: dict[int, Order] = {}  # by order id, oldest first
        self.by_client: dict[Event, Order] = {}
        self.pending: dict[int, Withdrawal] = {}  # by transfer id, the oldest first

    def withdrawing(self, asset: int) -> int:
        """Atoms on their way out."""
        return sum(each.atoms for each in self.pending.values() if each.asset == asset)


@final
class Accounts:
    __slots__ = ("by_id", "ended", "listings", "orders")

    def __init__(self, listings: Listings) -> None:
        self.listings = listings
        self.by_id: dict[int, Account] = {}
        self.orders: dict[int, Order] = {}
        self.ended: deque[Order] = deque()

    def add(self, order: Order) -> None:
        """An order that is known from now on, with its account and what it pays and gets."""
        symbol = self.listings.by_number[order.terms >> 32].symbol
        if order.terms & 1 == SELL:
            order.pays, order.gets = symbol.base, symbol.quote
        else:
            order.pays, order.gets = symbol.quote, symbol.base
        self.orders[order.order_id] = order
        if order.client[0]:
            order.account.by_client[order.client] = order

    # ------------------------------------------------------------------ events

    def account_changed(self, event: Event) -> None:
        account_id = event[4]
        account = self.by_id.get(account_id)
        if account is None:
            account = self.by_id[account_id] = Account(account_id)
        account.status, account.maker_ppm, account.taker_ppm, account.orders_max = event[5:]
        account.updated_us = event[3]

    def transferred(self, event: Event) -> None:
        _, _, _, time_us, transfer_id, command, asset, atoms, source, source_available, target, target_available = event
        if source >= FIRST_USER:
            self.set_available(source, asset, source_available, time_us)
            if command == REQUEST_WITHDRAWAL:
                self.by_id[source].pending[transfer_id] = Withdrawal(asset, atoms, time_us)
        if target >= FIRST_USER:
            self.set_available(target, asset, target_available, time_us)

    def withdrawal_ended(self, event: Event) -> None:
        _, _, _, time_us, transfer_id, _, asset, _, account_id, _, to, to_available = event
        if account_id < FIRST_USER:
            return
        del self.by_id[account_id].pending[transfer_id]
        if to >= FIRST_USER:
            self.set_available(to, asset, to_available, time_us)

    def adjusted(self, event: Event) -> None:
        _, _, _, time_us, _, asset, _, source, source_available, target, target_available, _, _ = event
        for account_id, available in ((source, source_available), (target, target_available)):
            if account_id >= FIRST_USER:
                self.set_available(account_id, asset, available, time_us)

    def transfer_passed(self, event: Event) -> None:
        """TRANSFER_SENT, TRANSFER_ARRIVED, TRANSFER_RETURNED: this shard's side of a transfer to or from another."""
        if event[7] >= FIRST_USER:
            self.set_available(event[7], event[5], event[8], event[3])

    def set_available(self, account_id: int, asset: int, available: int, time_us: int) -> None:
        account = self.by_id[account_id]
        account.balances[asset] = (available, account.balances.get(asset, NO_BALANCE)[1])
        account.updated_us = time_us

    def admitted(self, event: Event) -> None:
        time_us = event[3]
        account = self.by_id[event[5]]
        order = Order(account, event[4], event[6], event[7], event[8], event[9], time_us, event[12:])
        self.add(order)
        account.open_orders[order.order_id] = order
        account.balances[order.pays] = event[10:12]
        account.updated_us = time_us

    def fill(self, event: Event) -> None:
        order = self.orders[event[4]]
        qty_lots = event[10]
        order.executed_lots += qty_lots
        order.quote_tick_lots += event[9] * qty_lots
        order.open_lots = event[12]
        order.updated_us = event[3]
        account = order.account
        account.balances[order.pays] = event[13:15]
        account.balances[order.gets] = event[15:17]
        account.updated_us = event[3]
        if event[12] == 0:
            self.end(order, FILLED, NO_REASON, event)

    def done(self, event: Event) -> None:
        order = self.changed(event)
        if event[7] == SELF_TRADE:
            order.prevented_lots += event[8]
        self.end(order, ENDED, event[7], event)

    def rejected(self, event: Event) -> None:
        self.end(self.changed(event), REJECTED, event[7], event)

    def reduced(self, event: Event) -> None:
        order = self.orders[event[4]]
        by_lots = order.open_lots - event[8]
        if event[7] == BY_OWNER:
            order.qty_lots -= by_lots
        else:
            order.prevented_lots += by_lots
        self.changed(event)

    def moved(self, event: Event) -> None:
        self.changed(event).price_ticks = event[7]

    def changed(self, event: Event) -> Order:
        """What DONE, REJECTED, REDUCED, MOVED, MOVE_ADMITTED and MOVE_REJECTED have in common: open lots and the paying balance."""
        order = self.orders[event[4]]
        order.open_lots = event[8]
        order.updated_us = event[3]
        order.account.balances[order.pays] = event[9:11]
        order.account.updated_us = event[3]
        return order

    def repriced(self, event: Event) -> None:
        """MOVE_ADMITTED, MOVE_REJECTED: of the order nothing changes but what is frozen for it."""
        order = self.orders[event[4]]
        order.account.balances[order.pays] = event[9:11]
        order.account.updated_us = event[3]

    def end(self, order: Order, state: int, reason: int, event: Event) -> None:
        order.state = state
        order.reason = reason
        order.ended_by = event[2]
        order.ended_at = event[1]
        del order.account.open_orders[order.order_id]
        self.ended.append(order)

    # ------------------------------------------------------------------ settled

    def forget(self, place: int) -> None:
        """Let go of the orders that commands up to this place in the log ended."""
        while self.ended and self.ended[0].ended_by <= place:
            self.forget_order(self.ended.popleft())

    def forget_up_to(self, sequence: int) -> None:
        """Let go of the orders that ended by the events up to this one."""
        while self.ended and self.ended[0].ended_at <= sequence:
            self.forget_order(self.ended.popleft())

    def forget_order(self, order: Order) -> None:
        del self.orders[order.order_id]
        by_client = order.account.by_client
        if by_client.get(order.client) is order:
            del by_client[order.client]
