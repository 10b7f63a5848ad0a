"""SnapshotStore: whole or refused, newest first, and never in the way of the ones before."""

import errno
import hashlib
import struct
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from zerosum.log.errors import DiskFull, SnapshotDamaged, SnapshotFailed, SnapshotTooNew
from zerosum.log.snapshots import FORMAT, Snapshot, SnapshotStore
from zerosum.sim.disk import SimDisk

FOLDER = Path("/snapshots")
META: dict[str, int | str] = {"core_version": 3, "state_hash": "é0ff", "supply": 1 << 80}


def sections(sequence: int) -> dict[str, bytes]:
    return {"orders": bytes([sequence]) * 700, "levels": b"", "höld": Random(sequence).randbytes(3000)}


@pytest.fixture
def disk() -> SimDisk:
    return SimDisk()


@pytest.fixture
def store(disk: SimDisk) -> SnapshotStore:
    return SnapshotStore(FOLDER, disk=disk)


def write(store: SnapshotStore, sequence: int) -> Path:
    return store.write(sequence, META, sections(sequence).items())


def change(disk: SimDisk, path: Path, content: bytes) -> None:
    disk.overwrite(path, content)


def content_of(disk: SimDisk, path: Path) -> bytes:
    return disk.contents()[str(path)[1:]]


def test_what_is_written_is_loaded(tmp_path: Path) -> None:
    """On a real disk."""
    store = SnapshotStore(tmp_path / "new")
    path = write(store, 7)
    assert path == tmp_path / "new" / "00000000000000000007.snap"
    assert store.load(path) == Snapshot(7, META, sections(7))
    assert list((tmp_path / "new").iterdir()) == [path]


def test_sections_are_taken_one_by_one(store: SnapshotStore, disk: SimDisk) -> None:
    """So that a snapshot needs the memory of its largest section, not of all."""
    sizes = []

    def produce() -> Iterator[tuple[str, bytes]]:
        for number in range(3):
            sizes.append(sum(map(len, disk.contents().values())))
            yield f"part {number}", bytes(1000)

    store.write(1, {}, produce())
    assert sizes[1] > 1000
    assert sizes[2] > 2000


def test_a_section_given_twice_is_a_bug(store: SnapshotStore) -> None:
    with pytest.raises(AssertionError, match="once"):
        store.write(1, {}, [("a", b"1"), ("a", b"2")])


def test_newest_is_the_highest_sequence_at_or_before_the_bound(store: SnapshotStore) -> None:
    assert store.newest() == (None, [])
    for sequence in (5, 30, 7):
        write(store, sequence)
    for at_most, expected in ((None, 30), (30, 30), (29, 7), (5, 5), (4, None)):
        found, passed_over = store.newest(at_most=at_most)
        assert (found.sequence if found else None, passed_over) == (expected, [])


def test_damaged_ones_are_passed_over_and_named(store: SnapshotStore, disk: SimDisk) -> None:
    paths = [write(store, sequence) for sequence in (1, 2, 3)]
    damaged = bytearray(content_of(disk, paths[2]))
    damaged[500] ^= 1
    change(disk, paths[2], bytes(damaged))
    change(disk, paths[1], content_of(disk, paths[1])[:-1])
    found, passed_over = store.newest()
    assert found == Snapshot(1, META, sections(1))
    assert [one.path for one in passed_over] == [paths[2], paths[1]]
    assert "b'orders' does not match its digest" in passed_over[0].why
    assert "ends at byte" in passed_over[1].why


def test_each_flipped_byte_and_each_cut_is_noticed(store: SnapshotStore, disk: SimDisk) -> None:
    path = store.write(3, {"k": 1}, [("a", b"some content"), ("b", b"more")])
    whole = content_of(disk, path)
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        change(disk, path, bytes(flipped))
        with pytest.raises(SnapshotDamaged):
            store.load(path)
        change(disk, path, whole[:place])
        with pytest.raises(SnapshotDamaged):
            store.load(path)
    change(disk, path, whole + b"\0")
    with pytest.raises(SnapshotDamaged, match="bytes follow"):
        store.load(path)


