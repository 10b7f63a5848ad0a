"""Money that comes in and goes out of an exchange that runs in the test's own process, and commands of its operator beside it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.browser import Browser
from tests.support.money import Program, asks, at, with_address
from tests.support.running import ZEROSUM
from tests.support.venue import ANN, Venue
from zerosum.settlement.reading import read_position

SETTLED_S = 60.0
MASTER_KEY = "00" * 32  # of what `serving` serves


class Said(NamedTuple):
    code: int
    out: str
    err: str


async def zerosum(folder: Path, *arguments: str) -> Said:
    def run() -> Said:
        done = subprocess.run([*ZEROSUM, *arguments], cwd=folder, capture_output=True, text=True, timeout=120)
        return Said(done.returncode, done.stdout, done.stderr)

    return await asyncio.to_thread(run)


async def until_settled(venue: Venue) -> None:
    """The record has all that was done."""
    deadline = time.monotonic() + SETTLED_S
    while (await asyncio.to_thread(read_position, venue.embedded.data.settled))[0] < venue.embedded.shard.machine.sequence:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def reports(program: Program, account: int, asset: str, amount: str, reference: str, **also: str) -> dict[str, Any]:
    body = json.dumps({"account": account, "asset": asset, "amount": amount, "reference": reference, **also}).encode()
    made = await program.own("POST", "/admin/v1/deposits", body)
    assert made.status_code == 200, made.text
    found: dict[str, Any] = made.json()
    return found


async def pays(venue: Venue, program: Program, amount: str, reference: str) -> Browser:
    """Ann's withdrawal, from the request to its end; her browser."""
    user = await venue.user("ann", ANN)
    await with_address(user)
    asked = (await asks(user, amount, order_id="mine")).json()
    for step, body in (("send", b""), ("settle", json.dumps({"reference": reference}).encode())):
        done = await program.own("POST", f"/admin/v1/payouts/{at(asked)}/{step}", body)
        assert done.status_code == 200, done.text
    return user


async def reverses(venue: Venue, account: int, number: int) -> None:
    one, other = await venue.operator("tom", "treasury"), await venue.operator("tess", "treasury")
    proposed = await one.send("POST", f"/deposits/{account}/{number}/reverse", {"reason": "the chain reorganised"})
    done = await other.send("POST", f"/proposals/{proposed.json()['proposal']}/approve")
    assert done.json()["result"]["reversed"], done.text
