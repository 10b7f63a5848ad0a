"""
A disk in memory that can lose power, fill up, and fail: the worst that zerosum.log.disk.Disk allows.

    what a process sees (page cache)      content, entries
    what is on the platters               synced content, synced entries
    in between                            the writes and directory operations since the last sync, in order

    power_loss    of each file any of the writes since its sync stay, whole or by sectors, in any combination;
                  of each directory the first few of the operations since its sync
    kill          the process ends, the page cache stays
    a failed sync forgets the writes that it was for: the cache shows them, the platters never get them
"""

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Self

from zerosum.log.errors import LogInUse

SECTOR_BYTES = 512
ZEROS_BYTES = 8  # what is written to a log begins and ends at words
SHORTEST_BYTES = 168  # of what is written to a log: a group without records


@dataclass
class _File:
    content: bytearray = field(default_factory=bytearray)
    synced: bytearray = field(default_factory=bytearray)
    unsynced: list[tuple[int, bytes]] = field(default_factory=list)

    def sync(self) -> None:
        for offset, data in self.unsynced:
            _put(self.synced, offset, data)
        self.unsynced.clear()

    def power_loss(self, rng: Random) -> None:
        for offset, data in _survivors(self.unsynced, rng):
            _put(self.synced, offset, data)
        self.unsynced.clear()
        self.content = bytearray(self.synced)


@dataclass
class _Directory:
    entries: dict[str, "_File | _Directory"] = field(default_factory=dict)
    synced: dict[str, "_File | _Directory"] = field(default_factory=dict)
    unsynced: list[dict[str, "_File | _Directory"]] = field(default_factory=list)  # all entries, after each operation

    def changed(self) -> None:
        self.unsynced.append(dict(self.entries))

    def sync(self) -> None:
        self.synced = dict(self.entries)
        self.unsynced.clear()

    def power_loss(self, rng: Random) -> None:
        self.entries = dict(rng.choice([self.synced, *self.unsynced]))
        self.sync()
        for node in self.entries.values():
            node.power_loss(rng)


@dataclass(frozen=True, eq=False)
class Damage:
    """Bytes of a file that were changed behind everybody's back, in the cache and on the platters."""

    text: str
    at: int
    was: bytes
    now: bytes
    file: _File

    def undo(self) -> None:
        """Put back what was there, unless something else is by now."""
        for content in (self.file.content, self.file.synced):
            if content[self.at : self.at + len(self.now)] == self.now:
                content[self.at : self.at + len(self.was)] = self.was


def _put(target: bytearray, offset: int, data: bytes) -> None:
    if len(target) < offset:
        target.extend(bytes(offset - len(target)))
    target[offset : offset + len(data)] = data


def _survivors(writes: list[tuple[int, bytes]], rng: Random) -> Iterator[tuple[int, bytes]]:
    """What a power loss leaves of `writes`: nothing, all, whole writes, single sectors, or up to somewhere in one of them."""
    how = rng.choice(["none", "all", "writes", "sectors", "cut"])
    cut_at = rng.randrange(len(writes) + 1)
    for number, (offset, data) in enumerate(writes):
        if how == "all" or (how == "writes" and rng.random() < 0.5) or (how == "cut" and number < cut_at):
            yield offset, data
        elif how == "sectors" or (how == "cut" and number == cut_at):
            for sector_offset, sector in _by_sectors(offset, data):
                if rng.random() < 0.5:
                    yield sector_offset, sector


def looks_unwritten(sector: bytes) -> bool:
    """Whether the share that some record has in it may be zeros: where it begins in it, where it ends in it, or all of a short one."""
    return not any(sector[:ZEROS_BYTES]) or not any(sector[-ZEROS_BYTES:]) or bytes(SHORTEST_BYTES) in sector


