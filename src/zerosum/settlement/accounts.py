"""
Account events to rows: orders, sides of trades, every leg of money, balances, accounts and listings.

    event --> what it says of the balance --must fit--> what the record has of it, and what the event is about --> rows

    FILL of a taker   pays 500 USDT   receives 1 BTC, less the fee
    FILL of a maker   pays 1 BTC      receives 500 USDT, less the fee     what one pays the other receives (see pairing); fees go to FEES

Always true of what comes out, or SettlementBroken is raised:
  - a balance changes by exactly what its event is about: nothing for an order's freezing and releasing
  - what is frozen for an order is the most that it can still cost, and nothing once it has ended
Legs of CLEARING, which the two sides of a trade and transfers between shards pass through, are not written: they are the others', negated.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NoReturn, Protocol, final

from zerosum.core import codes, records
from zerosum.core.codes import BUY, FEES, OUTSIDE, WITHDRAWALS
from zerosum.settlement import rows as row_types
from zerosum.settlement.batch import ACCOUNT, SEQUENCE, Event
from zerosum.settlement.errors import SettlementBroken
from zerosum.settlement.orders import Order
from zerosum.settlement.pairing import Told
from zerosum.settlement.rows import (
    FEE,
    FILLED,
    LEG_BITS,
    MOVED,
    PAY,
    RECEIVE,
    RETURNED,
    REVERSED,
    SENT,
    SETTLED,
    AccountRow,
    AdjustmentRow,
    ArrivalRow,
    AssetRow,
    BalanceRow,
    CheckpointRow,
    EndRow,
    MovementRow,
    OrderRow,
    Rows,
    SymbolRow,
    TransferRow,
)  # fmt: skip

KIND_MASK: Final = 0xFF
HEAD_MASK: Final = 0xFFFF  # kind and format
FORMAT_SHIFT: Final = 8
ASSET_BITS: Final = 16
ASSET_MASK: Final = 0xFFFF
BALANCES_MAX: Final = 1 << 17  # remembered between batches, to save looking them up

TERMS: Final = 6  # word of an event about an open order

CLIENT: Final = struct.Struct("<5q")


class Past(Protocol):
    """What a record already holds."""

    def symbols(self) -> Iterable[SymbolRow]: ...

    def open_orders(self) -> Iterable[OrderRow]: ...

    def balance(self, account: int, asset: int) -> BalanceRow | None: ...


@final
class Balance:
    __slots__ = ("available", "frozen", "version")

    def __init__(self, available: int, frozen: int, version: int) -> None:
        self.available = available
        self.frozen = frozen
        self.version = version


@final
class AccountTranslator:
    """Between batches it remembers the open orders, the listings and some balances."""

    def __init__(self, past: Past) -> None:
        self.symbols = {row.symbol: row for row in past.symbols()}
        self._past = past
        self._orders = {row.order_id: Order.of(row) for row in past.open_orders()}
        self._balances: dict[int, Balance] = {}  # by account << ASSET_BITS | asset
        self._rows = Rows()
        self._legs: list[Told] = []
        self._touched_orders: dict[int, Order] = {}
        self._touched_balances: dict[int, Balance] = {}
        self._handlers = {kind | records.FORMAT << FORMAT_SHIFT: handler for kind, handler in self._handlers_by_kind()}

    def _handlers_by_kind(self) -> Iterator[tuple[int, Callable[[Event], None]]]:
        yield records.ADMITTED, self._admitted
        yield records.FILL, self._fill
        yield records.DONE, self._ended
        yield records.REJECTED, self._ended
        yield records.REDUCED, self._reduced
        yield records.MOVED, self._moved
        yield records.MOVE_ADMITTED, self._move_admitted
        yield records.MOVE_REJECTED, self._move_rejected
        yield records.TRANSFERRED, self._transferred
        yield records.WITHDRAWAL_ENDED, self._withdrawal_ended
        yield records.ADJUSTED, self._adjusted
        yield records.ACCOUNT_CHANGED, self._account_changed
        yield records.ASSET_LISTED, self._asset_listed
        yield records.SYMBOL_LISTED, self._symbol_listed
        yield records.TRANSFER_SENT, self._transfer_sent
        yield records.TRANSFER_ARRIVED, self._transfer_arrived
        yield records.TRANSFER_RETURNED, self._transfer_returned
        yield records.CHECKPOINTED, self._checkpointed
        # These change neither money nor an order, and leave no row.
        for kind in (
            records.ACCEPTED, records.REFUSED, records.CANCEL_ADMITTED, records.CANCEL_ALL_ADMITTED, records.CANCEL_REJECTED,
            records.RESTED, records.VERSION_SET, records.PASSED_OVER, records.FOREIGN,
        ):  # fmt: skip
            yield kind, self._pass

    def translate(self, events: Iterable[Event], rows: Rows) -> list[Told]:
        """Put what the events change into `rows`, and return the Legs that they tell of. Of no more use after an exception."""
        self._rows = rows
        self._legs = []
        handlers = self._handlers
        for event in events:
            handler = handlers.get(event[0] & HEAD_MASK)
            if handler is None:
                broken(event, f"kind {event[0] & KIND_MASK} of format {event[0] >> FORMAT_SHIFT & KIND_MASK} is not known to this program")
            handler(event)
        self._write_touched(rows)
        return self._legs

    def _write_touched(self, rows: Rows) -> None:
        for order in self._touched_orders.values():
            rows.active_orders.append(order.open_values())
            order.is_stored = True
        self._touched_orders.clear()
        for owner, balance in self._touched_balances.items():
            rows.balances.append((owner >> ASSET_BITS, owner & ASSET_MASK, balance.available, balance.frozen, balance.version))
        self._touched_balances.clear()

    # ------------------------------------------------------------------ what it remembers

    def open_orders(self) -> Iterable[Order]:
        return self._orders.values()

    def balances(self) -> Iterable[tuple[int, Balance]]:
        """By account << ASSET_BITS | asset: those that were asked for."""
        return self._balances.items()

    def moving(self) -> list[tuple[int, int]]:
        """The orders that are being moved up: order id, and the price that is frozen for."""
        return [(order.order_id, order.frozen_ticks) for order in self._orders.values() if order.frozen_ticks != order.price_ticks]

    def set_moving(self, moving: dict[int, int]) -> None:
        for order_id, frozen_ticks in moving.items():
            self._orders[order_id].frozen_ticks = frozen_ticks

    def trim(self) -> None:
        """Forget the balances when they have become many: they can be looked up again. Only once the rows are written."""
        if len(self._balances) > BALANCES_MAX:
            self._balances.clear()

    # ------------------------------------------------------------------ orders

    def _pass(self, event: Event) -> None:
        pass

    def _admitted(self, event: Event) -> None:
        _, _, _, time_us, order_id, account, terms, price_ticks, qty_lots, budget_atoms, available, frozen, *client = event
        client_id = client_text(client) if client[0] else ""
        order = Order(order_id, account, terms, client_id, price_ticks, qty_lots, budget_atoms, time_us)
        if order_id in self._orders or order.symbol not in self.symbols:
            broken(event, f"order {order_id} is open already, or of symbol {order.symbol} that is not listed")
        self._orders[order_id] = order
        self._touched_orders[order_id] = order
        self._freeze(event, order, available, frozen)
        self._check_frozen(event, order)

    def _fill(self, event: Event) -> None:
        (
            _, sequence, cause, time_us, order_id, account, _, is_taker, trade_id, price_ticks, qty_lots, fee_atoms, open_lots,
            paid_available, paid_frozen, got_available, got_frozen, fees_available,
        ) = event  # fmt: skip
        order = self._order(event, order_id, account)
        symbol = order.symbol
        listing = self.symbols[symbol]
        quote_atoms = price_ticks * qty_lots * listing.tick_lot_atoms
        if order.side == BUY:
            pays, gets, paid, received = listing.quote, listing.base, quote_atoms, qty_lots * listing.lot_atoms
        else:
            pays, gets, paid, received = listing.base, listing.quote, qty_lots * listing.lot_atoms, quote_atoms
        if qty_lots < 1 or order.open_lots - qty_lots != open_lots or not 0 <= fee_atoms <= received:
            broken(event, f"order {order_id} had {order.open_lots} lots open, now {open_lots}; it receives {received}, less {fee_atoms}")

        order.frozen_atoms += self._put(event, account, pays, paid_available, paid_frozen, -paid)
        if self._put(event, account, gets, got_available, got_frozen, received - fee_atoms) != 0:
            broken(event, "what a side receives is available, not frozen")
        entry = sequence << LEG_BITS
        before_fee = got_available + fee_atoms
        legs = self._rows.balance_ledger
        legs.append((entry, account, pays, PAY, -paid, paid_available, paid_frozen, cause, symbol, trade_id, time_us))
        legs.append((entry | 1, account, gets, RECEIVE, received, before_fee, got_frozen, cause, symbol, trade_id, time_us))
        if fee_atoms:
            self._put(event, FEES, gets, fees_available, 0, fee_atoms)
            legs.append((entry | 2, account, gets, FEE, -fee_atoms, got_available, got_frozen, cause, symbol, trade_id, time_us))
            legs.append((entry | 3, FEES, gets, FEE, fee_atoms, fees_available, 0, cause, symbol, trade_id, time_us))
        self._rows.user_trades.append(
            (account, symbol, trade_id, order.side, order_id, is_taker, price_ticks, qty_lots, quote_atoms, fee_atoms, gets, time_us)
        )

        order.fill(trade_id, qty_lots, quote_atoms, time_us)
        if open_lots == 0:
            self._close(event, order, FILLED, codes.NO_REASON)
        else:
            self._check_frozen(event, order)
            self._touched_orders[order_id] = order
        self._legs.append((symbol, trade_id, price_ticks, qty_lots, order.side, is_taker, order_id, account))

    def _ended(self, event: Event) -> None:
        head, _, _, time_us, order_id, account, _, reason, open_lots, available, frozen = event
        order = self._order(event, order_id, account)
        if open_lots != order.open_lots:
            broken(event, f"order {order_id} has {order.open_lots} lots open, not {open_lots}")
        self._freeze(event, order, available, frozen)
        self._close(event, order, order.end(head & KIND_MASK, reason, time_us), reason)

    def _reduced(self, event: Event) -> None:
        _, _, _, time_us, order_id, account, _, reason, open_lots, available, frozen = event
        order = self._order(event, order_id, account)
        if not 0 < open_lots < order.open_lots:
            broken(event, f"order {order_id} has {order.open_lots} lots open, and can't be reduced to {open_lots}")
        self._freeze(event, order, available, frozen)
        order.reduce(open_lots, reason, time_us)
        self._check_frozen(event, order)

    def _moved(self, event: Event) -> None:
        _, _, _, time_us, order_id, account, _, price_ticks, _, available, frozen = event
        order = self._order(event, order_id, account)
        self._freeze(event, order, available, frozen)
        order.move(price_ticks, time_us)
        self._check_frozen(event, order)

    def _move_admitted(self, event: Event) -> None:
        """It is to be moved to a dearer price, which is frozen for from now on."""
        _, _, _, _, order_id, account, _, price_ticks, _, available, frozen = event
        order = self._order(event, order_id, account)
        self._freeze(event, order, available, frozen)
        order.frozen_ticks = price_ticks
        self._check_frozen(event, order)

    def _move_rejected(self, event: Event) -> None:
        _, _, _, _, order_id, account, _, _, _, available, frozen = event
        order = self._order(event, order_id, account)
        self._freeze(event, order, available, frozen)
        order.frozen_ticks = order.price_ticks
        self._check_frozen(event, order)

    def _order(self, event: Event, order_id: int, account: int) -> Order:
        order = self._orders.get(order_id)
        if order is None or order.account != account or order.terms != event[TERMS]:
            broken(event, f"account {account} has no open order {order_id} with these terms")
        return order

    def _freeze(self, event: Event, order: Order, available: int, frozen: int) -> None:
        """An order's change that moves no money out of its account: between available and frozen only."""
        listing = self.symbols[order.symbol]
        pays = listing.quote if order.side == BUY else listing.base
        order.frozen_atoms += self._put(event, order.account, pays, available, frozen, 0)
        self._touched_orders[order.order_id] = order

    def _check_frozen(self, event: Event, order: Order) -> None:
        listing = self.symbols[order.symbol]
        cost = order.cost(listing.lot_atoms, listing.tick_lot_atoms)
        if order.frozen_atoms != cost:
            broken(event, f"{order.frozen_atoms} atoms are frozen for order {order.order_id}, which can still cost {cost}")

    def _close(self, event: Event, order: Order, status: str, reason: int) -> None:
        if order.frozen_atoms != 0:
            broken(event, f"order {order.order_id} has ended, and {order.frozen_atoms} atoms are still frozen for it")
        del self._orders[order.order_id]
        self._touched_orders.pop(order.order_id, None)
        if order.is_stored:
            self._rows.ended_orders.append((order.account, order.symbol, order.order_id))
        self._rows.orders.append(order.values(status, reason))

    # ------------------------------------------------------------------ money

    def _put(self, event: Event, account: int, asset: int, available: int, frozen: int, delta: int) -> int:
        """Take over a balance that has changed by `delta` in all, and return by how much its frozen part has changed."""
        owner = account << ASSET_BITS | asset
        balance = self._balances.get(owner)
        if balance is None:
            balance = self._recall(owner)
        before = balance.frozen
        if available + frozen != balance.available + before + delta:
            broken(
                event,
                f"the balance of account {account} in asset {asset} was {balance.available} + {before} and changes by {delta},"
                f" which does not make {available} + {frozen}",
            )
        if frozen < 0 or (available < 0 and account != OUTSIDE):
            broken(event, f"the balance of account {account} in asset {asset} would be negative: {available} + {frozen}")
        balance.available = available
        balance.frozen = frozen
        balance.version += 1
        self._touched_balances[owner] = balance
        return frozen - before

    def _recall(self, owner: int) -> Balance:
        row = self._past.balance(owner >> ASSET_BITS, owner & ASSET_MASK)
        balance = Balance(0, 0, 0) if row is None else Balance(row.available_atoms, row.frozen_atoms, row.version)
        self._balances[owner] = balance
        return balance

    def _transferred(self, event: Event) -> None:
        _, _, cause, time_us, transfer_id, command, asset, atoms, source, source_available, target, target_available = event
        if command == records.DEPOSIT and source == OUTSIDE:
            kind = row_types.DEPOSIT
            self._rows.deposits.append(MovementRow(target, transfer_id, asset, atoms, time_us, cause))
        elif command == records.WITHDRAW and target == OUTSIDE:
            kind = row_types.WITHDRAWAL
            self._rows.withdrawals.append(MovementRow(source, transfer_id, asset, atoms, time_us, cause))
        elif command == records.REQUEST_WITHDRAWAL and target == WITHDRAWALS:
            kind = row_types.WITHDRAWAL_REQUESTED
            self._rows.withdrawal_requests.append(MovementRow(source, transfer_id, asset, atoms, time_us, cause))
        elif command == records.REVERSE_DEPOSIT and target == OUTSIDE:
            kind = row_types.DEPOSIT_REVERSED
            self._rows.movement_ends.append(EndRow(source, transfer_id, REVERSED, asset, atoms, time_us, cause))
        elif command == records.TRANSFER and not {source, target} & {OUTSIDE, WITHDRAWALS}:
            kind = row_types.TRANSFER
            self._rows.transfers.append(TransferRow(transfer_id, source, target, asset, atoms, time_us, cause, MOVED))
        else:
            broken(event, f"no command {command} moves money from account {source} to {target}")
        self._legs_of_movement(event, kind, transfer_id, asset, atoms, (source, source_available), (target, target_available))

    def _legs_of_movement(
        self, event: Event, kind: int, transfer_id: int, asset: int, atoms: int, source: tuple[int, int], target: tuple[int, int]
    ) -> None:  # fmt: skip
        """Out of one account and into another, each with what it then has available."""
        if atoms < 1 or source[0] == target[0]:
            broken(event, f"transfer {transfer_id} moves {atoms} atoms from account {source[0]} to {target[0]}")
        entry = event[SEQUENCE] << LEG_BITS
        for leg, ((account, available), delta) in enumerate(((source, -atoms), (target, atoms))):
            frozen = self._frozen(account, asset)
            self._put(event, account, asset, available, frozen, delta)
            self._rows.balance_ledger.append(
                (entry | leg, account, asset, kind, delta, available, frozen, event[2], None, transfer_id, event[3])
            )

    def _withdrawal_ended(self, event: Event) -> None:
        """Settled: out of the exchange. Returned: to its account."""
        _, _, cause, time_us, transfer_id, command, asset, atoms, account, pending, to, to_available = event
        if command == records.SETTLE_WITHDRAWAL and to == OUTSIDE:
            kind, state = row_types.WITHDRAWAL_SETTLED, SETTLED
        elif command == records.RETURN_WITHDRAWAL and to == account:
            kind, state = row_types.WITHDRAWAL_RETURNED, RETURNED
        else:
            broken(event, f"no command {command} ends the withdrawal {transfer_id} of account {account} with money for {to}")
        self._rows.movement_ends.append(EndRow(account, transfer_id, state, asset, atoms, time_us, cause))
        self._legs_of_movement(event, kind, transfer_id, asset, atoms, (WITHDRAWALS, pending), (to, to_available))

    def _adjusted(self, event: Event) -> None:
        _, _, cause, time_us, transfer_id, asset, atoms, source, source_available, target, target_available, *words = event
        reason = records.words_text(tuple(words))
        self._rows.adjustments.append(AdjustmentRow(source, transfer_id, target, asset, atoms, reason, time_us, cause))
        legs = (source, source_available), (target, target_available)
        self._legs_of_movement(event, row_types.ADJUSTMENT, transfer_id, asset, atoms, *legs)

    def _transfer_sent(self, event: Event) -> None:
        """Out of the account here and on its way to another shard."""
        _, _, cause, time_us, transfer_id, asset, atoms, account, available, to_account = event
        self._leg_of_transfer(event, account, asset, -atoms, available)
        self._rows.transfers.append(TransferRow(transfer_id, account, to_account, asset, atoms, time_us, cause, SENT))

    def _transfer_arrived(self, event: Event) -> None:
        _, _, cause, time_us, transfer_id, asset, atoms, account, available, from_account = event
        self._leg_of_transfer(event, account, asset, atoms, available)
        self._rows.arrivals.append(ArrivalRow(account, from_account, transfer_id, asset, atoms, time_us, cause))

    def _transfer_returned(self, event: Event) -> None:
        _, _, cause, time_us, transfer_id, asset, atoms, account, available, to_account, _ = event
        self._leg_of_transfer(event, account, asset, atoms, available)
        self._rows.transfers.append(TransferRow(transfer_id, account, to_account, asset, atoms, time_us, cause, RETURNED))

    def _leg_of_transfer(self, event: Event, account: int, asset: int, delta: int, available: int) -> None:
        frozen = self._frozen(account, asset)
        self._put(event, account, asset, available, frozen, delta)
        entry = event[SEQUENCE] << LEG_BITS
        leg = (entry, account, asset, row_types.TRANSFER, delta, available, frozen, event[2], None, event[4], event[3])
        self._rows.balance_ledger.append(leg)

    def _frozen(self, account: int, asset: int) -> int:
        """What a movement leaves frozen: it is of available money only."""
        owner = account << ASSET_BITS | asset
        return (self._balances.get(owner) or self._recall(owner)).frozen

    # ------------------------------------------------------------------ the rest

    def _account_changed(self, event: Event) -> None:
        _, _, _, time_us, account, status, maker_ppm, taker_ppm, orders_max = event
        self._rows.accounts.append(AccountRow(account, status, maker_ppm, taker_ppm, orders_max, time_us, time_us))

    def _asset_listed(self, event: Event) -> None:
        _, _, _, time_us, asset, decimals, *name = event
        self._rows.assets.append(AssetRow(asset, records.words_text(tuple(name)), decimals, time_us))

    def _symbol_listed(self, event: Event) -> None:
        """A listing again changes only rules; status and price stay as they were first listed. Those of now are the market's."""
        said = records.named(event)
        name = records.words_text((said["name_1"], said["name_2"], said["name_3"]))
        listed = self.symbols.get(said["symbol"])
        if listed is not None:
            said |= {"status": listed.status, "reference_ticks": listed.reference_ticks, "time_us": listed.listed_us}
        fields = {field: said[field] for field in SymbolRow._fields if field in said}
        row = SymbolRow(name=name, listed_us=said["time_us"], **fields)
        self.symbols[row.symbol] = row
        self._rows.symbols.append(row)

    def _checkpointed(self, event: Event) -> None:
        _, _, cause, time_us, *state_hash = event
        self._rows.checkpoints.append(CheckpointRow(cause, struct.pack("<4q", *state_hash), time_us))


def client_text(words: list[int]) -> str:
    """A client order id. The gateway lets only ASCII in; should the log have other bytes, each stays a character of its own."""
    return CLIENT.pack(*words).rstrip(b"\0").decode("latin-1")


def broken(event: Event, why: str) -> NoReturn:
    raise SettlementBroken(ACCOUNT, event[SEQUENCE], f"{records.kind_name(event[0] & KIND_MASK)}: {why}")
