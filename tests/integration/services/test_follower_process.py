"""
The follower as a process, at the end of its link: killed, held up, replaced, and at its wits' end.

ZEROSUM_FOLLOWER_KILLS sets how often it is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from random import Random
from typing import final

import pytest

from tests.support.exchange import is_running
from tests.support.written_log import GROUP, data_directory, rows_of_log, settle, tables, write_log
from zerosum.core import records
from zerosum.log.layout import Attestation
from zerosum.log.reader import log_id_of
from zerosum.log.snapshots import SnapshotStore
from zerosum.services import follower_link
from zerosum.services.audit import Audit
from zerosum.services.datadir import DataDir
from zerosum.services.follower import SnapshotPolicy
from zerosum.services.follower_link import FollowerFailed, FollowerLink
from zerosum.services.machine import Machine
from zerosum.services.opening import snapshot_meta
from zerosum.sim.programs import random_program

KILLS = int(os.environ.get("ZEROSUM_FOLLOWER_KILLS", "20"))
COMMANDS = 200 * KILLS
OFTEN = SnapshotPolicy(every_records=100, keep=3)


@final
class Followed:
    """A link, and what it was told."""

    def __init__(self, data: DataDir) -> None:
        self.settled: list[int] = []
        self.warned: list[str] = []
        self.link = FollowerLink(data, OFTEN, self.settled.append, lambda sequence: None, self.warned.append)

    async def until(self, holds: Callable[[], bool], timeout_s: float = 60) -> None:
        async with asyncio.timeout(timeout_s):
            while not holds():  # noqa: ASYNC110  another process does it
                await asyncio.sleep(0.005)

    async def settles(self, sequence: int) -> None:
        await self.until(lambda: bool(self.settled) and self.settled[-1] >= sequence)


@asynccontextmanager
async def following(data: DataDir) -> AsyncIterator[Followed]:
    followed = Followed(data)
    try:
        await asyncio.wait_for(followed.link.start(), 60)
        yield followed
    finally:
        await asyncio.wait_for(followed.link.stop(), 60)
        await followed.until(lambda: not is_running(followed.link.pid))


@pytest.fixture
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A follower that died is started again at once."""
    monkeypatch.setattr(follower_link, "RESTART_S", 0.01)


# ---------------------------------------------------------------------- killed


@pytest.mark.usefixtures("prompt")
async def test_a_follower_killed_at_random_moments_ends_with_the_same_record(tmp_path: Path) -> None:
    """Invariant 5: exactly once, in effect. Wherever it is killed, nothing is settled twice, and nothing left out."""
    data = data_directory(tmp_path / "data", COMMANDS)
    rng = Random(KILLS)
    async with following(data) as followed:
        killed: set[int] = set()
        durable = 0
        while len(killed) < KILLS:
            durable = min(COMMANDS, durable + GROUP * rng.randint(1, 8))
            followed.link.durable(durable)
            await asyncio.sleep(rng.uniform(0, 0.3))
            pid = followed.link.pid
            if pid not in killed and is_running(pid):
                killed.add(pid)
                os.kill(pid, signal.SIGKILL)
        await followed.until(lambda: followed.link.restarts == KILLS)
        followed.link.durable(COMMANDS)
        await followed.settles(COMMANDS)
        assert followed.settled == sorted(followed.settled), "what it once called settled stays settled"
        assert len(followed.warned) == KILLS, "whoever operates the exchange hears of each"
        assert followed.warned[0].startswith("the follower was ended by signal 9 (Killed), and is started again; ")
    assert tables(data.settled) == rows_of_log(data, tmp_path / "aside")
    assert [verdict for verdict in Audit(data).run() if not verdict.holds] == []


