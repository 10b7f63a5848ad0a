"""
The views as a whole: events in, answers out.

    account events --> Listings, Accounts          market events --> Markets

Always true: the views are as they were after the last event of each stream that they took; they take each stream densely, from wherever
they stand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from zerosum.core import records
from zerosum.views.accounts import Account, Accounts, Order
from zerosum.views.events import Event, unpacked
from zerosum.views.listings import Listing, Listings
from zerosum.views.markets import Market, Markets

KIND_MASK: Final = 0xFF


@final
class Views:
    __slots__ = ("account_sequence", "accounts", "handlers", "listings", "market_sequence", "markets")

    def __init__(self) -> None:
        self.listings = Listings()
        self.accounts = Accounts(self.listings)
        self.markets = Markets()
        self.account_sequence = 0
        self.market_sequence = 0
        self.handlers = self.handlers_by_kind()

    def handlers_by_kind(self) -> list[Callable[[Event], None]]:
        accounts, listings, markets = self.accounts, self.listings, self.markets
        handlers: list[Callable[[Event], None]] = [unknown] * (KIND_MASK + 1)
        handlers[records.ADMITTED] = accounts.admitted
        handlers[records.FILL] = accounts.fill
        handlers[records.DONE] = accounts.done
        handlers[records.REJECTED] = accounts.rejected
        handlers[records.REDUCED] = accounts.reduced
        handlers[records.MOVED] = accounts.moved
        handlers[records.MOVE_ADMITTED] = accounts.repriced
        handlers[records.MOVE_REJECTED] = accounts.repriced
        handlers[records.TRANSFERRED] = accounts.transferred
        handlers[records.ACCOUNT_CHANGED] = accounts.account_changed
        handlers[records.ASSET_LISTED] = listings.asset_listed
        handlers[records.SYMBOL_LISTED] = listings.symbol_listed
        handlers[records.BOOK] = markets.book
        handlers[records.TRADE] = markets.trade
        handlers[records.MARKET_STATUS] = markets.market_status
        for kind in (
            records.ACCEPTED, records.REFUSED, records.CANCEL_ADMITTED, records.CANCEL_ALL_ADMITTED, records.CANCEL_REJECTED,
            records.CHECKPOINTED, records.VERSION_SET, records.PASSED_OVER,
        ):  # fmt: skip
            handlers[kind] = nothing
        return handlers

    def apply(self, account_events: bytes | list[Event], market_events: bytes | list[Event]) -> None:
        """The next events of both streams, as bytes or unpacked already."""
        account_batch = unpacked(account_events) if isinstance(account_events, bytes) else account_events
        market_batch = unpacked(market_events) if isinstance(market_events, bytes) else market_events
        self.account_sequence = last_sequence(account_batch, self.account_sequence)
        self.market_sequence = last_sequence(market_batch, self.market_sequence)
        handlers = self.handlers
        for event in account_batch:
            handlers[event[0] & KIND_MASK](event)
        for event in market_batch:
            handlers[event[0] & KIND_MASK](event)

    def forget_settled(self, place: int) -> None:
        """Everything that commands up to this place in the log caused can be read from the settled record."""
        self.accounts.forget(place)

    # ------------------------------------------------------------------ asking

    def listing(self, name: str) -> Listing | None:
        return self.listings.by_name.get(name)

    def market(self, symbol: int) -> Market:
        return self.markets.by_number[symbol]

    def account(self, account_id: int) -> Account | None:
        return self.accounts.by_id.get(account_id)

    def order(self, account_id: int, order_id: int) -> Order | None:
        """An account's open order, or one that ended and is not settled yet."""
        order = self.accounts.orders.get(order_id)
        if order is None or order.account.account_id != account_id:
            return None
        return order

    def order_by_client(self, account_id: int, client: Event) -> Order | None:
        """The same by the words of its client id: of several, the one admitted last."""
        account = self.accounts.by_id.get(account_id)
        return None if account is None else account.by_client.get(client)


def last_sequence(batch: list[Event], before: int) -> int:
    if not batch:
        return before
    assert batch[0][1] == before + 1 and batch[-1][1] == before + len(batch), "a stream is taken densely"
    return batch[-1][1]


def nothing(event: Event) -> None:
    """For events that no view shows."""


def unknown(event: Event) -> None:
    raise AssertionError(f"the views know every kind of event, but not {event[0] & KIND_MASK}")
