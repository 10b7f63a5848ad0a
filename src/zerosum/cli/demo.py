"""
The demo market of `zerosum up`: three symbols, a demo user with a key, and bots that trade through the public door.

    an empty log --> demo.json (the log's id, three keys) --> founding, one group of the log --> bots
    a later start: demo.json is of this log, and the founding's deposits are in it --> bots

Always true: the bots trade, and keys are made, only in a log that the demo has founded. The founding is one group, so a crash leaves all of
it or none. What DIR/demo.json has is for its owner alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any, Final, final

from zerosum.cli.door import Event, Refused
from zerosum.cli.terminal import somebody_sees_it, tell
from zerosum.core import records
from zerosum.core.codes import TRANSFER_REPEATED
from zerosum.errors import ConfigError
from zerosum.identity.keys import Wanted
from zerosum.services.child_environment import child_environment
from zerosum.services.embedded import Embedded
from zerosum.services.listing_file import load_listing
from zerosum.views.reasons import reason_name

LISTING: Final[dict[str, Any]] = {
    "assets": [
        {"name": "BTC", "decimals": 8}, {"name": "ETH", "decimals": 8}, {"name": "SOL", "decimals": 8}, {"name": "USDT", "decimals": 8},
    ],
    "symbols": [
        {
            "name": "BTCUSDT", "base": "BTC", "quote": "USDT", "tick": "0.01", "lot": "0.00001", "max_price": "1000000", "max_qty": "1000",
            "min_notional": "5", "band_down": "0.2", "band_up": "5", "reference": "60000",
        },
        {
            "name": "ETHUSDT", "base": "ETH", "quote": "USDT", "tick": "0.01", "lot": "0.0001", "max_price": "100000", "max_qty": "10000",
            "min_notional": "5", "band_down": "0.2", "band_up": "5", "reference": "3000",
        },
        {
            "name": "SOLUSDT", "base": "SOL", "quote": "USDT", "tick": "0.01", "lot": "0.001", "max_price": "10000", "max_qty": "100000",
            "min_notional": "5", "band_down": "0.2", "band_up": "5", "reference": "150",
        },
    ],
}  # fmt: skip
NAME: Final = "demo.json"
DEMO_USER: Final = 1001
MAKER: Final = 1002
TAKER: Final = 1003
FEE_PPM: Final = 1000
DEPOSITS: Final = {
    DEMO_USER: {"BTC": 1, "ETH": 10, "SOL": 100, "USDT": 100_000},
    MAKER: {"BTC": 10_000, "ETH": 100_000, "SOL": 1_000_000, "USDT": 1_000_000_000},
    TAKER: {"BTC": 10_000, "ETH": 100_000, "SOL": 1_000_000, "USDT": 1_000_000_000},
}
TOLD_S: Final = 0.5  # after their end: what ended them just after their start may be ending the exchange, too
BOTS_STOP_S: Final = 5.0
DEFAULT_REST: Final = "http://127.0.0.1:8700"

Keys = dict[str, Any]


def founding() -> list[bytes]:
    """The commands that make the market."""
    listing = load_listing(LISTING, "the demo listing")
    commands = listing.commands()
    assets = {asset.name: asset for asset in listing.assets}
    for account, amounts in DEPOSITS.items():
        fee_ppm = FEE_PPM if account == DEMO_USER else 0
        commands.append(records.command(records.OPEN_ACCOUNT, 0, account, fee_ppm, fee_ppm))
        for name, amount in amounts.items():
            asset = assets[name]
            movement = account * 100 + asset.asset
            commands.append(records.command(records.DEPOSIT, 0, account, movement, asset.asset, amount * 10**asset.decimals))
    return commands


@final
class DemoMarket:
    def __init__(self, embedded: Embedded, rest: str, websocket: str, certificate_file: Path | None = None) -> None:
        """`rest`, `websocket`: the doors' URLs, without a path."""
        self._embedded = embedded
        self._rest = rest
        self._websocket = websocket
        self._certificate_file = certificate_file
        self._path = embedded.data.root / NAME
        self._bots: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Found the market if nothing is in the log, print how to try it, and start the bots; or say why there is no demo."""
        keys = self._keys()
        if self._embedded.machine.sequence == 0:
            keys = keys or self._make_keys()
            await self._found()
        if keys is None or not self._was_founded_here():
            tell(
                f"The demo market is left out: {self._embedded.data.root} has a market of its own."
                " Start with --no-demo, or with enabled = false in [demo], not to be told this."
            )
            return
        self._show(keys["demo"])
        config = {
            "url": f"{self._websocket}/ws-api/v3",
            "certificate": str(self._certificate_file) if self._certificate_file is not None else None,
            "maker": keys["maker"],
            "taker": keys["taker"],
            "listing": LISTING,
        }
        self._bots = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "zerosum.cli.demo_bots", stdin=asyncio.subprocess.PIPE, env=child_environment()
        )  # fmt: skip
        assert self._bots.stdin is not None
        self._bots.stdin.write(json.dumps(config).encode() + b"\n")  # the pipe stays open: the bots end when it is closed
        self._watch = asyncio.create_task(self._tell_of_end(self._bots), name="bots")

    async def _tell_of_end(self, bots: asyncio.subprocess.Process) -> None:
        """Without them the market stands still, and whoever trades there would look for the fault in their own bot."""
        code = await bots.wait()
        await asyncio.sleep(TOLD_S)
        tell(f"The demo market's bots have ended, with exit code {code}: nobody trades there any more. The next start has them again.")

    async def stop(self) -> None:
        if self._bots is None or self._bots.stdin is None or self._watch is None:
            return
        self._watch.cancel()
        self._bots.stdin.close()
        try:
            await asyncio.wait_for(self._bots.wait(), BOTS_STOP_S)
        except TimeoutError:
            self._bots.kill()
            await self._bots.wait()

    # ------------------------------------------------------------------ founding

    async def _found(self) -> None:
        """All at once: what is submitted in one turn of the loop is one group of the log."""
        answers = [self._submitted(command) for command in founding()]
        for events in await asyncio.gather(*answers):
            for event in events:
                if event[0] & 0xFF == records.REFUSED:
                    raise Refused(f"the demo market can't be made: {records.kind_name(event[4])}: {reason_name(event[5])}.")

    def _submitted(self, command: bytes) -> asyncio.Future[list[Event]]:
        answered: asyncio.Future[list[Event]] = asyncio.get_running_loop().create_future()
        self._embedded.shard.submit(command, answered.set_result)
        return answered

    def _was_founded_here(self) -> bool:
        """Whether the founding's deposits are in the log, each with its number and content."""
        transfers = self._embedded.machine.exchange.ubscore.transfers
        deposits = [next(records.records(command)) for command in founding() if command[0] == records.DEPOSIT]
        return all(
            transfers.seen(movement, records.DEPOSIT, account, asset, atoms, 0) == TRANSFER_REPEATED
            for _, _, account, movement, asset, atoms in deposits
        )

    # ------------------------------------------------------------------ keys

    def _keys(self) -> Keys | None:
        """Those of this log's demo, made at its first start; or None. ConfigError."""
        if not self._path.exists():
            return None
        try:
            known = json.loads(self._path.read_text())
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{self._path} can't be read: {error}. Move it away, or start with --no-demo: there is no demo then."
            ) from error
        return known if isinstance(known, dict) and known.get("log") == self._log_id else None

    def _make_keys(self) -> Keys:
        """Before anything is in the log, so that a founding that was interrupted is known as ours."""
        made: Keys = {"log": self._log_id}
        for name, account in (("demo", DEMO_USER), ("maker", MAKER), ("taker", TAKER)):
            api_key, secret = self._embedded.identities.create_key(Wanted(account))
            made[name] = {"api_key": api_key, "secret": secret}
        draft = self._path.with_name(NAME + ".tmp")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            json.dump(made, out)
            out.flush()
            os.fsync(out.fileno())
        draft.rename(self._path)
        return made

    @property
    def _log_id(self) -> str:
        return self._embedded.log.log_id.hex()

    def _show(self, key: dict[str, str]) -> None:
        root = self._embedded.data.root

        url = "" if self._rest == DEFAULT_REST else f" {self._rest}"
        secret = key["secret"] if somebody_sees_it() else f"in {self._path}"
        tell(
            f"\n  demo user {DEMO_USER}       API key    {key['api_key']}\n                       secret     {secret}\n"
            f"\n  Try:  curl '{self._rest}/api/v3/depth?symbol=BTCUSDT&limit=5'"
            f"\n        python3 examples/place_order.py {root}{url}\n"
        )
