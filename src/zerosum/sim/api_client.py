"""
A client of the API in a simulated world: signs its requests as real ones do, over REST or WebSocket, and hears the answer, or does not.

    ask(operation, params) --network--> some gateway's Api --network--> Said | None: the connection broke
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from random import Random
from typing import Any, Final, final

import msgspec

from zerosum.gateway.messages import Request, Response, Session
from zerosum.sim.chance import delay_s
from zerosum.sim.findings import RunFailed
from zerosum.sim.history import Asked
from zerosum.sim.keys import key_of, secret_of
from zerosum.sim.world import Door, World, break_off

NETWORK_S: Final = 0.0005
SLOW_S: Final = 1.0
STATUS_UNKNOWN: Final = -1007
FAILED_INSIDE: Final = -1000

ROUTES: Final = {
    "place": ("POST", "/api/v3/order", "order.place"),
    "cancel": ("DELETE", "/api/v3/order", "order.cancel"),
    "cancelAll": ("DELETE", "/api/v3/openOrders", "openOrders.cancelAll"),
    "order": ("GET", "/api/v3/order", "order.status"),
    "openOrders": ("GET", "/api/v3/openOrders", "openOrders.status"),
    "allOrders": ("GET", "/api/v3/allOrders", "allOrders"),
    "userTrades": ("GET", "/api/v3/myTrades", "myTrades"),
    "account": ("GET", "/api/v3/account", "account.status"),
    "exchangeInfo": ("GET", "/api/v3/exchangeInfo", "exchangeInfo"),
    "depth": ("GET", "/api/v3/depth", "depth"),
}
PUBLIC: Final = frozenset({"exchangeInfo", "depth"})


@final
@dataclass(slots=True)
class Said:
    """`door`: who said it. `submitted`: the commands that the request became. `asked_s`: before it was sent; `told_s`: when it was said."""

    status: int
    body: Any
    door: Door
    submitted: list[Asked]
    asked_s: float
    told_s: float

    @property
    def is_good(self) -> bool:
        return self.status == 200

    @property
    def code(self) -> int:
        return 0 if self.is_good else int(self.body["code"])


@final
class ApiClient:
    def __init__(self, world: World, account_id: int, random: Random, *, over_websocket: bool) -> None:
        self.world = world
        self.account_id = account_id
        self.random = random
        self.over_websocket = over_websocket
        self.kind = "client"
        self._sessions: dict[Door, Session] = {}

    def state(self) -> str:
        return "on WebSocket" if self.over_websocket else "on REST"

    def now_us(self) -> int:
        """The client's own clock, which is right."""
        return self.world.loop.now_us()

    async def ask(self, operation: str, params: dict[str, str], *, recv_window_ms: int = 5000, signature: str = "") -> Said | None:
        """`signature`: to be sent in the place of the right one. None: the connection broke before there was an answer."""
        world = self.world
        sent = dict(params)
        if operation not in PUBLIC:
            sent |= {"timestamp": str(self.now_us() // 1000), "recvWindow": str(recv_window_ms)}
        asked_s = world.loop.time()
        door = await self._open_door()
        await asyncio.sleep(delay_s(self.random, NETWORK_S))
        if world.faults.happens("client is slow", self):
            await asyncio.sleep(self.random.uniform(0, SLOW_S))
        heard: asyncio.Future[Said | None] = asyncio.get_running_loop().create_future()
        self._hand_over(door, operation, sent, signature, asked_s, heard)
        return await heard

    async def _open_door(self) -> Door:
        while True:
            ready = [door for door in self.world.doors.values() if door.is_open]
            if ready:
                return self.random.choice(ready)
            await asyncio.sleep(0.01)

    def _hand_over(
        self, door: Door, operation: str, params: dict[str, str], signature: str, asked_s: float, heard: asyncio.Future[Said | None]
    ) -> None:  # fmt: skip
        """In the gateway's process. The commands that come of a request are submitted within this call."""
        if not door.life.is_alive:
            return break_off(heard)
        door.under_way[heard] = None
        before = len(self.world.history.asked)

        def reply(status: int, body: bytes) -> None:
            if not door.life.is_alive:
                return
            door.under_way.pop(heard, None)
            said = Said(status, msgspec.json.decode(body), door, submitted, asked_s, self.world.loop.time())
            if said.code == FAILED_INSIDE or (said.code == STATUS_UNKNOWN and not door.recorder.may_doubt):
                self.world.fail(RunFailed(f"{operation} {params} was answered with {said.body}, and nothing was in its way"))
            self.world.loop.world_later(delay_s(self.random, NETWORK_S), hear, heard, said)

        submitted: list[Asked] = []
        self._dispatch(door, operation, params, signature, reply)
        submitted += self.world.history.asked[before:]

    def _dispatch(
        self, door: Door, operation: str, params: dict[str, str], signature: str, reply: Callable[[int, bytes], None]
    ) -> None:  # fmt: skip
        method, path, ws_method = ROUTES[operation]
        key, run = key_of(self.account_id), door.life.context.run
        if not self.over_websocket:
            query = "&".join(f"{name}={value}" for name, value in params.items())
            if operation not in PUBLIC:
                query += f"&signature={signature or self._signed(query)}"
            request = Request(method, path, query.encode(), b"", key, None, "client", door.entry.now_us())

            def reply_rest(response: Response) -> None:
                reply(response.status, response.body)

            return run(door.api.handle, request, reply_rest)
        if operation not in PUBLIC:
            params = {**params, "apiKey": key}
            params["signature"] = signature or self._signed("&".join(f"{name}={params[name]}" for name in sorted(params)))
        frame = msgspec.json.encode({"id": 1, "method": ws_method, "params": params})

        def reply_ws(text: bytes) -> None:
            said = msgspec.json.decode(text)
            reply(said["status"], msgspec.json.encode(said["result"] if said["status"] == 200 else said["error"]))

        run(door.api.handle_ws, frame, self._session(door), reply_ws)

    def _session(self, door: Door) -> Session:
        if door not in self._sessions:
            self._sessions[door] = Session(client="client", path="/ws-api/v3", query=b"", send=lambda text: None)
        return self._sessions[door]

    def _signed(self, payload: str) -> str:
        return hmac.new(secret_of(self.account_id), payload.encode(), sha256).hexdigest()


def hear(future: asyncio.Future[Said | None], said: Said) -> None:
    if not future.done():
        future.set_result(said)