def test_a_section_cut_out_whole_is_noticed(store: SnapshotStore, disk: SimDisk) -> None:
    path = store.write(3, {}, [("a", b"1" * 100), ("b", b"2" * 100)])
    whole = content_of(disk, path)
    first, second = (whole.index(tag) for tag in (b"SECT", b"DONE"))
    half = (second - first) // 2
    change(disk, path, whole[: first + half] + whole[second:])
    with pytest.raises(SnapshotDamaged):
        store.load(path)


def test_a_snapshot_under_anothers_name_is_damaged(store: SnapshotStore, disk: SimDisk) -> None:
    path = write(store, 3)
    disk.rename(path, path.with_name("00000000000000000009.snap"))
    found, passed_over = store.newest()
    assert found is None
    assert "holds sequence 3" in passed_over[0].why


def test_a_later_format_is_refused_not_passed_over(store: SnapshotStore, disk: SimDisk) -> None:
    """Starting from an older snapshot, with an older program, must be the operator's own wish."""
    write(store, 1)
    path = write(store, 2)
    header = b"ZSSN" + struct.pack("<HH", FORMAT + 1, 80) + bytes(40)
    change(disk, path, header + hashlib.sha256(header).digest() + b"whatever comes in that version")
    with pytest.raises(SnapshotTooNew, match=f"format {FORMAT + 1}"):
        store.newest()
    found, _ = store.newest(at_most=1)
    assert found is not None


def test_only_the_last_few_are_kept(store: SnapshotStore) -> None:
    for sequence in range(1, 6):
        write(store, sequence)
    assert store.keep(2, up_to=10**6) == [f"{sequence:020d}.snap" for sequence in (1, 2, 3)]
    assert store.sequences() == [4, 5]
    assert store.keep(2, up_to=10**6) == []


@pytest.mark.parametrize("operation", ["create", "pwrite", "sync", "rename"])
def test_a_failed_write_leaves_the_others_and_can_be_repeated(store: SnapshotStore, disk: SimDisk, operation: str) -> None:
    write(store, 1)
    disk.fail(operation, errno.EIO)
    with pytest.raises(SnapshotFailed, match="00000000000000000002"):
        write(store, 2)
    assert store.sequences() == [1]
    write(store, 2)
    found, _ = store.newest()
    assert found == Snapshot(2, META, sections(2))
    assert disk.names(FOLDER) == ["00000000000000000001.snap", "00000000000000000002.snap"]


def test_a_full_disk_leaves_nothing_behind(store: SnapshotStore, disk: SimDisk) -> None:
    write(store, 1)
    before = disk.contents()
    disk.capacity_bytes = sum(map(len, before.values())) + 2000
    with pytest.raises(DiskFull):
        write(store, 2)
    assert disk.contents() == before


def test_a_place_that_the_disk_cannot_read_is_damage(store: SnapshotStore, disk: SimDisk) -> None:
    write(store, 1)
    write(store, 2)
    disk.fail("pread", errno.EIO, after=5)
    found, passed_over = store.newest()
    assert found is not None
    assert found.sequence == 1
    assert "cannot read it" in passed_over[0].why


def test_snapshots_survive_power_loss_whole_or_not_at_all() -> None:
    """And one that was found once, after whatever crash, is there for good: the log may be pruned behind it."""
    for seed in range(150):
        rng = Random(seed)
        disk = SimDisk()
        store = SnapshotStore(FOLDER, disk=disk)
        safe = 0
        for sequence in range(1, 8):
            if rng.random() < 0.4:
                disk.fail(rng.choice(["create", "pwrite", "sync", "rename", "sync_directory"]), errno.EIO, after=rng.randrange(3))
            try:
                write(store, sequence)
                safe = sequence
            except SnapshotFailed:
                disk.kill()
            if rng.random() < 0.5:
                disk.power_loss(rng)
            disk.heal()
            found, passed_over = store.newest()
            assert not passed_over
            assert (found.sequence if found else 0) >= safe
            if found:
                assert found == Snapshot(found.sequence, META, sections(found.sequence))
                safe = found.sequence
                store.keep(2, up_to=10**6)
