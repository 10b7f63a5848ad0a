"""
Snapshots: a machine's state at a sequence, as named sections of bytes, each verified before it is used.

    header | meta (JSON) | section: header, name, content | section | ... | trailer

    written to *.snap.tmp, synced, renamed to <sequence, 20 digits>.snap, directory synced: a *.snap is whole or damaged later

Always true:
  - each section's header holds the SHA-256 of its content; the trailer's covers everything else, so each byte is hashed once
  - what is returned was verified from the first byte to the last
  - a snapshot in a later format is refused, never passed over as if it were damaged
docs/internals/log-format.md has the tables.
"""

import hashlib
import json
import re
import struct
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple, final

from zerosum.log.disk import Disk, DiskFile, OsDisk, is_full
from zerosum.log.errors import DiskFull, SnapshotDamaged, SnapshotFailed, SnapshotTooNew

FORMAT: Final = 1

_HEADER: Final = struct.Struct("<8sqQ")
_PREFIX: Final = struct.Struct("<4sHH")
_MAGIC: Final = b"ZSSN"
_DIGEST_BYTES: Final = 32
_HEADER_BYTES: Final = _HEADER.size + _DIGEST_BYTES
_HEADER_PREFIX: Final = _MAGIC + struct.pack("<HH", FORMAT, _HEADER_BYTES)
_SECTION: Final = struct.Struct("<4sIQ32s")
_SECTION_TAG: Final = b"SECT"
_TRAILER_TAG: Final = b"DONE"
_SNAPSHOT_NAME: Final = re.compile(r"\d{20}\.snap")


class Snapshot(NamedTuple):
    """A state after the input `sequence`."""

    sequence: int
    meta: dict[str, int | str]
    sections: dict[str, bytes]


class PassedOver(NamedTuple):
    """A newer snapshot that could not be used."""

    path: Path
    why: str


@final
class SnapshotStore:
    """A folder of snapshots. One process writes; others may read meanwhile."""

    def __init__(self, folder: Path, *, disk: Disk | None = None) -> None:
        self._folder = folder
        self._disk = disk if disk is not None else OsDisk()

    def write(self, sequence: int, meta: Mapping[str, int | str], sections: Iterable[tuple[str, bytes]]) -> Path:
        """
        Write the state after `sequence`, durably; a snapshot of the same sequence is replaced. Sections are taken one by one.

        DiskFull or SnapshotFailed leave the other snapshots as they are.
        """
        path = self._folder / _name(sequence)
        unfinished = path.with_name(path.name + ".tmp")
        try:
            self._disk.make_directory(self._folder)
            self._remove_unfinished()
            with closing(self._disk.create(unfinished)) as file:
                _write(file, sequence, meta, sections)
                file.sync()
            self._disk.rename(unfinished, path)
            self._disk.sync_directory(self._folder)
        except OSError as error:
            if is_full(error):
                self._remove_unfinished()
                raise DiskFull(path) from error
            raise SnapshotFailed(f"{path}: could not be written: {error}. Look after the disk; earlier snapshots are untouched.") from error
        return path

    def newest(self, *, at_most: int | None = None) -> tuple[Snapshot | None, list[PassedOver]]:
        """
        The newest snapshot that verifies (at `at_most` or before), and each newer one that does not, with the reason.

        SnapshotTooNew when the program that wrote it was a later one; SnapshotFailed when the disk refuses.
        """
        sequences = self.sequences()
        if sequences:
            # A crash may have come between a snapshot's renaming and the sync of it: what is found here is to stay.
            try:
                self._disk.sync_directory(self._folder)
            except OSError as error:
                raise SnapshotFailed(f"{self._folder}: it could not be synced: {error}. Look after the disk.") from error
        passed_over: list[PassedOver] = []
        for sequence in reversed(sequences):
            if at_most is not None and sequence > at_most:
                continue
            path = self._folder / _name(sequence)
            try:
                return self.load(path), passed_over
            except SnapshotDamaged as error:
                passed_over.append(PassedOver(path, error.why))
        return None, passed_over

    def load(self, path: Path) -> Snapshot:
        """The whole snapshot, verified. SnapshotDamaged, SnapshotTooNew."""
        try:
            with closing(self._disk.open(path)) as file:
                snapshot = _Loader(path, file).load()
        except OSError as error:
            raise SnapshotDamaged(path, f"the disk cannot read it ({error.strerror})") from error
        if path.name != _name(snapshot.sequence):
            raise SnapshotDamaged(path, f"it holds sequence {snapshot.sequence}, not the one in its name")
        return snapshot

    def remove(self, path: Path) -> None:
        """One that can't be read back. SnapshotFailed when the disk refuses."""
        try:
            self._disk.unlink(path)
            self._disk.sync_directory(self._folder)
        except OSError as error:
            raise SnapshotFailed(f"{path}: it is damaged, and could not be removed: {error}. Look after the disk.") from error

    def keep(self, count: int, *, up_to: int, needed_at: int | None = None) -> list[str]:
        """
        Of those up to a sequence remove all but the last `count`, oldest first; their names. Later ones are another's, or of a future that
        may not come: they are left alone. The newest that is of `needed_at` or before stays, too. SnapshotFailed when the disk refuses.
        """
        assert count > 0, "the newest snapshot is always kept"
        there = [sequence for sequence in self.sequences() if sequence <= up_to]
        needed = max([sequence for sequence in there if needed_at is not None and sequence <= needed_at], default=None)
        removed = []
        try:
            for sequence in there[:-count]:
                if sequence == needed:
                    continue
                name = _name(sequence)
                self._disk.unlink(self._folder / name)
                removed.append(name)
            if removed:
                self._disk.sync_directory(self._folder)
        except OSError as error:
            raise SnapshotFailed(f"{self._folder}: old snapshots could not be removed: {error}. Look after the disk.") from error
        return removed

    def sequences(self) -> list[int]:
        """The sequence of each snapshot there is, verified or not, ascending."""
        try:
            names = self._disk.names(self._folder)
        except FileNotFoundError:
            return []
        return [int(name[:20]) for name in names if _SNAPSHOT_NAME.fullmatch(name)]

    def _remove_unfinished(self) -> None:
        for name in self._disk.names(self._folder):
            if name.endswith(".snap.tmp"):
                self._disk.unlink(self._folder / name)