async def test_a_clean_stop_settles_the_rest_and_takes_a_snapshot(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data", 600)
    async with following(data) as followed:
        followed.link.durable(50)
        followed.link.durable(600)
    assert followed.settled[-1] == 600
    assert SnapshotStore(data.snapshots).sequences()[-1] == 600
    assert followed.link.restarts == 0


# ---------------------------------------------------------------------- one at a time


async def test_a_follower_waits_for_the_one_of_an_exchange_that_was_killed(tmp_path: Path) -> None:
    """That one settles what it was told still. Two at a time would each find that another has written to the record, and stop."""
    data = data_directory(tmp_path / "data", 1000)
    last, this = Followed(data), Followed(data)
    await asyncio.wait_for(last.link.start(), 60)
    os.kill(last.link.pid, signal.SIGSTOP)
    try:
        last.link.durable(1000)
        stopping = asyncio.create_task(last.link.stop())
        starting = asyncio.create_task(this.link.start())
        await asyncio.sleep(0.6)
        assert not starting.done()
        assert not stopping.done()
    finally:
        os.kill(last.link.pid, signal.SIGCONT)
    await asyncio.wait_for(stopping, 60)
    await asyncio.wait_for(starting, 60)
    assert this.settled == [1000]
    assert not this.link.fault.done()
    await asyncio.wait_for(this.link.stop(), 60)
    assert tables(data.settled) == rows_of_log(data, tmp_path / "aside")


async def test_a_follower_whose_exchange_is_gone_ends_by_itself(tmp_path: Path) -> None:
    """Also when it has an answer that nobody will read."""
    data = data_directory(tmp_path / "data", 1000)
    script = (
        "import asyncio, os, sys\n"
        "from pathlib import Path\n"
        "from zerosum.services.datadir import DataDir\n"
        "from zerosum.services.follower import SnapshotPolicy\n"
        "from zerosum.services.follower_link import FollowerLink\n"
        "async def main():\n"
        "    link = FollowerLink(DataDir(Path(sys.argv[1])), SnapshotPolicy(100, 3), lambda n: None, lambda n: None)\n"
        "    await link.start()\n"
        "    link.durable(1000)\n"
        "    print(link.pid, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", script, str(data.root)]
    ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=60)  # once the follower has let go of stderr too
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    async with asyncio.timeout(30):  # its descriptors are closed a moment before it is gone
        while is_running(int(ended.stdout)):  # noqa: ASYNC110  another process ends: nothing here can tell
            await asyncio.sleep(0.01)
    assert ended.stderr == b"", "it says nothing: nothing is wrong with it"


# ---------------------------------------------------------------------- it can't go on


async def fault_of(data: DataDir, durable: int) -> str:
    """What stops the follower, by itself and for good; the exchange is told."""
    followed = Followed(data)
    try:
        await asyncio.wait_for(followed.link.start(), 60)
        followed.link.durable(durable)
        fault = await asyncio.wait_for(asyncio.shield(followed.link.fault), 60)
    except FollowerFailed as error:
        fault = error
    assert isinstance(fault, FollowerFailed)
    await followed.until(lambda: not is_running(followed.link.pid))
    await asyncio.sleep(0.05)
    assert followed.link.restarts == 0, "it is not started again"
    return str(fault)


