"""
Conservation at a cut: the books of all shards, wherever their streams of events are read up to, together with what is on its way.

    shard 0   users + OUTSIDE + FEES ---+
    shard 1   users + OUTSIDE + FEES ---+--> sum        = 0 for every asset
    on the way: a trade's other leg, a transfer that has not arrived ---+

Any vector of positions will do: a shard's balances are those after its last event read, and of each trade and transfer it is known which of
its legs are among them. Amounts are taken from two places that have nothing in common: what events say a balance is, and what a trade's
price and lots, or a transfer's atoms, come to.

CLEARING appears in no event: in each shard it is the others' sum, negated. WITHDRAWALS has, in each shard, what was asked for there and has
not ended: each end is of one that was asked for, of as much, and once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final, final

from zerosum.core import records
from zerosum.core.codes import BUY, FEES, OUTSIDE, WITHDRAWALS
from zerosum.settlement.batch import Event
from zerosum.settlement.pairing import MAKER, TAKER, Leg, Pairing

KIND_MASK: Final = 0xFF
NOTHING: Final = (0, 0)
SYMBOL_SHIFT: Final = 32


@final
class Cut:
    """Fed with the events of all streams, each in order and without repeats. SettlementBroken where the legs of a trade contradict."""

    def __init__(self) -> None:
        self.pairing = Pairing()
        self._balances: dict[tuple[int, int, int], tuple[int, int]] = {}  # shard, account, asset: available, frozen
        self._misstated: list[str] = []
        self._sums: defaultdict[int, int] = defaultdict(int)  # by asset
        self._transfers: defaultdict[tuple[int, int, int, int], int] = defaultdict(int)  # payer, receiver, id, asset: atoms on the way
        self._pending: dict[tuple[int, int, int], tuple[int, int]] = {}  # shard, account, id of a withdrawal: asset, atoms
        self._assets_of: dict[int, tuple[int, int, int, int]] = {}  # symbol: base, quote, lot_atoms, tick_lot_atoms
        self._holds: dict[int, int] = {}  # open orders: lots, as their shard has it
        self._books: dict[int, int] = {}  # resting orders: lots, as their engine has it

    # ------------------------------------------------------------------ account events

    def account_events(self, shard: int, events: Iterable[Event]) -> None:
        for event in events:
            kind = event[0] & KIND_MASK
            if kind == records.ADMITTED:
                self._holds[event[4]] = event[8]
                self._order_balance(shard, event[5], event[6], event[10], event[11])
            elif kind == records.FILL:
                self._fill(shard, event)
            elif kind in (records.DONE, records.REJECTED):
                del self._holds[event[4]]
                self._order_balance(shard, event[5], event[6], event[9], event[10])
            elif kind in (records.REDUCED, records.MOVED, records.MOVE_ADMITTED, records.MOVE_REJECTED):
                self._holds[event[4]] = event[8]
                self._order_balance(shard, event[5], event[6], event[9], event[10])
            elif kind == records.TRANSFERRED:
                self._change(shard, event[8], event[6], -event[7], event[9])
                self._change(shard, event[10], event[6], event[7], event[11])
                if event[5] == records.REQUEST_WITHDRAWAL:
                    self._pending[shard, event[8], event[4]] = event[6], event[7]
            elif kind == records.WITHDRAWAL_ENDED:
                self._end_withdrawal(shard, event)
                self._change(shard, WITHDRAWALS, event[6], -event[7], event[9])
                self._change(shard, event[10], event[6], event[7], event[11])
            elif kind == records.ADJUSTED:
                self._change(shard, event[7], event[5], -event[6], event[8])
                self._change(shard, event[9], event[5], event[6], event[10])
            elif kind in (records.TRANSFER_SENT, records.TRANSFER_ARRIVED, records.TRANSFER_RETURNED):
                self._transfer(shard, event, kind)
            elif kind == records.SYMBOL_LISTED:
                self._assets_of[event[4]] = (event[5], event[6], event[-2], event[-1])

    def _end_withdrawal(self, shard: int, event: Event) -> None:
        _, _, _, _, transfer_id, _, asset, atoms, account, *_ = event
        asked_for = self._pending.pop((shard, account, transfer_id), None)
        if asked_for != (asset, atoms):
            self._misstated.append(
                f"shard {shard}: withdrawal {transfer_id} of account {account} ends with {atoms} atoms of asset {asset}, and"
                + (f" {asked_for[1]} of asset {asked_for[0]} were asked for" if asked_for is not None else " none was pending")
            )

    def _order_balance(self, shard: int, account: int, terms: int, available: int, frozen: int) -> None:
        """What freezing and releasing leave as it was."""
        base, quote, _, _ = self._assets_of[terms >> SYMBOL_SHIFT]
        self._put(shard, account, quote if terms & KIND_MASK == BUY else base, available, frozen)

    def _fill(self, shard: int, event: Event) -> None:
        (
            _, _, _, _, order_id, account, terms, is_taker, trade_id, price_ticks, qty_lots, _, open_lots,
            paid_available, paid_frozen, got_available, got_frozen, fees_available,
        ) = event  # fmt: skip
        symbol, side = terms >> SYMBOL_SHIFT, terms & KIND_MASK
        base, quote, _, _ = self._assets_of[symbol]
        pays, gets = (quote, base) if side == BUY else (base, quote)
        self._put(shard, account, pays, paid_available, paid_frozen)
        self._put(shard, account, gets, got_available, got_frozen)
        self._put(shard, FEES, gets, fees_available, 0)
        if open_lots:
            self._holds[order_id] = open_lots
        else:
            del self._holds[order_id]
        self.pairing.add([Leg(symbol, trade_id, price_ticks, qty_lots, side, is_taker, order_id, account)], ())

    def _transfer(self, shard: int, event: Event, kind: int) -> None:
        """SENT and RETURNED name the sender as account; ARRIVED names the sender last. A transfer may arrive before it is seen sent."""
        _, _, _, _, transfer_id, asset, atoms, account, available, other, *_ = event
        delta = -atoms if kind == records.TRANSFER_SENT else atoms
        self._change(shard, account, asset, delta, available)
        payer, receiver = (account, other) if kind != records.TRANSFER_ARRIVED else (other, account)
        key = payer, receiver, transfer_id, asset  # each shard has a FEES: two may pay under one id
        self._transfers[key] -= delta
        if not self._transfers[key]:
            del self._transfers[key]

    def _put(self, shard: int, account: int, asset: int, available: int, frozen: int) -> None:
        key = shard, account, asset
        before = self._balances.get(key, NOTHING)
        self._sums[asset] += available + frozen - sum(before)
        self._balances[key] = available, frozen

    def _change(self, shard: int, account: int, asset: int, delta: int, available: int) -> None:
        """A movement of so much, after which the event states what is available."""
        before, frozen = self._balances.get((shard, account, asset), NOTHING)
        if before + delta != available:
            self._misstated.append(
                f"shard {shard}: account {account} had {before} atoms of asset {asset} available, is moved {delta}, and is told to have"
                f" {available}"
            )
        self._put(shard, account, asset, available, frozen)

    # ------------------------------------------------------------------ market events

    def market_events(self, events: Iterable[Event]) -> None:
        for event in events:
            kind = event[0] & KIND_MASK
            if kind == records.BOOK:
                self._rest(event[4], event[7])
            elif kind == records.TRADE:
                _, _, _, _, trade_id, symbol_side, price, lots, taker, maker, taker_account, maker_account, maker_open, _ = event
                self._rest(maker, maker_open)
                trade = (symbol_side >> 1, trade_id, price, lots, symbol_side & 1, taker, maker, taker_account, maker_account)
                self.pairing.add((), [trade])

    def _rest(self, order_id: int, open_lots: int) -> None:
        if open_lots:
            self._books[order_id] = open_lots
        else:
            self._books.pop(order_id, None)

    # ------------------------------------------------------------------ findings

    def findings(self) -> Iterator[str]:
        """What does not add up, now."""
        yield from self._misstated
        on_the_way = self._on_the_way()
        for asset, atoms in self._sums.items():
            if atoms + on_the_way[asset] != 0:
                yield f"asset {asset}: all shards hold {atoms} atoms, and {on_the_way[asset]} are on their way: together not zero"
        pending: defaultdict[tuple[int, int], int] = defaultdict(int)
        for (shard, _, _), (asset, atoms) in self._pending.items():
            pending[shard, asset] += atoms
        for (shard, account, asset), (available, frozen) in self._balances.items():
            if account == WITHDRAWALS and available != pending[shard, asset]:
                yield f"shard {shard}: {available} atoms of asset {asset} are on their way out, and {pending[shard, asset]} were asked for"
            if min(available, frozen) < 0 and account != OUTSIDE:
                yield f"shard {shard}: account {account} has {available} atoms of asset {asset} available, and {frozen} frozen"

    def _on_the_way(self) -> defaultdict[int, int]:
        """By asset: what the legs that have not come will change."""
        found: defaultdict[int, int] = defaultdict(int)
        for (_, _, _, asset), atoms in self._transfers.items():
            found[asset] += atoms
        for (symbol, _), parts in self.pairing.open.items():
            taker, maker = parts[TAKER], parts[MAKER]
            if (taker is None) != (maker is None):
                leg = taker if taker is not None else maker
                assert leg is not None, "one of them is there"
                base, quote, lot_atoms, tick_lot_atoms = self._assets_of[symbol]
                sign = 1 if leg[4] == BUY else -1  # what is missing is the other side
                found[base] -= sign * leg[3] * lot_atoms
                found[quote] += sign * leg[2] * leg[3] * tick_lot_atoms
        return found

    def findings_at_rest(self) -> Iterator[str]:
        """What does not add up once every stream is read to its end and nothing is under way."""
        yield from self.findings()
        for (symbol, trade_id), parts in self.pairing.open.items():
            yield f"trade {trade_id} of symbol {symbol} is told of only by part: {parts}"
        for (payer, receiver, transfer_id, asset), atoms in self._transfers.items():
            yield f"transfer {transfer_id} of {atoms} atoms of asset {asset} from {payer} to {receiver} has not arrived"
        for order_id in self._holds.keys() | self._books.keys():
            held, resting = self._holds.get(order_id), self._books.get(order_id)
            if held != resting:
                yield f"order {order_id} has {held} lots open in its shard, and {resting} in its book"
