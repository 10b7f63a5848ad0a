"""The snapshots of one copy of a role."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from zerosum.services.cluster import role_snapshots
from zerosum.services.cluster.role_snapshots import NotOfThisRole, RoleSnapshots, SnapshotSettings
from zerosum.sim.disk import SimDisk

FOLDER = Path("/snapshots")


class Snapshots:
    """Of a role, on a disk; `said` is what it reported."""

    def __init__(self, disk: SimDisk, role: str = "ubscore.1", every: int = 10, keep: int = 2) -> None:
        self.said: list[str] = []
        self.of_role = RoleSnapshots(role, SnapshotSettings(FOLDER, every, keep), disk, self.said.append)


def state(number: int) -> list[tuple[str, bytes]]:
    return [("state", b"%d" % number)]


def test_taken_when_enough_has_come_and_the_oldest_let_go() -> None:
    snapshots = Snapshots(SimDisk()).of_role
    for offset in range(1, 41):
        if snapshots.is_due(offset):
            snapshots.take(offset, state(offset), out_up_to=offset)
    assert snapshots.newest(at_most=29) is None
    newest = snapshots.newest()
    assert newest is not None
    assert newest.sequence == 40
    assert newest.sections == {"state": b"40"}


def test_the_newest_at_most_that_far() -> None:
    snapshots = Snapshots(SimDisk(), keep=9).of_role
    for offset in (10, 20, 30):
        snapshots.take(offset, state(offset), out_up_to=offset)
    found = [snapshots.newest(at_most=at_most) for at_most in (9, 10, 29, 30)]
    assert [each and each.sequence for each in found] == [None, 10, 20, 30]


def test_one_that_can_be_gone_on_from_is_always_kept() -> None:
    """Nothing comes out any more, and the machine goes on."""
    snapshots = Snapshots(SimDisk(), keep=1).of_role
    for offset in (10, 20, 30, 40):
        snapshots.take(offset, state(offset), out_up_to=min(offset, 25))
    found = [snapshots.newest(at_most=at_most) for at_most in (25, 40)]
    assert [each and each.sequence for each in found] == [20, 40]


def test_those_of_a_future_that_may_not_come_are_no_reason_to_let_go_of_others() -> None:
    """They were taken before a restart from an earlier one, or by another version of the program."""
    snapshots = Snapshots(SimDisk()).of_role
    for offset in (90, 120, 140):
        snapshots.take(offset, state(offset), out_up_to=90)
    for offset in (100, 110):
        snapshots.take(offset, state(offset), out_up_to=90)
    found = [snapshots.newest(at_most=at_most) for at_most in (95, 105, 115, 200)]
    assert [each and each.sequence for each in found] == [90, 100, 110, 140]


def test_a_damaged_one_is_passed_over_and_reported() -> None:
    disk = SimDisk()
    snapshots = Snapshots(disk)
    for offset in (10, 20):
        snapshots.of_role.take(offset, state(offset), out_up_to=offset)
    name = max(name for name in disk.contents() if name.startswith("snapshots/"))
    disk.overwrite(Path("/") / name, b"\0" * 100)
    newest = snapshots.of_role.newest()
    assert newest is not None
    assert newest.sequence == 10
    assert "20.snap is passed over" in snapshots.said[0]


def test_a_full_disk_costs_the_new_one_and_not_the_old() -> None:
    disk = SimDisk()
    snapshots = Snapshots(disk)
    snapshots.of_role.take(10, state(10), out_up_to=10)
    disk.fail("pwrite", errno.ENOSPC)
    snapshots.of_role.take(20, state(20), out_up_to=20)
    newest = snapshots.of_role.newest()
    assert newest is not None
    assert newest.sequence == 10
    assert "no snapshot before message 20" in snapshots.said[0]


def test_one_of_another_role_is_refused() -> None:
    disk = SimDisk()
    Snapshots(disk, "ubscore.2").of_role.take(10, state(10), out_up_to=10)
    with pytest.raises(NotOfThisRole, match=r"a snapshot of ubscore\.2; this is ubscore\.1"):
        Snapshots(disk).of_role.newest()


def test_what_is_said_of_it_comes_back() -> None:
    disk = SimDisk()
    Snapshots(disk).of_role.take(10, state(10), out_up_to=10, sequence=77, passed_over="1 2")
    newest = Snapshots(disk).of_role.newest()
    assert newest is not None
    assert (newest.meta["sequence"], newest.meta["passed_over"]) == (77, "1 2")


@pytest.mark.parametrize(("of_format", "used"), [(0, False), (1, True), (2, None)])
def test_states_of_other_versions(of_format: int, used: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an earlier one: not used. Of a later one: refused, for who went on without it would lose what only it has."""
    disk = SimDisk()
    monkeypatch.setattr(role_snapshots, "STATE_FORMAT", of_format)
    Snapshots(disk).of_role.take(10, state(10), out_up_to=10)
    monkeypatch.setattr(role_snapshots, "STATE_FORMAT", 1)
    if used is None:
        with pytest.raises(NotOfThisRole, match="state format 2; this program knows 1"):
            Snapshots(disk).of_role.newest()
    else:
        assert (Snapshots(disk).of_role.newest() is not None) == used
