"""
The words that commands, events and both machines share, as small integers. A code never changes its meaning: logs are kept for years.

An order is *rejected* (it was never in), *canceled* (its owner asked) or *expired* (by its own terms, or by self-trade prevention).
"""

from __future__ import annotations

from typing import Final

# Sides.
BUY: Final = 0
SELL: Final = 1

# Order types.
LIMIT: Final = 1
LIMIT_MAKER: Final = 2
MARKET: Final = 3  # by quantity
MARKET_QUOTE: Final = 4  # by quote quantity
FOK_BUDGET: Final = 5  # all of the quantity within a budget (a seller: for at least it), or nothing
TYPE_MAX: Final = 5

# Time in force.
GTC: Final = 0
IOC: Final = 1
FOK: Final = 2
TIF_MAX: Final = 2

# Self-trade prevention: the taker's mode decides.
STP_NONE: Final = 0
EXPIRE_TAKER: Final = 1
EXPIRE_MAKER: Final = 2
EXPIRE_BOTH: Final = 3
DECREMENT: Final = 4
STP_MAX: Final = 4

# How a cancel-replace goes on when its cancel fails.
STOP_ON_FAILURE: Final = 0
ALLOW_FAILURE: Final = 1

# Symbol status.
TRADING: Final = 0
HALT: Final = 1  # nothing new enters and nothing matches; cancels and reductions pass
BREAK: Final = 2  # the same, announced: a planned pause

# Account status.
ACTIVE: Final = 1
SUSPENDED: Final = 2  # cancels only; money may come in, none goes out
CLOSED: Final = 3
HOUSE: Final = 4  # the exchange's own
WALLET: Final = 5  # a funding wallet: its account's status counts

# House accounts; users start at FIRST_USER.
OUTSIDE: Final = 1  # where deposits come from and withdrawals go: negative by what users hold
FEES: Final = 2
CLEARING: Final = 3  # what the two legs of a trade pass through
WITHDRAWALS: Final = 4  # what is on its way out; opened at its first use
FIRST_USER: Final = 16
ACCOUNT_MAX: Final = (1 << 40) - 1
WALLET_BIT: Final = 1 << 40  # an account's funding wallet has its id with this
HOLDER_MAX: Final = (1 << 41) - 1  # an account's or a wallet's

# Bounds. What enters is held to them, so that no product or sum in a machine can leave 63 bits.
AMOUNT_MAX: Final = (1 << 62) - 1  # an asset's supply, an order's notional, a budget: atoms
PRICE_MAX: Final = (1 << 40) - 1  # ticks
DECIMALS_MAX: Final = 18
PPM: Final = 1_000_000
TIME_MAX: Final = (1 << 62) - 1  # microseconds

# Reasons: why a command was refused, or an order ended before it was filled.
NO_REASON: Final = 0
BY_OWNER: Final = 1  # canceled; every other reason of an end is an expiry
UNFILLED: Final = 2  # IOC, FOK or market: what did not trade at once
SELF_TRADE: Final = 3
LEVEL_FULL: Final = 4  # no room left at its price
WALK_TOO_LONG: Final = 5  # all-or-nothing would have to look at more resting orders than one record may
INSUFFICIENT_BALANCE: Final = 10
UNKNOWN_ORDER: Final = 11
WOULD_TAKE: Final = 12
DUPLICATE_CLIENT_ID: Final = 13
AMENDMENT_IN_FLIGHT: Final = 14
DEADLINE_PASSED: Final = 15
TOO_MANY_ORDERS: Final = 16  # of the account on the symbol
TOO_MANY_ACCOUNT_ORDERS: Final = 17
PRICE_FILTER: Final = 18
LOT_SIZE: Final = 19
NOTIONAL: Final = 20
PRICE_BAND: Final = 21
MARKET_CLOSED: Final = 22
BAD_TERMS: Final = 23  # a code that does not exist, or a combination that means nothing
UNKNOWN_SYMBOL: Final = 24
UNKNOWN_ACCOUNT: Final = 25
ACCOUNT_SUSPENDED: Final = 26
ACCOUNT_CLOSED: Final = 27
ACCOUNT_EXISTS: Final = 28
ACCOUNT_NOT_EMPTY: Final = 29
BAD_ACCOUNT: Final = 30  # id, rate or cap out of bounds, or a house account
UNKNOWN_ASSET: Final = 31
BAD_AMOUNT: Final = 32
SUPPLY_EXCEEDED: Final = 33
TRANSFER_REPEATED: Final = 34  # the same id and content: it was done before, and is not done again
TRANSFER_ID_REUSED: Final = 35  # the same id for another content
BAD_LISTING: Final = 36  # see listings.asset_fault and listings.symbol_fault for the numbers
CANCEL_FAILED: Final = 37  # a cancel-replace that stops on failure: its cancel failed, so nothing was placed
BAD_RECORD: Final = 38  # a kind, format or length that this core does not know
QUARANTINED: Final = 39  # an operator had this record passed over
WRONG_SHARD: Final = 40  # for an account of another shard, or for the one that all listings go to first
UNKNOWN_MOVEMENT: Final = 41  # the account has no withdrawal, or no deposit, of that id
MOVEMENT_ENDED: Final = 42  # it has ended, otherwise than is asked for
BAD_REASON: Final = 43  # of an adjustment: one to 16 characters that can be printed
