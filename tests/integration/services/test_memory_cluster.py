"""Whole clusters in memory: commands answered across shards, a record passed over by every copy, and all of it conserved."""

from __future__ import annotations

import asyncio
from itertools import islice
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from zerosum.core import records
from zerosum.core.codes import BUY, FEES, FIRST_USER, LIMIT, SELL, TRADING
from zerosum.core.records import text_words
from zerosum.log.messages import position
from zerosum.services.cluster.control import APPLY, PASS_OVER, DecidedTooLate, Decision, Decisions, Operators
from zerosum.services.cluster.machines import MachineStopped
from zerosum.services.cluster.memory import MemoryCluster
from zerosum.services.cluster.role import Bounds
from zerosum.services.cluster.topology import Streams, Topology
from zerosum.services.cluster.twins import Diverged
from zerosum.sim.disk import SimDisk
from zerosum.sim.loop import SimLoop
from zerosum.sim.programs import USUAL, Program


def cluster_of(loop: SimLoop, shards: int, partitions: int) -> MemoryCluster:
    return MemoryCluster(Topology(shards, partitions), SimDisk(), Path("/snapshots"), loop.now_us, snapshot_every=100)


@pytest.mark.parametrize(("shards", "partitions"), [(1, 1), (2, 2), (16, 16)])
def test_a_program_is_answered_command_by_command(shards: int, partitions: int) -> None:
    loop = SimLoop()

    async def story() -> None:
        async with cluster_of(loop, shards, partitions).running() as cluster:
            for step in islice(Program(3, USUAL), 600):
                events = await cluster.command(step.command)
                causes = {event[2] for event in events}
                assert len(causes) <= 1, "an answer is what one command caused"
            await cluster.quiet()
            assert list(cluster.auditor.cut.findings_at_rest()) == []
            for role in (*cluster.shards, *cluster.engines):
                role.machine.check()
            for role, settlement in zip((*cluster.shards, *cluster.engines), cluster.settlements, strict=True):
                assert settlement.settled.sequence == role.machine.own_sequence()

    loop.run(story())


def command(kind: int, **fields: int) -> bytes:
    return records.command(kind, 0, *[fields.get(name, 0) for name in records.COMMANDS[kind][1]])


def small_market(makers: int) -> list[bytes]:
    """Everything that it takes for one account to sell, and another to buy."""
    seller, buyer = FIRST_USER, FIRST_USER + 1
    name = dict(zip(("name_1", "name_2", "name_3"), text_words("AB", 3), strict=True))
    assets = [command(records.LIST_ASSET, asset=asset, name_1=text_words(text, 2)[0]) for asset, text in enumerate(("A", "B"))]
    symbol = command(
        records.LIST_SYMBOL, base=0, quote=1, tick=1, lot=1, min_price_ticks=1, max_price_ticks=100, min_qty_lots=1, max_qty_lots=10**6,
        orders_max=makers, status=TRADING, **name,
    )  # fmt: skip
    accounts = [command(records.OPEN_ACCOUNT, account=account, orders_max=makers) for account in (seller, buyer)]
    deposits = [
        command(records.DEPOSIT, account=account, transfer_id=1, asset=asset, atoms=10**9) for account, asset in ((seller, 0), (buyer, 1))
    ]
    return [*assets, symbol, *accounts, *deposits]


@pytest.mark.parametrize("bounds", [Bounds(), Bounds(2_000, 1_000, 4_000)])
def test_one_order_that_makes_more_than_comes_out_at_a_time(bounds: Bounds) -> None:
    """Its outcomes leave the engine in several parts, each of them whole."""
    loop = SimLoop()
    makers = 6_000
    sell = command(records.PLACE, account=FIRST_USER, terms=records.terms(0, SELL, LIMIT), price_ticks=10, qty_lots=1)
    buy = command(records.PLACE, account=FIRST_USER + 1, terms=records.terms(0, BUY, LIMIT), price_ticks=10, qty_lots=makers)

    async def story() -> None:
        cluster = MemoryCluster(Topology(2, 1), SimDisk(), Path("/snapshots"), loop.now_us, reserve=1 << 14, bounds=bounds)
        async with cluster.running():
            for each in small_market(makers):
                await cluster.command(each)
                await cluster.quiet()
            await asyncio.gather(*map(cluster.command, [sell] * makers))
            events = await cluster.command(buy)
            assert sum(event[0] & 0xFF == records.FILL for event in events) == makers
            await cluster.quiet()
            assert list(cluster.auditor.cut.findings_at_rest()) == []

    loop.run(story())


def test_what_the_second_shard_earned_in_fees_can_be_paid_to_its_accounts() -> None:
    loop = SimLoop()
    buyer = FIRST_USER + 1  # of the second shard
    sell = command(records.PLACE, account=FIRST_USER, terms=records.terms(0, SELL, LIMIT), price_ticks=10, qty_lots=1000)
    buy = command(records.PLACE, account=buyer, terms=records.terms(0, BUY, LIMIT), price_ticks=10, qty_lots=1000)
    fees = command(records.SET_ACCOUNT_FEES, account=buyer, taker_ppm=10_000)
    pay = command(records.TRANSFER, account=FEES, transfer_id=1, asset=0, atoms=10, to_account=buyer)

    async def story() -> None:
        cluster = cluster_of(loop, 2, 1)
        async with cluster.running():
            for each in (*small_market(10), fees, sell, buy):
                await cluster.command(each)
                await cluster.quiet()
            (paid,) = await cluster.command(pay)
            assert paid[0] & 0xFF == records.TRANSFERRED
            account = cluster.views.account(buyer)
            assert account is not None
            assert account.balances[0] == (1000, 0)
            await cluster.quiet()
            assert list(cluster.auditor.cut.findings_at_rest()) == []

    loop.run(story())