def _name(sequence: int) -> str:
    return f"{sequence:020d}.snap"


def _write(file: DiskFile, sequence: int, meta: Mapping[str, int | str], sections: Iterable[tuple[str, bytes]]) -> None:
    meta_json = json.dumps(dict(meta), sort_keys=True, separators=(",", ":")).encode()
    fields = _HEADER.pack(_HEADER_PREFIX, sequence, len(meta_json))
    header = fields + hashlib.sha256(fields).digest() + meta_json
    file.pwrite(header, 0)
    whole = hashlib.sha256(header)
    offset = len(header)
    names: set[str] = set()
    for name, content in sections:
        assert name not in names, "a section's name is given once"
        names.add(name)
        encoded = name.encode()
        section = _SECTION.pack(_SECTION_TAG, len(encoded), len(content), hashlib.sha256(content).digest()) + encoded
        whole.update(section)
        file.pwrite(section, offset)
        offset += len(section)
        file.pwrite(content, offset)
        offset += len(content)
    unhashed = _SECTION.pack(_TRAILER_TAG, len(names), offset + _SECTION.size, bytes(_DIGEST_BYTES))
    whole.update(unhashed[:-_DIGEST_BYTES])
    file.pwrite(unhashed[:-_DIGEST_BYTES] + whole.digest(), offset)


@final
class _Loader:
    """Reads one snapshot from its beginning to its end."""

    def __init__(self, path: Path, file: DiskFile) -> None:
        self._path = path
        self._file = file
        self._size = file.size()
        self._offset = 0
        self._whole = hashlib.sha256()

    def load(self) -> Snapshot:
        fields = self._take(_HEADER.size, "header")
        self._refuse_newer(fields)
        prefix, sequence, meta_bytes = _HEADER.unpack(fields)
        self._require(prefix == _HEADER_PREFIX, "no snapshot header")
        digest = self._take(_DIGEST_BYTES, "header")
        self._require(hashlib.sha256(fields).digest() == digest, "the header does not match its digest")
        meta_json = self._take(meta_bytes, "meta")
        sections: dict[str, bytes] = {}
        while True:
            tag, name_bytes, content_bytes, digest = _SECTION.unpack(self._take(_SECTION.size, "section header", hashed=False))
            head = _SECTION.pack(tag, name_bytes, content_bytes, digest)
            if tag == _TRAILER_TAG:
                break
            self._require(tag == _SECTION_TAG, f"no section header at offset {self._offset - _SECTION.size}")
            self._whole.update(head)
            name = self._take(name_bytes, "section name")
            content = self._take(content_bytes, f"section {name!r}", hashed=False)
            self._require(hashlib.sha256(content).digest() == digest, f"section {name!r} does not match its digest")
            sections[name.decode("utf-8", "replace")] = content
        self._whole.update(head[:-_DIGEST_BYTES])
        self._require(self._whole.digest() == digest, "headers and names do not match the digest of the whole")
        self._require((name_bytes, content_bytes) == (len(sections), self._size), "sections are missing, or bytes follow the trailer")
        return Snapshot(sequence, json.loads(meta_json), sections)

    def _take(self, count: int, what: str, *, hashed: bool = True) -> bytes:
        self._require(self._offset + count <= self._size, f"it ends at byte {self._size}, in the {what}")
        data = self._file.pread(count, self._offset)
        self._offset += count
        if hashed:
            self._whole.update(data)
        return data

    def _refuse_newer(self, fields: bytes) -> None:
        magic, found, header_bytes = _PREFIX.unpack_from(fields)
        if magic != _MAGIC or found <= FORMAT or not len(fields) + _DIGEST_BYTES <= header_bytes <= self._size:
            return
        # In every format the header's digest stands last in it: a flipped bit is not taken for a later version.
        header = self._file.pread(header_bytes, 0)
        if hashlib.sha256(header[:-_DIGEST_BYTES]).digest() == header[-_DIGEST_BYTES:]:
            raise SnapshotTooNew(self._path, found=found, known=FORMAT)

    def _require(self, holds: bool, otherwise: str) -> None:
        if not holds:
            raise SnapshotDamaged(self._path, otherwise)
