"""
What the machines say to each other. Embedded, each is called directly; in a cluster an encoder stands here (`links`) and a decoder over
there (`ubscore_role`, `matching_role`) makes the same calls, so there is one admission and one settlement code.

    UBSCore --- Orders ---> matching engine            UBSCore <--- Outcomes --- matching engine            UBSCore --- Peers ---> UBSCore

`hold` is the handle that UBSCore sent with an order, echoed; `order` the engine's own, which UBSCore sends back with a cancel, a move or a
reduction. Handles are hints: whoever receives one compares the id found there, and looks the id up on a mismatch. `request` is the place of
the command that asks, echoed in the answer; 0: nobody asked. `revision` numbers the changes of the listings, the same on every shard.
"""

from __future__ import annotations

from mypy_extensions import i64


class Orders:
    """What UBSCore tells a matching engine. Every order here is funded."""

    def list_symbol(
        self, revision: i64, symbol: i64, ticks: i64, tick_lot_atoms: i64, min_notional_atoms: i64, band_down_ppm: i64, band_up_ppm: i64,
        reference_ticks: i64, level_orders_max: i64, status: i64,
    ) -> None: ...  # fmt: skip

    def set_status(self, revision: i64, symbol: i64, status: i64) -> None: ...

    def place(
        self, order_id: i64, hold: i64, account_id: i64, terms: i64, price_ticks: i64, qty_lots: i64, budget: i64
    ) -> None: ...  # budget: in ticks x lots, for the types that have one

    def cancel(self, symbol: i64, order_id: i64, order: i64, request: i64) -> None: ...

    def reduce(self, symbol: i64, order_id: i64, order: i64, by_lots: i64, request: i64) -> None: ...

    def move(self, symbol: i64, order_id: i64, order: i64, hold: i64, price_ticks: i64, stp: i64) -> None: ...


class Outcomes:
    """What a matching engine tells UBSCore, in order. An order that fills completely ends with its last fill; every other with done or
    rejected."""

    def accepted(self, hold: i64, order_id: i64, order: i64) -> None: ...

    def fill(self, hold: i64, order_id: i64, is_taker: i64, trade_id: i64, price_ticks: i64, qty_lots: i64) -> None: ...

    def reduced(self, hold: i64, order_id: i64, by_lots: i64, reason: i64) -> None: ...

    def moved(self, hold: i64, order_id: i64) -> None: ...

    def move_rejected(self, hold: i64, order_id: i64, reason: i64) -> None: ...

    def done(self, hold: i64, order_id: i64, reason: i64, request: i64) -> None: ...

    def rejected(self, hold: i64, order_id: i64, reason: i64) -> None: ...

    def cancel_rejected(self, order_id: i64, reason: i64, request: i64) -> None: ...


class Peers:
    """What one UBSCore tells another: money for an account over there. Embedded there is no other, and nobody to tell."""

    def credit(self, transfer_id: i64, asset: i64, atoms: i64, from_account: i64, to_account: i64) -> None:
        """Debited here already: it is in clearing, and on its way."""

    def give_back(self, shard: i64, transfer_id: i64, asset: i64, atoms: i64, from_account: i64, to_account: i64, reason: i64) -> None:
        """What came from a shard can't be credited here, and goes back to `from_account` there."""
