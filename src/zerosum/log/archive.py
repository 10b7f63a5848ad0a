"""
A log together with the segments that were archived out of it: for reading the whole of what is kept.
"""

from pathlib import Path

from zerosum.log.disk import OsDisk, OsFile


class ArchiveDisk(OsDisk):
    """The operating system's, with the files of `archive` seen in `log` too, unless it has such a file itself."""

    def __init__(self, log: Path, archive: Path) -> None:
        self._log = log
        self._archive = archive

    def names(self, directory: Path) -> list[str]:
        own = super().names(directory)
        if directory != self._log or not self._archive.is_dir():
            return own
        return sorted({*own, *super().names(self._archive)})

    def open(self, path: Path, *, writable: bool = False) -> OsFile:
        if path.parent != self._log or path.exists():
            return super().open(path, writable=writable)
        return super().open(self._archive / path.name, writable=writable)