@pytest.mark.usefixtures("prompt")
async def test_a_divergence_stops_it_and_is_told(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data", 300)
    write_log(data, random_program(2, 100), attest=lambda machine: machine.attestation()._replace(chain_head=bytes(32)))
    assert (await fault_of(data, 400)).startswith("Diverged: After command 300 the live exchange had put out")


@pytest.mark.usefixtures("prompt")
async def test_a_record_that_breaks_an_invariant_stops_it_and_is_told(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data", 100)
    with contextlib.suppress(AssertionError):  # the machines that write it stop at it too
        write_log(data, [records.command(records.SET_CORE_VERSION, 0, 2)])
    assert (await fault_of(data, 101)).startswith("MachineBroken: command 101 of the log breaks the machines: AssertionError: this")


@pytest.mark.usefixtures("prompt")
async def test_a_bug_of_any_kind_stops_it_and_is_told(tmp_path: Path) -> None:
    """Here a snapshot that is whole and holds nothing. Started again and again, it would never get past it, and nobody would hear."""
    data = data_directory(tmp_path / "data", 300)
    settle(data, 300)
    SnapshotStore(data.snapshots).write(200, snapshot_meta(log_id_of(data.log), Machine()), [("nothing", b"")])
    assert (await fault_of(data, 300)).startswith("KeyError: ")


@pytest.mark.usefixtures("prompt")
async def test_a_follower_that_starts_while_the_record_is_locked_waits(tmp_path: Path) -> None:
    """Killed in the middle of somebody's backup: that is no reason to stop the exchange."""
    data = data_directory(tmp_path / "data", 300)
    async with following(data) as followed:
        await followed.settles(0)
        with closing(sqlite3.connect(data.settled, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            os.kill(followed.link.pid, signal.SIGKILL)
            await followed.until(lambda: followed.link.restarts == 1)
            followed.link.durable(300)
            await asyncio.sleep(0.3)
            other.execute("ROLLBACK")
        await followed.settles(300)
        assert not followed.link.fault.done()
        assert followed.link.restarts == 1


async def test_a_lock_that_can_not_be_opened_is_told(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data", 100)
    data.follower_lock.mkdir()
    assert re.match(r"IsADirectoryError.*follower\.lock", await fault_of(data, 100))


async def test_what_the_seal_says_is_compared_before_it_ends(tmp_path: Path) -> None:
    """The last group's output is attested nowhere else, and this is the last that either process has to say."""
    data = DataDir(tmp_path / "data")
    data.root.mkdir()

    def forged(machine: Machine) -> Attestation:
        honest = machine.attestation()
        return honest._replace(chain_head=bytes(32)) if machine.sequence == 300 else honest

    write_log(data, random_program(3, 300), attest=forged)
    async with following(data) as followed:
        followed.link.durable(300)
        await followed.settles(300)
        assert not followed.link.fault.done()
        await asyncio.wait_for(followed.link.stop(), 30)
        assert "Diverged: After command 300" in str(followed.link.fault.result())


async def test_a_follower_that_makes_no_sense_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "follower"
    says = "import os, sys; os.write(int(sys.argv[sys.argv.index('--link') + 1]), b'nonsense\\n')"
    script.write_text(f"#!{sys.executable}\n{says}\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    with pytest.raises(FollowerFailed, match="said what can't be understood: JSONDecodeError"):
        await asyncio.wait_for(Followed(data_directory(tmp_path / "data", 100)).link.start(), 30)
    await asyncio.sleep(0.1)


@pytest.mark.usefixtures("prompt")
async def test_a_follower_that_ends_again_and_again_without_a_word_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than started for ever, with nobody hearing why the exchange does not come up."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(FollowerFailed, match="ended 5 times before it could say how far it is"):
        await asyncio.wait_for(Followed(data_directory(tmp_path / "data", 100)).link.start(), 30)


async def test_a_follower_that_can_not_be_started_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than waited for."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-such-python"))
    followed = Followed(data_directory(tmp_path / "data", 100))
    with pytest.raises(FollowerFailed, match=r"could not be started: .*no-such-python"):
        await asyncio.wait_for(followed.link.start(), 10)


async def test_a_follower_can_be_started_whatever_the_machines_reserve(tmp_path: Path) -> None:
    """They reserve an address space of gigabytes, use little of it, and some systems would refuse to copy it for a new process."""
    machines = [Machine() for _ in range(16)]
    async with following(data_directory(tmp_path / "data", 100)) as followed:
        followed.link.durable(100)
        await followed.settles(100)
    assert {machine.sequence for machine in machines} == {0}


@pytest.mark.usefixtures("prompt")
async def test_the_record_of_another_log_stops_it_and_is_told(tmp_path: Path) -> None:
    data, other = data_directory(tmp_path / "data", 300), data_directory(tmp_path / "other", 200, seed=2)
    settle(other, 200)
    shutil.copy(other.settled, data.settled)
    assert "was settled from another log" in await fault_of(data, 300)


@pytest.mark.usefixtures("prompt")
async def test_a_record_of_a_later_version_stops_it_and_is_told(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data", 300)
    settle(data, 200)
    with contextlib.closing(sqlite3.connect(data.settled)) as connection, connection:
        connection.execute("INSERT INTO schema_version VALUES (1000, 'of the future')")
    before = tables(data.settled)
    assert "SchemaTooNew" in await fault_of(data, 300)
    assert tables(data.settled) == before


@pytest.mark.usefixtures("prompt")
async def test_a_control_file_that_makes_no_sense_stops_it_and_is_told(tmp_path: Path) -> None:
    data = data_directory(tmp_path / "data", 300)
    data.control.write_text("17  # the one of March\nseventeen\n")
    assert "control:2: 'seventeen' is no sequence" in await fault_of(data, 300)


def test_machines_that_agree_attest_the_same() -> None:
    """Otherwise the comparisons above would find differences that are none."""
    one, other = Machine(), Machine()
    commands = list(random_program(5, 400))
    for command in commands:
        one.apply(command)
    other.apply(b"".join(commands))
    assert one.attestation() == other.attestation()
