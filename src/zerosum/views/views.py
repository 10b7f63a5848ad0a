"""
The views as a whole: events in, answers out.

    account events of a shard --> its AccountViews: Listings, Accounts          market events --> Markets

Embedded there is one shard. In a cluster each has listings of its own, for an event may name what the other shards have not told of yet;
what is listed is what the first of them says.

Always true: the views are as they were after the last event of each stream that they took; they take each stream densely, from wherever
they stand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from zerosum.core import records
from zerosum.core.codes import ACCOUNT_MAX, FIRST_USER
from zerosum.views.accounts import Account, Accounts, Order
from zerosum.views.events import Event, unpacked
from zerosum.views.listings import Listing, Listings
from zerosum.views.markets import Market, Markets

KIND_MASK: Final = 0xFF
HOME: Final = 0  # the shard that listings come to first


@final
class AccountViews:
    """What one shard's account events show. `sequence`: of the last one taken."""

    __slots__ = ("accounts", "handlers", "listings", "sequence")

    def __init__(self) -> None:
        self.listings = Listings()
        self.accounts = Accounts(self.listings)
        self.sequence = 0
        self.handlers = self.handlers_by_kind()

    def handlers_by_kind(self) -> list[Callable[[Event], None]]:
        accounts, listings = self.accounts, self.listings
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
        handlers[records.WITHDRAWAL_ENDED] = accounts.withdrawal_ended
        handlers[records.ADJUSTED] = accounts.adjusted
        handlers[records.ACCOUNT_CHANGED] = accounts.account_changed
        handlers[records.ASSET_LISTED] = listings.asset_listed
        handlers[records.SYMBOL_LISTED] = listings.symbol_listed
        for kind in (records.TRANSFER_SENT, records.TRANSFER_ARRIVED, records.TRANSFER_RETURNED):
            handlers[kind] = accounts.transfer_passed
        for kind in (
            records.ACCEPTED, records.RESTED, records.REFUSED, records.CANCEL_ADMITTED, records.CANCEL_ALL_ADMITTED,
            records.CANCEL_REJECTED, records.CHECKPOINTED, records.VERSION_SET, records.PASSED_OVER, records.FOREIGN,
        ):  # fmt: skip
            handlers[kind] = nothing
        return handlers

    def apply(self, batch: list[Event]) -> None:
        self.sequence = last_sequence(batch, self.sequence)
        handlers = self.handlers
        for event in batch:
            handlers[event[0] & KIND_MASK](event)


@final
class Views:
    __slots__ = ("handlers", "market_sequences", "markets", "shards")

    def __init__(self, shards: int = 1, partitions: int = 1) -> None:
        self.shards = [AccountViews() for _ in range(shards)]
        self.markets = Markets()
        self.market_sequences = [0] * partitions
        self.handlers = self.handlers_by_kind()

    def handlers_by_kind(self) -> list[Callable[[Event], None]]:
        handlers: list[Callable[[Event], None]] = [unknown] * (KIND_MASK + 1)
        handlers[records.BOOK] = self.markets.book
        handlers[records.TRADE] = self.markets.trade
        handlers[records.MARKET_STATUS] = self.markets.market_status
        for kind in (
            records.MARKET_CHECKPOINTED, records.MARKET_VERSION_SET, records.MARKET_PASSED_OVER, records.MARKET_FOREIGN,
        ):  # fmt: skip
            handlers[kind] = nothing
        return handlers

    def apply(self, account_events: bytes | list[Event], market_events: bytes | list[Event]) -> None:
        """The next events of both streams of an embedded exchange, as bytes or unpacked already."""
        self.apply_account_events(0, unpacked(account_events) if isinstance(account_events, bytes) else account_events)
        self.apply_market_events(0, unpacked(market_events) if isinstance(market_events, bytes) else market_events)

    def apply_account_events(self, shard: int, batch: list[Event]) -> None:
        self.shards[shard].apply(batch)

    def apply_market_events(self, partition: int, batch: list[Event]) -> None:
        self.market_sequences[partition] = last_sequence(batch, self.market_sequences[partition])
        handlers = self.handlers
        for event in batch:
            handlers[event[0] & KIND_MASK](event)

    def forget_settled(self, place: int) -> None:
        """Everything that commands up to this place in the log of an embedded exchange caused can be read from the settled record."""
        self.accounts.forget(place)

    def forget_settled_events(self, shard: int, sequence: int) -> None:
        """A shard's account events up to this one can be read from the settled record."""
        self.shards[shard].accounts.forget_up_to(sequence)

    # ------------------------------------------------------------------ asking

    @property
    def listings(self) -> Listings:
        return self.shards[HOME].listings

    @property
    def accounts(self) -> Accounts:
        """Of the one shard that there is."""
        assert len(self.shards) == 1, "accounts of several shards are asked for by their ids"
        return self.shards[0].accounts

    def listing(self, name: str) -> Listing | None:
        """None also for a symbol that is listed, but whose engine has not told of its market yet."""
        found = self.listings.by_name.get(name)
        return found if found is not None and found.symbol.symbol in self.markets.by_number else None

    def market(self, symbol: int) -> Market:
        return self.markets.by_number[symbol]

    def shard_of(self, account_id: int) -> AccountViews:
        return self.shards[(account_id & ACCOUNT_MAX) % len(self.shards) if account_id >= FIRST_USER else HOME]

    def account(self, account_id: int) -> Account | None:
        return self.shard_of(account_id).accounts.by_id.get(account_id)

    def order(self, account_id: int, order_id: int) -> Order | None:
        """An account's open order, or one that ended and is not settled yet."""
        order = self.shard_of(account_id).accounts.orders.get(order_id)
        if order is None or order.account.account_id != account_id:
            return None
        return order

    def order_by_client(self, account_id: int, client: Event) -> Order | None:
        """The same by the words of its client id: of several, the one admitted last."""
        account = self.account(account_id)
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
