"""
A small exchange behind an Api, and a client that signs: two assets and a symbol, users with money and keys.

    BTCUSDT  tick 0.01, lot 0.00001, price 0.01..1,000,000, qty 0.00001..9,000, notional from 5 USDT; no band
    ANN, BOB hold 10 BTC and 1,000,000 USDT each, and pay 0.1 % as makers, 0.2 % as takers
"""

from __future__ import annotations

import hashlib
import hmac
import json
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, NamedTuple, final
from urllib.parse import urlencode

from tests.support.direct_entry import DirectEntry
from zerosum.core import records
from zerosum.core.records import text_words
from zerosum.gateway.api import Api
from zerosum.gateway.limits import Allowance
from zerosum.gateway.messages import Request, Response, Session
from zerosum.identity.identities import Identities
from zerosum.identity.keys import PERMISSIONS, READ, TRADE, Wanted
from zerosum.identity.sealing import MasterKey
from zerosum.identity.sqlite import SqliteDocuments
from zerosum.settlement.history import History
from zerosum.settlement.sqlite import SqliteStore

ANN = 16
BOB = 17
BTC = 0
USDT = 1
BTCUSDT = 0
MASTER_KEY = MasterKey(bytes(range(32)))
BTCUSDT_RULES: dict[str, int] = {
    "symbol": 0, "base": BTC, "quote": USDT, "tick": 1, "tick_decimals": 2, "lot": 1, "lot_decimals": 5, "min_price_ticks": 1,
    "max_price_ticks": 100_000_000, "min_qty_lots": 1, "max_qty_lots": 900_000_000, "min_notional_atoms": 5_00000000,
}  # fmt: skip


class Answer(NamedTuple):
    status: int
    body: Any
    headers: dict[str, str]

    @property
    def error(self) -> tuple[int, int, str]:
        return self.status, self.body["code"], self.body["msg"]


class Credentials(NamedTuple):
    api_key: str
    secret: str

    def sign(self, payload: bytes) -> str:
        return hmac.new(self.secret.encode(), payload, hashlib.sha256).hexdigest()


def list_symbol(entry: DirectEntry, name: str, **rules: int) -> None:
    fields = BTCUSDT_RULES | rules
    names = dict(zip(("name_1", "name_2", "name_3"), text_words(name, 3), strict=True))
    events = entry.command(records.LIST_SYMBOL, *[(fields | names).get(field, 0) for field in records.SYMBOL_FIELDS])
    assert events[0][0] & 0xFF == records.SYMBOL_LISTED, records.named(events[0])


@final
class World:
    def __init__(
        self, folder: Path, *, allowance: Allowance | None = None, rules: dict[str, int] | None = None, executor: Executor | None = None
    ) -> None:
        self.entry = DirectEntry(SqliteStore(folder / "settled.db"))
        self.history = History(folder / "settled.db")
        self.views = self.entry.views
        self.transfers = 0
        self.seconds = 0.0  # by the clock that goes on whatever is done to the wall's
        self.entry.command(records.LIST_ASSET, BTC, 8, *text_words("BTC", 2))
        self.entry.command(records.LIST_ASSET, USDT, 8, *text_words("USDT", 2))
        list_symbol(self.entry, "BTCUSDT", **(rules or {}))
        for account in (ANN, BOB):
            self.entry.command(records.OPEN_ACCOUNT, account, 1000, 2000)
            self.deposit(account, BTC, 10 * 10**8)
            self.deposit(account, USDT, 1_000_000 * 10**8)
        self.identities = Identities(SqliteDocuments(folder / "identities.db"), MASTER_KEY, lambda: self.seconds)
        self.ann = self.key_of(ANN)
        self.bob = self.key_of(BOB)
        self.api = Api(self.entry, self.views, self.history, self.identities.ring, allowance=allowance, executor=executor)

    def close(self) -> None:
        self.identities.close()
        self.history.close()
        self.entry.store.close()

    def deposit(self, account: int, asset: int, atoms: int) -> None:
        self.transfers += 1
        self.entry.command(records.DEPOSIT, account, self.transfers, asset, atoms)

    def key_of(self, account: int, permissions: tuple[str, ...] = (READ, TRADE), addresses: tuple[str, ...] = ()) -> Credentials:
        assert set(permissions) <= set(PERMISSIONS)
        return Credentials(*self.identities.create_key(Wanted(account, permissions, addresses=addresses)))

    def revoke(self, credentials: Credentials) -> None:
        self.identities.keys.revoke(credentials.api_key)
        self.identities.ring.refresh()

    @property
    def now_ms(self) -> int:
        return self.entry.clock_us // 1000

    # ------------------------------------------------------------------ REST

    def send(
        self, method: str, path: str, query: bytes = b"", body: bytes = b"", *, api_key: str | None = None, time_unit: str | None = None,
        client: str = "10.0.0.1",
    ) -> list[Response]:  # fmt: skip
        """The list that the response will be in, as soon as it comes."""
        found: list[Response] = []
        request = Request(method, path, query, body, api_key, time_unit, client, self.entry.clock_us)
        self.api.handle(request, found.append)
        return found

    def raw(self, method: str, path: str, query: bytes = b"", body: bytes = b"", **rest: Any) -> Answer:
        (response,) = self.send(method, path, query, body, **rest)
        return answer_of(response)

    def get(self, path: str, **params: Any) -> Answer:
        return self.raw("GET", f"/api/v3/{path}", urlencode(params).encode())

    def signed(self, method: str, path: str, who: Credentials | None = None, *, time_unit: str | None = None, **params: Any) -> Answer:
        who = who or self.ann
        return self.raw(method, f"/api/v3/{path}", self.signed_query(who, **params), api_key=who.api_key, time_unit=time_unit)

    def signed_query(self, who: Credentials, **params: object) -> bytes:
        payload = urlencode({"timestamp": self.now_ms} | params).encode()
        return payload + b"&signature=" + who.sign(payload).encode()

    def place(self, who: Credentials | None = None, **params: Any) -> Answer:
        """A limit order good till canceled, unless told."""
        order: dict[str, Any] = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT"} | params
        if order["type"] == "LIMIT":
            order.setdefault("timeInForce", "GTC")
        return self.signed("POST", "order", who, **order)

    # ------------------------------------------------------------------ WebSocket

    def session(self, query: bytes = b"") -> Session:
        return Session(client="10.0.0.1", path="/ws-api/v3", query=query, send=lambda text: None)

    def ws_raw(self, text: bytes, session: Session | None = None) -> Any:
        found: list[bytes] = []
        self.api.handle_ws(text, session or self.session(), found.append)
        (frame,) = found
        return json.loads(frame)

    def ws(self, method: str, params: dict[str, Any] | None = None, *, request_id: object = 1, session: Session | None = None) -> Any:
        frame: dict[str, object] = {"id": request_id, "method": method}
        if params is not None:
            frame["params"] = params
        return self.ws_raw(json.dumps(frame).encode(), session)

    def ws_signed(self, method: str, who: Credentials | None = None, **params: Any) -> Any:
        who = who or self.ann
        full = {"timestamp": self.now_ms, "apiKey": who.api_key} | params
        full["signature"] = who.sign(ws_payload(full).encode())
        return self.ws(method, full)


def ws_payload(params: dict[str, Any]) -> str:
    def text(value: object) -> str:
        return json.dumps(value) if isinstance(value, bool) else str(value)

    return "&".join(f"{name}={text(params[name])}" for name in sorted(params))


def answer_of(response: Response) -> Answer:
    headers = {name.decode(): value.decode() for name, value in response.headers}
    return Answer(response.status, json.loads(response.body), headers)
