"""
Identities as they are used: records with fields, sealed before they are stored, opened when they are read.

    Kind[T]   which records, and their form          Held[T]   a record and its version: what it is replaced by

Whoever writes to the file or the database makes no record that opens here, nor moves one to another place: that takes the master key.
They can take records away, or put back what stood at the same place earlier.

Always true: a record that does not open is none, and is told in the log by the beginning of its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, Generic, NamedTuple, TypeVar, final

import msgspec

from zerosum.identity.documents import CONSOLES, Changed, Changes, Documents, Stored
from zerosum.identity.sealing import MasterKey, MasterKeyError, Unopened
from zerosum.net.sparing_log import SparingLog

SHOWN_CHARS: Final = 8  # of a name, in the log: enough to find it in a list, and no use to anybody else
TRIES: Final = 20  # of a change that somebody else is always faster than
MASTER: Final = ("master", "", "check")
CHECK_TEXT: Final = b"zerosum identities, 1"

T = TypeVar("T", bound=msgspec.Struct)

_log: Final = SparingLog("identity")


class Kind(Generic[T]):
    """Of records: their name in the store, and their form. Fields that a later version adds have defaults."""

    __slots__ = ("form", "name")

    def __init__(self, name: str, form: type[T]) -> None:
        self.name = name
        self.form = form

    @property
    def noun(self) -> str:
        """What one is called, where it is spoken of."""
        return self.name.removeprefix(CONSOLES)


class Held(NamedTuple, Generic[T]):
    owner: str
    name: str
    version: int
    record: T


@final
class Vault:
    """`Changed` and DocumentsFailed come through as they are. MasterKeyError where what is there is sealed with another key."""

    def __init__(self, documents: Documents, master_key: MasterKey) -> None:
        self.documents = documents
        self._key = master_key
        self._check_master_key()

    @property
    def where(self) -> str:
        return self.documents.where

    def close(self) -> None:
        self.documents.close()

    # ------------------------------------------------------------------ records

    def get(self, kind: Kind[T], owner: str, name: str = "") -> Held[T] | None:
        stored = self.documents.get(kind.name, owner, name)
        return self._opened(kind, stored) if stored is not None else None

    def put(self, kind: Kind[T], owner: str, name: str, record: T, version: int = 0, *, lives_s: int = 0) -> Held[T]:
        """Changed, unless it is of that version, 0 for one that is not there."""
        body = self._key.seal(msgspec.msgpack.encode(record), place(kind.name, owner, name, version + 1))
        self.documents.put(kind.name, owner, name, body, version, lives_s=lives_s)
        return Held(owner, name, version + 1, record)

    def change(self, kind: Kind[T], owner: str, name: str, changed: Callable[[T], T]) -> Held[T] | None:
        """Replace a record by what `changed` makes of it, which may be called again where somebody else was faster. None: there is none."""
        for _ in range(TRIES):
            held = self.get(kind, owner, name)
            if held is None:
                return None
            record = changed(held.record)
            if record is held.record:
                return held
            try:
                return self.put(kind, owner, name, record, held.version)
            except Changed:
                continue
        raise Changed

    def remove(self, kind: Kind[T], owner: str, name: str) -> None:
        self.documents.remove(kind.name, owner, name)

    def of_owner(self, kind: Kind[T], owner: str) -> list[Held[T]]:
        return list(self._all_opened(kind, self.documents.of_owner(kind.name, owner)))

    def every(self, kind: Kind[T]) -> list[Held[T]]:
        return list(self._all_opened(kind, self.documents.every(kind.name)))

    def changes(self, kind: Kind[T], mark: int) -> Changes:
        return self.documents.changes(kind.name, mark)

    def fault(self) -> str | None:
        return self.documents.fault()

    # ------------------------------------------------------------------ the master key

    def use(self, master_key: MasterKey) -> None:
        """From here on. MasterKeyError, and nothing has changed, where it does not open what is there."""
        before, self._key = self._key, master_key
        try:
            self._check_master_key()
        except MasterKeyError:
            self._key = before
            raise

    def reseal(self, kind: Kind[T]) -> int:
        """Seal with the first key what is sealed with another; how many records that were."""
        done = 0
        for stored in self.documents.every(kind.name):
            if self._key.is_current(stored.body):
                continue
            held = self._opened(kind, stored)
            while held is not None:
                try:
                    self.put(kind, held.owner, held.name, held.record, held.version)
                    done += 1
                    break
                except Changed:
                    held = self.get(kind, held.owner, held.name)
        return done

    def sealed_otherwise(self, kinds: Iterable[str]) -> int:
        """How many records of these kinds, and of the check, are sealed with another than the first key."""
        stored = [each for kind in (*kinds, MASTER[0]) for each in self.documents.every(kind)]
        return sum(not self._key.is_current(each.body) for each in stored)

    def reseal_check(self) -> None:
        """The record by which a wrong master key is noticed: the last to be sealed anew."""
        stored = self.documents.get(*MASTER)
        assert stored is not None, "it was made when this was opened"
        if not self._key.is_current(stored.body):
            self.documents.put(*MASTER, self._key.seal(CHECK_TEXT, place(*MASTER, stored.version + 1)), stored.version)

    def _check_master_key(self) -> None:
        stored = self.documents.get(*MASTER)
        if stored is None:  # a new store, unless another process has been here since
            try:
                self.documents.put(*MASTER, self._key.seal(CHECK_TEXT, place(*MASTER, 1)), 0)
            except Changed:
                stored = self.documents.get(*MASTER)
        if stored is None:
            return
        try:
            self._key.open(stored.body, place(*MASTER, stored.version))
        except Unopened as error:
            raise MasterKeyError(
                f"{self.where} was written with another master key than {self._key.tags}. Give the one that it was made with."
            ) from error

    # ------------------------------------------------------------------ opening

    def _opened(self, kind: Kind[T], stored: Stored) -> Held[T] | None:
        try:
            text = self._key.open(stored.body, place(kind.name, stored.owner, stored.name, stored.version))
            return Held(stored.owner, stored.name, stored.version, msgspec.msgpack.decode(text, type=kind.form))
        except (Unopened, msgspec.DecodeError):
            _log.error(
                "identity.tampered", kind=kind.name, begins_with=(stored.name or stored.owner)[:SHOWN_CHARS], where=self.where,
                advice="refused: revoke it, and find out who can write there",
            )  # fmt: skip
            return None

    def _all_opened(self, kind: Kind[T], all_stored: list[Stored]) -> Iterator[Held[T]]:
        for stored in all_stored:
            held = self._opened(kind, stored)
            if held is not None:
                yield held


def place(kind: str, owner: str, name: str, version: int) -> bytes:
    """What a sealed record is bound to: no two places are written alike."""
    return msgspec.json.encode([kind, owner, name, version])
