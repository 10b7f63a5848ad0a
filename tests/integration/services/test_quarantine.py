"""A record that every copy of the core stops at, and the operator's way past it: its place in the file `control`."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from tests.support.exchange import Exchange, NotTaken, door_of
from tests.support.serving import ask, serving
from tests.support.shard_world import ANN, opening, place
from tests.support.written_log import data_directory, write_log
from zerosum.core import records
from zerosum.services.attestations import Diverged
from zerosum.services.audit import Audit
from zerosum.services.datadir import ControlDamaged, DataDir
from zerosum.services.follower import Follower
from zerosum.services.opening import TooLate
from zerosum.services.past import machine_at

POISON = records.command(records.SET_CORE_VERSION, 0, 2)  # a behaviour that this build does not know: the machines stop


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    data = DataDir(tmp_path / "data")
    data.root.mkdir()
    return data


async def test_a_poison_record_stops_the_exchange_and_a_line_in_control_brings_it_back(data: DataDir) -> None:
    """The whole story: it stops at once, does not come back by itself, comes back when told, and has lost nothing else."""
    opened = len(opening())
    async with Exchange.on(data) as exchange:
        await exchange.start()
        async with door_of(data) as door:
            for command in [*opening(), place()]:
                await door.ask(command)
            door.send(POISON)
            assert "this build knows the core version" in (await exchange.message())["failed"]
        assert await exchange.ended() == 2

        exchange.begin()
        assert await exchange.ended() == 1, "it can't be started"
        assert (
            f"command {opened + 2} of the log breaks the machines: AssertionError: this build knows the core version" in exchange.errors()
        )

        data.control.write_text(f"# agreed on with nobody in particular\n{opened + 2}  # a version from the future\n")
        assert (await exchange.start()).sequence == opened + 2
        async with door_of(data) as door:
            assert [event[0] & 0xFF for event in await door.ask(place())] == [records.ADMITTED, records.ACCEPTED]
        assert await exchange.stop() == 0
    assert [verdict for verdict in Audit(data).run() if not verdict.holds] == []
    assert machine_at(data, None).exchange.matching.orders.live == 2


def test_exchange_follower_and_audit_pass_over_the_same(tmp_path: Path) -> None:
    """From a log alone: each of them reads the control file, and none applies what it names."""
    data = data_directory(tmp_path / "data", 400)
    with_all = machine_at(data, None)
    data.control.write_text("7\n")
    without = machine_at(data, None)
    assert (without.sequence, with_all.sequence) == (400, 400)
    assert without.exchange.state_hash() != with_all.exchange.state_hash()
    follower = Follower(data)
    with pytest.raises(Diverged):  # this log was written by machines that knew of no quarantine
        follower.follow(400)
    assert [verdict.check for verdict in Audit(data).run() if not verdict.holds] == ["attestations"]
    follower.close()


async def test_what_is_passed_over_leaves_a_mark_and_changes_nothing(data: DataDir) -> None:
    opened = len(opening())
    passed_over = {opened + 1, opened + 3}
    write_log(data, [*opening(), *(place(qty_lots=number) for number in (1, 2, 3))], quarantined=passed_over)
    data.control.write_text("\n".join(map(str, passed_over)))
    async with serving(data) as embedded:
        assert [order.qty_lots for order in embedded.views.accounts.by_id[ANN].open_orders.values()] == [2]
        assert [event[0] & 0xFF for event in await ask(embedded, place(qty_lots=4))] == [records.ADMITTED, records.ACCEPTED]
    assert [verdict for verdict in Audit(data).run() if not verdict.holds] == []


async def test_what_the_log_does_not_have_yet_can_not_be_passed_over(data: DataDir) -> None:
    """It would be whatever comes to stand there: somebody's order."""
    async with serving(data) as embedded:
        for command in opening():
            await ask(embedded, command)
    data.control.write_text(f"{len(opening()) + 5}\n")
    with pytest.raises(TooLate, match="is past the end of the log"):
        async with serving(data):
            pass


@pytest.mark.parametrize("then", ["5\n", ""])
async def test_what_was_applied_can_not_be_passed_over_any_more(data: DataDir, then: str) -> None:
    """Nor the other way round: snapshots and settled record have its effects, or the lack of them."""
    before = "" if then else "5\n"
    write_log(data, opening(), quarantined=set() if then else {5})
    data.control.write_text(before)
    async with serving(data):
        pass
    data.control.write_text(then)
    with pytest.raises(TooLate, match="put the file back as it was"):
        async with serving(data):
            pass
    data.control.write_text(before)
    async with serving(data):
        pass


async def test_a_follower_that_alone_knows_of_a_quarantine_stops_both_loudly(data: DataDir) -> None:
    """Its core then differs from the live one: the same as if either had a bug."""
    opened = len(opening())
    async with Exchange.on(data) as exchange:
        ready = await exchange.start()
        async with door_of(data) as door:
            for command in opening():
                await door.ask(command)
            data.control.write_text(f"{opened + 5}\n")
            exchange.kill_follower(ready.follower_pid)
            for _ in range(4):
                await door.ask(place())
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, NotTaken):
                for _ in range(1000):
                    await door.ask(place())  # each group attests what came of those before
                    await asyncio.sleep(0.01)
        failed = (await exchange.message())["failed"]
        assert failed.startswith(f"Diverged: After command {opened + 5} the live exchange had put out")
        assert await exchange.ended() == 2
        assert "Diverged: After command" in exchange.errors()


@pytest.mark.parametrize("text", ["-3", "1.5", "7 8", "٣", "seven", "9" * 5000, "\ud800"])
def test_a_line_that_is_no_sequence_is_refused(data: DataDir, text: str) -> None:
    data.control.write_bytes(f"5\n\n  # nothing\n{text}\n".encode(errors="surrogatepass"))
    with pytest.raises(ControlDamaged, match=r"control:4: .* is no sequence"):
        data.quarantined()


def test_comments_and_empty_lines_are_let_be(data: DataDir) -> None:
    assert data.quarantined() == set()
    data.control.write_text("5\n\n  12   # why\n#13\n")
    assert data.quarantined() == {5, 12}
