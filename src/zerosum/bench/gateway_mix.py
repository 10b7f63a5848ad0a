"""
What the gateway's benchmark asks for: an endless mix of requests from a seed, the same on every machine.

    place    a limit order away from the market, which rests               35 %
    cancel   of the oldest of these, once RESTING of them are there        35 %
    match    two limit orders of two users that trade with each other      20 %
    market   a market order, which takes a little of what rests             5 %
    reject   an order that its user can't pay                               5 %

A request knows nothing of the answers to earlier ones, so that it can be made before they are there. The hash is of the first HASHED
requests: two runs with the same hash asked for the same.
"""

from __future__ import annotations

import hashlib
import random
from collections import deque
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final, NamedTuple

from zerosum.core.codes import FIRST_USER
from zerosum.services.amounts import decimal_text

SEED: Final = 1
USERS: Final = 200
FIRST_ACCOUNT: Final = FIRST_USER
POOR: Final = USERS  # the last user, who owns nothing
RESTING: Final = 2_000
HASHED: Final = 100_000
SHA256: Final = "68c64fa0464d8e93251fb8ec123b531ed2de92e19aa07c9142cbccf77e9200e4"

WEIGHTS: Final = {"place": 35, "cancel": 35, "match": 10, "market": 5, "reject": 5}  # a match is two requests

SYMBOLS: Final = (("BTCUSDT", 6_000_000, 5), ("ETHUSDT", 300_000, 4), ("SOLUSDT", 15_000, 3))  # name, reference in ticks, decimals of a lot
TICK_DECIMALS: Final = 2
SPREAD_TICKS: Final = 50  # from the reference to the nearest resting order
LISTING: Final[dict[str, Any]] = {
    "assets": [{"name": name, "decimals": 8} for name in ("USDT", "BTC", "ETH", "SOL")],
    "symbols": [
        {
            "name": name, "base": name.removesuffix("USDT"), "quote": "USDT", "tick": "0.01", "lot": decimal_text(1, lot_decimals),
            "max_price": str(reference // 10), "max_qty": "10000", "band_down": "0.5", "band_up": "2", "orders_max": 10_000,
            "reference": str(reference // 10**TICK_DECIMALS),
        }
        for name, reference, lot_decimals in SYMBOLS
    ],
}  # fmt: skip
DEPOSIT_ATOMS: Final = 10**15


class Wanted(NamedTuple):
    """One request. `kind` as in the table above; `user`: its place among the users."""

    kind: str
    user: int
    params: Mapping[str, str]

    @property
    def is_cancel(self) -> bool:
        return self.kind == "cancel"


def funds() -> dict[int, dict[int, int]]:
    """By account, what its user begins with: atoms by asset."""
    rich = dict.fromkeys(range(len(LISTING["assets"])), DEPOSIT_ATOMS)
    return {FIRST_ACCOUNT + user: rich if user != POOR else {} for user in range(USERS + 1)}


def wanted(seed: int = SEED) -> Iterator[Wanted]:
    rng = random.Random(seed)
    kinds, weights = list(WEIGHTS), list(WEIGHTS.values())
    resting: deque[tuple[int, str, str]] = deque()  # user, symbol, client id
    number = 0
    while True:
        (kind,) = rng.choices(kinds, weights)
        if kind == "cancel" and len(resting) < RESTING:
            kind = "place"
        number += 1
        if kind == "cancel":
            user, name, client = resting.popleft()
            yield Wanted(kind, user, {"symbol": name, "origClientOrderId": client})
            continue
        symbol = rng.choice(SYMBOLS)
        name, reference, lot_decimals = symbol
        user = POOR if kind == "reject" else rng.randrange(USERS)
        side = rng.choice(("BUY", "SELL"))
        client = f"m{number}"
        if kind == "place":
            away = SPREAD_TICKS + int(rng.random() * rng.random() * reference / 250)  # most are near; products are the same everywhere
            price_ticks = reference - away if side == "BUY" else reference + away
            resting.append((user, name, client))
            yield Wanted(kind, user, limit(name, side, price_ticks, qty(rng, lot_decimals), client))
        elif kind == "match":
            other = (user + rng.randrange(1, USERS)) % USERS
            size = qty(rng, lot_decimals)
            yield Wanted(kind, user, limit(name, side, reference, size, client))
            yield Wanted(kind, other, limit(name, "SELL" if side == "BUY" else "BUY", reference, size, f"{client}b"))
        elif kind == "market":
            size = qty(rng, lot_decimals, 20)
            yield Wanted(kind, user, {"symbol": name, "side": side, "type": "MARKET", "quantity": size, "newClientOrderId": client})
        else:
            yield Wanted(kind, user, limit(name, side, reference, qty(rng, lot_decimals), client))


def limit(symbol: str, side: str, price_ticks: int, quantity: str, client: str) -> dict[str, str]:
    return {
        "symbol": symbol, "side": side, "type": "LIMIT", "timeInForce": "GTC", "quantity": quantity,
        "price": decimal(price_ticks, TICK_DECIMALS), "newClientOrderId": client,
    }  # fmt: skip


def qty(rng: random.Random, decimals: int, lots_max: int = 1000) -> str:
    return decimal(rng.randint(1, lots_max), decimals)


def decimal(steps: int, decimals: int) -> str:
    whole, fraction = divmod(steps, 10**decimals)
    return f"{whole}.{fraction:0{decimals}d}"


def mix_sha256(seed: int = SEED) -> str:
    digest = hashlib.sha256()
    for request in islice(wanted(seed), HASHED):
        digest.update(f"{request.kind} {request.user} {'&'.join(f'{name}={value}' for name, value in request.params.items())}\n".encode())
    return digest.hexdigest()