def _by_sectors(offset: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        size = SECTOR_BYTES - (offset + at) % SECTOR_BYTES
        yield offset + at, data[at : at + size]
        at += size


class SimFile:
    """An open file of it."""

    def __init__(self, disk: "SimDisk", node: _File) -> None:
        self._disk = disk
        self._node = node
        self._boot = disk.boot

    def pread(self, count: int, offset: int) -> bytes:
        self._begin("pread")
        return bytes(self._node.content[offset : offset + count])

    def pwrite(self, data: bytes, offset: int) -> None:
        self._begin("pwrite")
        growth = offset + len(data) - len(self._node.content)
        room = self._disk.room_bytes()
        written = data if growth <= room else data[: max(0, len(data) - (growth - room))]
        _put(self._node.content, offset, written)
        self._node.unsynced.append((offset, bytes(written)))
        if len(written) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def sync(self) -> None:
        try:
            self._begin("sync")
        except OSError:
            self._node.unsynced.clear()
            raise
        if self._disk.sync_works:
            self._node.sync()

    def size(self) -> int:
        self._begin("size")
        return len(self._node.content)

    def close(self) -> None:
        pass

    def _begin(self, operation: str) -> None:
        assert self._boot == self._disk.boot, "a file that was open before the crash"
        self._disk.begin(operation)


class SimLock:
    """A held lock of it."""

    def __init__(self, disk: "SimDisk", path: Path) -> None:
        self._disk = disk
        self._path = path

    def release(self) -> None:
        self._disk.locked.discard(self._path)


class SimDisk:
    """The disk. `sync_works` and `directory_sync_works` make one that lies, to show that a test would notice."""

    def __init__(self, *, sync_works: bool = True, directory_sync_works: bool = True) -> None:
        self.sync_works = sync_works
        self.directory_sync_works = directory_sync_works
        self.capacity_bytes: int | None = None
        self.boot = 0
        self.locked: set[Path] = set()
        self._root = _Directory()
        self._failures: dict[str, tuple[int, OSError]] = {}
        self.before: Callable[[str], None] = lambda operation: None  # called before each operation; what it raises happens

    def power_loss(self, rng: Random) -> None:
        """Everything that is not synced is at the mercy of `rng`. Open files and locks are gone."""
        self._root.power_loss(rng)
        self.kill()

    def kill(self) -> None:
        """The process ends; what it wrote stays in the page cache, synced or not."""
        self.boot += 1
        self.locked.clear()
        self.heal()

    def fail(self, operation: str, error: int, *, after: int = 0) -> None:
        """Let the next `operation` (a method's name) but `after` fail, once."""
        self._failures[operation] = (after, OSError(error, os.strerror(error)))

    def heal(self) -> None:
        """Forget the failures asked for that have not happened."""
        self._failures.clear()

    def begin(self, operation: str) -> None:
        """Called by each operation first."""
        self.before(operation)
        if operation in self._failures:
            after, error = self._failures.pop(operation)
            if after == 0:
                raise error
            self._failures[operation] = (after - 1, error)

    def room_bytes(self) -> int:
        """How much the files may still grow."""
        if self.capacity_bytes is None:
            return 1 << 62
        return self.capacity_bytes - sum(len(file.content) for _, file in self._files(self._root))

    def contents(self) -> dict[str, bytes]:
        """Every file, as a process sees it."""
        return {name: bytes(file.content) for name, file in self._files(self._root)}

    def overwrite(self, path: Path, content: bytes) -> None:
        """Put other bytes in a file's place, in the cache and on the platters: damage, or another's work."""
        parent = self._directory(path.parent)
        parent.entries[path.name] = _File(bytearray(content), bytearray(content))
        parent.sync()

    def damage(self, rng: Random, folder: Path) -> str:
        """What a bad disk does to one of the files in a folder, cache and platters; which, or ''."""
        files = [(name, node) for name, node in sorted(self._entries(folder).items()) if isinstance(node, _File) and len(node.content)]
        if not files:
            return ""
        name, file = rng.choice(files)
        content = file.content
        at = rng.randrange(len(content))
        sector = at - at % SECTOR_BYTES
        how = rng.choice(("a bit flipped", "cut short", "a sector of zeros", "a sector written elsewhere"))
        if how == "a bit flipped":
            content[at] ^= 1 << rng.randrange(8)
        elif how == "cut short":
            del content[at:]
        elif how == "a sector of zeros":
            content[sector : sector + SECTOR_BYTES] = bytes(len(content[sector : sector + SECTOR_BYTES]))
        else:
            other = rng.randrange(0, len(content), SECTOR_BYTES)
            size = min(len(content[sector : sector + SECTOR_BYTES]), len(content[other : other + SECTOR_BYTES]))
            content[sector : sector + size] = content[other : other + size]
        file.synced = bytearray(content)
        file.unsynced.clear()
        return f"{name}: {how} at {at}"

    def damage_in_place(self, rng: Random, path: Path, *, zeros: bool) -> Damage | None:
        """
        In the part of a file that was written: a bit flips, a sector has another's content, or zeros if `zeros`. None where that changes
        nothing, or would be as good as zeros.
        """
        file = self._directory(path.parent).entries[path.name]
        assert isinstance(file, _File)
        content = file.content
        written = len(content.rstrip(b"\0"))
        if written == 0:
            return None
        at = rng.randrange(written)
        how = rng.choice(("a bit flipped", "another sector's content", *(("zeros",) if zeros else ())))
        if how == "a bit flipped":
            was, now = bytes(content[at : at + 1]), bytes([content[at] ^ 1 << rng.randrange(8)])
        else:
            at -= at % SECTOR_BYTES
            was = bytes(content[at : at + SECTOR_BYTES])
            other = rng.randrange(0, written, SECTOR_BYTES)
            now = bytes(len(was)) if how == "zeros" else bytes(content[other : other + len(was)])
        if was == now or len(was) != len(now) or (not zeros and looks_unwritten(now)):
            return None
        content[at : at + len(now)] = now
        _put(file.synced, at, now)
        return Damage(f"{path.name}: {how} at {at}", at, was, now, file)

    def _entries(self, folder: Path) -> dict[str, "_File | _Directory"]:
        try:
            return self._directory(folder).entries
        except FileNotFoundError:
            return {}

    def copy(self) -> Self:
        """Another disk with the same content, all of it synced, and nothing open."""
        other = type(self)()
        for name, content in self.contents().items():
            path = Path("/") / name
            other.make_directory(path.parent)
            other.overwrite(path, content)
        return other

    def make_directory(self, path: Path) -> None:
        self.begin("make_directory")
        node = self._root
        for part in path.parts[1:]:
            if part not in node.entries:
                node.entries[part] = _Directory()
                node.sync()
            child = node.entries[part]
            if not isinstance(child, _Directory):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
            node = child

    def names(self, directory: Path) -> list[str]:
        self.begin("names")
        return sorted(self._directory(directory).entries)

    def create(self, path: Path) -> SimFile:
        self.begin("create")
        parent = self._directory(path.parent)
        if path.name in parent.entries:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        if self.room_bytes() <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        node = _File()
        parent.entries[path.name] = node
        parent.changed()
        return SimFile(self, node)

    def open(self, path: Path, *, writable: bool = False) -> SimFile:
        self.begin("open")
        node = self._directory(path.parent).entries.get(path.name)
        if not isinstance(node, _File):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return SimFile(self, node)

    def rename(self, old: Path, new: Path) -> None:
        self.begin("rename")
        assert old.parent == new.parent, "within one directory"
        parent = self._directory(old.parent)
        if old.name not in parent.entries:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(old))
        parent.entries[new.name] = parent.entries.pop(old.name)
        parent.changed()

    def unlink(self, path: Path) -> None:
        self.begin("unlink")
        parent = self._directory(path.parent)
        if path.name not in parent.entries:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        del parent.entries[path.name]
        parent.changed()

    def sync_directory(self, path: Path) -> None:
        self.begin("sync_directory")
        if self.directory_sync_works:
            self._directory(path).sync()

    def lock(self, path: Path) -> SimLock:
        self.begin("lock")
        if path in self.locked:
            raise LogInUse(path.parent, os.getpid())
        parent = self._directory(path.parent)
        if path.name not in parent.entries:
            parent.entries[path.name] = _File()
            parent.changed()
        self.locked.add(path)
        return SimLock(self, path)

    def _directory(self, path: Path) -> _Directory:
        node: _File | _Directory = self._root
        for part in path.parts[1:]:
            if not isinstance(node, _Directory) or part not in node.entries:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
            node = node.entries[part]
        assert isinstance(node, _Directory)
        return node

    def _files(self, directory: _Directory, above: str = "") -> Iterator[tuple[str, _File]]:
        for name, node in sorted(directory.entries.items()):
            if isinstance(node, _File):
                yield above + name, node
            else:
                yield from self._files(node, f"{above}{name}/")
