"""
What a row of each table holds, in the order of its columns, and the rows that a batch makes.

    assets  symbols  accounts                      as they are now
    orders                                         each order that has ended, in its last state
    active_orders                                  each order that is open, in its state now: an order is in one of the two
    trades                                         one per trade
    user_trades                                    one per side of a trade
    balance_ledger                                 one per leg of a movement of money, with the balance after it
    balances                                       as they are now, the house's too
    klines                                         candles of a minute, an hour and a day
    markets                                        the status of each symbol, as its engine last told
    deposits  withdrawals  checkpoints             a withdrawal that was requested first is in withdrawal_requests
    withdrawal_requests  movement_ends             what became of a request: SETTLED or RETURNED; of a deposit: REVERSED
    adjustments                                    an operator's entries
    transfers  arrivals                            by who sends, and, where that is on another shard, by who receives

Always true: every row is absolute, never an increment, and has one key, so that writing it twice changes nothing. Amounts are atoms, ticks
and lots as in docs/reference/semantics.md; times are microseconds since 1970. Only sums over many trades (a kline's) can pass 63 bits, and
are text in the tables.
"""

from __future__ import annotations

from typing import Final, NamedTuple, final

# Status of an order.
NEW: Final = "NEW"
PARTIALLY_FILLED: Final = "PARTIALLY_FILLED"
FILLED: Final = "FILLED"
CANCELED: Final = "CANCELED"
EXPIRED: Final = "EXPIRED"
EXPIRED_IN_MATCH: Final = "EXPIRED_IN_MATCH"  # by self-trade prevention
REJECTED: Final = "REJECTED"

# Kinds of legs. Their names are in the table ledger_kinds.
PAY: Final = 1
RECEIVE: Final = 2
FEE: Final = 3
DEPOSIT: Final = 4
WITHDRAWAL: Final = 5
TRANSFER: Final = 6
WITHDRAWAL_REQUESTED: Final = 7
WITHDRAWAL_SETTLED: Final = 8
WITHDRAWAL_RETURNED: Final = 9
DEPOSIT_REVERSED: Final = 10
ADJUSTMENT: Final = 11
KINDS: Final = {
    PAY: "PAY", RECEIVE: "RECEIVE", FEE: "FEE", DEPOSIT: "DEPOSIT", WITHDRAWAL: "WITHDRAWAL", TRANSFER: "TRANSFER",
    WITHDRAWAL_REQUESTED: "WITHDRAWAL_REQUESTED", WITHDRAWAL_SETTLED: "WITHDRAWAL_SETTLED", WITHDRAWAL_RETURNED: "WITHDRAWAL_RETURNED",
    DEPOSIT_REVERSED: "DEPOSIT_REVERSED", ADJUSTMENT: "ADJUSTMENT",
}  # fmt: skip

# What becomes of a withdrawal that was requested, or of a deposit.
SETTLED: Final = "SETTLED"
REVERSED: Final = "REVERSED"

# Status of a transfer.
MOVED: Final = "MOVED"
SENT: Final = "SENT"
RETURNED: Final = "RETURNED"

LEG_BITS: Final = 3  # of a ledger entry's id: which leg of its event


class AssetRow(NamedTuple):
    asset: int
    name: str
    decimals: int
    listed_us: int


class SymbolRow(NamedTuple):
    symbol: int
    name: str
    base: int
    quote: int
    tick: int
    tick_decimals: int
    lot: int
    lot_decimals: int
    lot_atoms: int
    tick_lot_atoms: int
    min_price_ticks: int
    max_price_ticks: int
    min_qty_lots: int
    max_qty_lots: int
    min_notional_atoms: int
    max_notional_atoms: int
    band_down_ppm: int
    band_up_ppm: int
    orders_max: int
    level_orders_max: int
    status: int  # this and the next as the symbol was first listed; see MarketRow
    reference_ticks: int
    listed_us: int


class MarketRow(NamedTuple):
    """`tick_lot_atoms` as in the listing, so that whoever settles the market needs nothing else."""

    symbol: int
    status: int
    reference_ticks: int  # as it was when the status last changed
    tick_lot_atoms: int
    changed_us: int


class AccountRow(NamedTuple):
    account: int
    status: int
    maker_ppm: int
    taker_ppm: int
    orders_max: int
    opened_us: int
    changed_us: int