def test_a_decision_about_what_was_applied_stops_whoever_replays_without_it() -> None:
    """Without snapshots, too: what it makes now is not what stands in its stream, and nothing of it comes out."""
    loop = SimLoop()
    key = Ed25519PrivateKey.generate()
    operators = Operators({"alice": key.public_key().public_bytes_raw()})

    async def story() -> None:
        first = cluster_of(loop, 1, 1)
        async with first.running():
            for account in range(FIRST_USER, FIRST_USER + 5):
                await first.command(open_account(account))
            await first.quiet()
        await first.streams.control.writer().append(Decision("ubscore.0", position(2), "alice").signed(key))
        again = MemoryCluster(first.topology, SimDisk(), Path("/snapshots"), loop.now_us, streams=first.streams, operators=operators)
        events = await first.streams.account_events[0].ends()
        with pytest.raises(ExceptionGroup) as caught:
            async with again.running():
                await again.command(open_account(FIRST_USER + 9))
        assert caught.group_contains(Diverged)
        assert await first.streams.account_events[0].ends() == events

    loop.run(story())


def open_account(account: int) -> bytes:
    return records.command(records.OPEN_ACCOUNT, 0, account)


def test_where_two_must_decide_one_is_not_enough() -> None:
    """Passing a record over changes what accounts hold: four eyes."""
    loop = SimLoop()
    keys = {name: Ed25519PrivateKey.generate() for name in ("alice", "bob")}
    operators = Operators({name: key.public_key().public_bytes_raw() for name, key in keys.items()}, needed=2)

    async def story() -> None:
        cluster = cluster_of(loop, 1, 1)
        control = cluster.streams.control
        decisions = Decisions(control, operators, lambda line: None)
        writer = control.writer()

        async def say(name: str, decision: str = PASS_OVER) -> set[int]:
            await writer.append(Decision("ubscore.0", 7, name, decision).signed(keys[name]))
            return await decisions.passed_over("ubscore.0")

        assert await say("alice") == set()
        assert await say("alice") == set(), "the same one twice is one"
        assert await say("bob") == {7}
        assert await say("alice", APPLY) == set()
        assert await say("alice") == {7}
        assert await decisions.passed_over("ubscore.1") == set()

    loop.run(story())


def test_a_record_that_stops_every_copy_is_passed_over_by_decision() -> None:
    """A version that no build knows: the machine stops there, again and again, until an operator has decided."""
    loop = SimLoop()
    account = FIRST_USER + 1  # of shard 1

    key = Ed25519PrivateKey.generate()
    operators = Operators({"alice": key.public_key().public_bytes_raw()})

    def fresh(cluster: MemoryCluster) -> MemoryCluster:
        """A start without snapshots, over the same streams."""
        return MemoryCluster(cluster.topology, SimDisk(), Path("/snapshots"), loop.now_us, streams=cluster.streams, operators=operators)

    async def poisoned(cluster: MemoryCluster) -> None:
        async with cluster.running():
            await cluster.command(open_account(account))
            await cluster.command(records.command(records.SET_CORE_VERSION, 0, 99))

    async def stopped(cluster: MemoryCluster) -> int:
        with pytest.raises(ExceptionGroup) as caught:
            await poisoned(cluster)
        found = [error for error in caught.value.exceptions if isinstance(error, ExceptionGroup)]
        stops = [error for group in found for error in group.exceptions if isinstance(error, MachineStopped)]
        assert stops, caught.value
        return stops[0].position

    async def story() -> None:
        cluster = cluster_of(loop, 2, 2)
        at = await stopped(cluster)
        assert at >= position(0)
        control = cluster.streams.control.writer()
        await control.append(Decision("ubscore.0", at, "mallory").signed(Ed25519PrivateKey.generate()))
        await control.append(Decision("ubscore.0", at, "alice").signed(Ed25519PrivateKey.generate()))
        for nonsense in (b"and this is none at all", b"[" * 200_000, b'{"decision":"pass_over","role":"ubscore.0","position":1e999}'):
            await control.append(nonsense)
        assert await stopped(fresh(cluster)) == at, "whoever is no operator decides nothing"
        await control.append(Decision("ubscore.0", at, "alice").signed(key))
        await control.append(Decision("ubscore.0", at, "alice", APPLY).signed(key))
        assert await stopped(fresh(cluster)) == at, "the last decision counts"
        await control.append(Decision("ubscore.0", at, "alice").signed(key))
        again = fresh(cluster)
        async with again.running():
            events = await again.command(open_account(account + 2))
            assert [event[0] & 0xFF for event in events] == [records.ACCOUNT_CHANGED]
            await again.quiet()

    loop.run(story())


def test_a_decision_about_what_was_applied_comes_too_late() -> None:
    loop = SimLoop()
    key = Ed25519PrivateKey.generate()
    operators = Operators({"alice": key.public_key().public_bytes_raw()})
    disk = SimDisk()

    def cluster(streams: Streams | None = None) -> MemoryCluster:
        return MemoryCluster(Topology(1, 1), disk, Path("/snapshots"), loop.now_us, snapshot_every=1, streams=streams, operators=operators)

    async def story() -> None:
        first = cluster()
        async with first.running():
            for account in range(FIRST_USER, FIRST_USER + 5):
                await first.command(open_account(account))
            await first.quiet()
        await first.streams.control.writer().append(Decision("ubscore.0", position(0), "alice").signed(key))
        with pytest.raises(ExceptionGroup) as caught:
            async with cluster(first.streams).running():
                pass
        assert caught.group_contains(DecidedTooLate)

    loop.run(story())
