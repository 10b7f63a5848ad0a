"""Requests of one WebSocket connection are executed in the order sent, reads among them, through the whole of a real exchange."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import orjson
import websockets

from tests.support.serving import ask, serving
from tests.support.shard_world import ANN, opening, place, sell
from zerosum.bench.client import Signer
from zerosum.bench.gateway_users import found_market
from zerosum.services.datadir import DataDir
from zerosum.services.replay import GOLDEN_LISTING

USER = 1001
TIMES = 200
ORDER = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "price": "10.00",
    "quantity": "1",
    "newOrderRespType": "ACK",
}


async def test_a_read_sees_what_was_sent_before_it_and_nothing_after(tmp_path: Path) -> None:
    """All of it is sent in one go, so that places, reads and cancels stand in the same groups."""
    ports: list[int] = []
    async with serving(DataDir(tmp_path / "data"), ports=ports) as exchange:
        key_file = exchange.data.root / "master.key"
        key_file.touch(mode=0o600)
        key_file.write_text(bytes(32).hex())
        (user,) = await found_market(exchange.data, GOLDEN_LISTING, {USER: {1: 10**12}})
        signer = Signer(user.api_key, user.secret)
        now_ms = time.time_ns() // 1_000_000
        texts: list[bytes] = []

        def ask(method: str, **params: str) -> None:
            texts.append(signer.websocket(len(texts), method, params, now_ms))

        for number in range(TIMES):
            name = {"symbol": "BTCUSDT", "origClientOrderId": f"order-{number}"}
            ask("account.status")
            ask("order.place", **ORDER, newClientOrderId=f"order-{number}")
            ask("order.status", **name)
            ask("account.status")
            ask("order.cancel", **name)
            ask("order.status", **name)
        answers: dict[int, Any] = {}
        async with websockets.connect(f"ws://127.0.0.1:{ports[1]}/ws-api/v3", max_queue=None) as connection:
            for text in texts:
                await connection.send(text.decode())
            while len(answers) < len(texts):
                answer = orjson.loads(await connection.recv())
                assert answer["status"] == 200, answer
                answers[answer["id"]] = answer["result"]
    for number in range(TIMES):
        before, _, placed, during, _, canceled = (answers[number * 6 + each] for each in range(6))
        assert (placed["status"], canceled["status"]) == ("NEW", "CANCELED")
        assert (locked(before), locked(during)) == ("0.00000000", "10.00000000")


async def test_orders_that_a_sweep_ends_are_known_until_it_is_answered(tmp_path: Path) -> None:
    """The follower may have settled all of it while the live exchange is half through: what is being answered is looked up still."""
    makers = 9_000
    async with serving(DataDir(tmp_path / "data"), segment_bytes=1 << 22) as exchange:
        for command in opening():
            await ask(exchange, command)
        for _ in range(makers - 1):
            exchange.shard.submit(place(), lambda events: None)
        await ask(exchange, place())
        sweep = asyncio.create_task(ask(exchange, sell(qty_lots=makers)))
        known: list[int] = []
        while not sweep.done():
            await asyncio.sleep(0)
            exchange.settled_up_to(len(opening()) + makers + 1)
            known.append(len(exchange.views.accounts.orders) - len(exchange.views.accounts.by_id[ANN].open_orders))
        assert max(known) > makers // 2, "the makers that were met so far, and the taker"


def locked(account: dict[str, Any]) -> str:
    return str(next(balance["locked"] for balance in account["balances"] if balance["asset"] == "USDT"))