class OrderRow(NamedTuple):
    account: int
    symbol: int
    order_id: int
    client_id: str  # empty: it has none
    side: int
    type: int
    tif: int
    stp: int
    price_ticks: int  # 0: it has none. As it is after the last move
    qty_lots: int  # as placed, less what its owner took off by REDUCE
    executed_lots: int
    prevented_lots: int  # lost to self-trade prevention
    quote_atoms: int  # of all its trades
    budget_atoms: int
    frozen_atoms: int  # 0 once it has ended
    status: str
    reason: int  # why it was rejected or ended; 0 while it is open, and for FILLED
    first_trade_id: int  # of its trades; 0: it has none
    last_trade_id: int
    created_us: int
    updated_us: int


class TradeRow(NamedTuple):
    symbol: int
    trade_id: int
    price_ticks: int
    qty_lots: int
    quote_atoms: int
    taker_order_id: int
    maker_order_id: int
    buyer_account: int
    seller_account: int
    taker_is_buyer: int
    time_us: int
    sequence: int  # of the market event


class UserTradeRow(NamedTuple):
    account: int
    symbol: int
    trade_id: int
    side: int
    order_id: int
    is_taker: int
    price_ticks: int
    qty_lots: int
    quote_atoms: int
    fee_atoms: int
    fee_asset: int
    time_us: int


class LedgerRow(NamedTuple):
    entry: int  # the account event's sequence << LEG_BITS | leg
    account: int
    asset: int
    kind: int
    delta_atoms: int
    available_atoms: int  # after it
    frozen_atoms: int  # after it
    cause: int  # the place in the log of the command
    symbol: int | None  # of a trade; None for money that came, went or was passed on
    reference: int  # trade id, or transfer id
    time_us: int


class BalanceRow(NamedTuple):
    account: int
    asset: int
    available_atoms: int
    frozen_atoms: int
    version: int  # how many events have stated this balance


class KlineRow(NamedTuple):
    symbol: int
    interval_us: int
    open_us: int
    open_ticks: int
    high_ticks: int
    low_ticks: int
    close_ticks: int
    volume_lots: str  # of a sum without bound, like the next and the last two
    quote_atoms: str
    trades: int
    taker_buy_lots: str
    taker_buy_quote_atoms: str


class MovementRow(NamedTuple):
    """A deposit or a withdrawal."""

    account: int
    transfer_id: int
    asset: int
    atoms: int
    time_us: int
    cause: int


class EndRow(NamedTuple):
    """`state`: SETTLED, RETURNED or REVERSED."""

    account: int
    transfer_id: int
    state: str
    asset: int
    atoms: int
    time_us: int
    cause: int


class AdjustmentRow(NamedTuple):
    account: int
    transfer_id: int
    to_account: int
    asset: int
    atoms: int
    reason: str
    time_us: int
    cause: int


class TransferRow(NamedTuple):
    """`status`: MOVED within a shard; SENT to another one; RETURNED from there, and then the id may be used again."""

    transfer_id: int
    from_account: int
    to_account: int
    asset: int
    atoms: int
    time_us: int
    cause: int
    status: str


class ArrivalRow(NamedTuple):
    """A transfer from another shard."""

    to_account: int
    from_account: int
    transfer_id: int
    asset: int
    atoms: int
    time_us: int
    cause: int


class CheckpointRow(NamedTuple):
    sequence: int  # of the command
    state_hash: bytes
    time_us: int


Values = tuple[int | str | None, ...]
"""A row as a plain tuple, its values in the order of the row's fields: half the cost to make, and the garbage collector lets go of it."""


@final
class Rows:
    """What a batch changes, table by table. `ended_orders`: keys to delete from active_orders. Where rows are many they are Values."""

    __slots__ = (
        "accounts", "active_orders", "adjustments", "arrivals", "assets", "balance_ledger", "balances", "checkpoints", "deposits",
        "ended_orders", "klines", "markets", "movement_ends", "orders", "symbols", "trades", "transfers", "user_trades",
        "withdrawal_requests", "withdrawals",
    )  # fmt: skip

    def __init__(self) -> None:
        self.assets: list[AssetRow] = []
        self.symbols: list[SymbolRow] = []
        self.markets: list[MarketRow] = []
        self.accounts: list[AccountRow] = []
        self.ended_orders: list[Values] = []
        self.active_orders: list[Values] = []
        self.orders: list[Values] = []
        self.trades: list[Values] = []
        self.user_trades: list[Values] = []
        self.balance_ledger: list[Values] = []
        self.balances: list[Values] = []
        self.klines: list[KlineRow] = []
        self.deposits: list[MovementRow] = []
        self.withdrawals: list[MovementRow] = []
        self.withdrawal_requests: list[MovementRow] = []
        self.movement_ends: list[EndRow] = []
        self.adjustments: list[AdjustmentRow] = []
        self.transfers: list[TransferRow] = []
        self.arrivals: list[ArrivalRow] = []
        self.checkpoints: list[CheckpointRow] = []
