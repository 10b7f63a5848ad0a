"""
The account of what was done: append-only, each entry with the hash of the one before. There are two: of what operators and the venue's own
programs did, which the console alone can write, and of what users did.

    entry 1 <--hash-- entry 2 <--hash-- entry 3          an action is written down before it is done, and its outcome after

Entries are sealed like every record, so that whoever can write to the store can't write one; what they can do is take the last ones away.
So each entry's number and hash also go to the process's log, which is kept elsewhere: `verify` is told the last that is known from there.

Always true: numbers are dense from 1; two who append at a time do not get the same number; an entry that can't be written down stops what
it is about.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, Final, NamedTuple, final

import msgspec
import structlog

from zerosum.errors import ZerosumError
from zerosum.identity.documents import Changed, DocumentsFailed
from zerosum.identity.vault import Kind, Vault

PAGE: Final = 1_000  # entries of one owner in the store
DIGITS: Final = 12
TRIES: Final = 100
FIRST: Final = "0" * 64
DETAIL_CHARS_MAX: Final = 4_096

_log: Final = structlog.get_logger("trail")


class TrailBroken(ZerosumError):
    """An entry is missing or was changed: the text says which."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """`by`: an operator's name, or "machine" for who has the data directory itself. `about`: what it was done to. `detail`: JSON."""

    number: int
    time_us: int
    by: str
    client: str
    action: str
    about: str
    detail: str
    outcome: str
    before: str

    def hash(self) -> str:
        fields = [self.number, self.time_us, self.by, self.client, self.action, self.about, self.detail, self.outcome, self.before]
        return sha256(json.dumps(fields, ensure_ascii=True).encode()).hexdigest()


OPERATORS_TRAIL: Final = Kind("console.trail", Entry)
USERS_TRAIL: Final = Kind("user-trail", Entry)


Tell = Callable[[str, Entry, str], None]


class Written(NamedTuple):
    number: int
    hash: str


@final
class Trail:
    """`tell`: to be called with each entry that is written here: of which trail, and its hash."""

    def __init__(self, vault: Vault, kind: Kind[Entry], tell: Tell = lambda trail, entry, digest: None) -> None:
        self._vault = vault
        self._kind = kind
        self._tell = tell
        self._last = Written(0, FIRST)  # that is known here; others may have written more

    def append(
        self, *, by: str, action: str, about: str = "", detail: dict[str, Any] | None = None, outcome: str = "begun", client: str = ""
    ) -> Written:
        """Returns once it is stored. DocumentsFailed: what it is about is not to be done."""
        text = json.dumps(detail or {}, sort_keys=True)
        if len(text) > DETAIL_CHARS_MAX:
            text = json.dumps({"shortened": text[:DETAIL_CHARS_MAX]})
        for _ in range(TRIES):
            last = self.last()
            entry = Entry(
                number=last.number + 1, time_us=time.time_ns() // 1_000, by=by, client=client, action=action, about=about, detail=text,
                outcome=outcome, before=last.hash,
            )  # fmt: skip
            try:
                self._vault.put(self._kind, *place_of(entry.number), entry)
            except Changed:
                continue  # somebody else has that number
            self._last = Written(entry.number, entry.hash())
            self._tell(self._kind.noun, entry, self._last.hash)
            return self._last
        raise TrailBroken("no entry can be written: others are always faster, or entries can't be opened.")

    @contextmanager
    def noted(
        self, *, by: str, action: str, about: str = "", detail: dict[str, Any] | None = None, client: str = ""
    ) -> Iterator[dict[str, Any]]:  # fmt: skip
        """Before it is done, and after: what became of it, with what is put into the dict. DocumentsFailed, and nothing was done."""
        self.append(by=by, action=action, about=about, detail=detail, client=client)
        result: dict[str, Any] = {}
        try:
            yield result
        except BaseException as error:
            self._append_after(by=by, action=action, about=about, client=client, outcome=f"failed: {type(error).__name__}: {error}"[:500])
            raise
        self._append_after(by=by, action=action, about=about, client=client, detail=result, outcome="done")

    def _append_after(self, **entry: Any) -> None:
        """What was done is done, and is answered as such."""
        try:
            self.append(**entry)
        except (DocumentsFailed, TrailBroken) as error:
            _log.error(
                "trail.outcome_not_written", action=entry["action"], about=entry["about"], outcome=entry["outcome"], error=str(error)
            )

    def last(self) -> Written:
        """The newest entry. Of a trail that others have written on since, few are looked at, however many there are."""
        if self._vault.get(self._kind, *place_of(self._last.number + 1)) is None:
            return self._last
        page, step = self._last.number // PAGE, 1
        while self._has_page(page + step):
            page, step = page + step, step * 2
        while step > 1:
            step //= 2
            if self._has_page(page + step):
                page += step
        newest = max((held.record for held in self._vault.of_owner(self._kind, str(page))), key=lambda entry: entry.number)
        self._last = Written(newest.number, newest.hash())
        return self._last

    def _has_page(self, page: int) -> bool:
        return self._vault.get(self._kind, *place_of(page * PAGE)) is not None

    def entries(self, after: int = 0, limit: int = PAGE) -> list[Entry]:
        """Those of higher numbers, oldest first."""
        found: list[Entry] = []
        for page in range(after // PAGE, self.last().number // PAGE + 1):
            held = self._vault.of_owner(self._kind, str(page))
            found += [each.record for each in sorted(held, key=lambda each: each.record.number) if each.record.number > after]
            if len(found) >= limit:
                break
        return found[:limit]

    def verify(self, known: Written | None = None) -> Written:
        """All of it, and that it has what is `known` from elsewhere; the last. TrailBroken."""
        last = Written(0, FIRST)
        seen = known is None
        for entry in self._all():
            if entry.number != last.number + 1:
                raise TrailBroken(f"entry {last.number + 1} of the trail is missing, or was changed.")
            if entry.before != last.hash:
                raise TrailBroken(f"entry {entry.number} of the trail does not follow entry {last.number}: one of them was changed.")
            last = Written(entry.number, entry.hash())
            if known is not None and entry.number == known.number:
                if last.hash != known.hash:
                    raise TrailBroken(f"entry {entry.number} of the trail is not the one that is known from elsewhere.")
                seen = True
        if not seen:
            assert known is not None, "or it would count as seen"
            raise TrailBroken(f"entry {known.number} of the trail is missing: it ends with {last.number}.")
        return last

    def _all(self) -> Iterator[Entry]:
        page = 0
        while held := self._vault.of_owner(self._kind, str(page)):
            yield from sorted((each.record for each in held), key=lambda entry: entry.number)
            page += 1


def place_of(number: int) -> tuple[str, str]:
    return str(number // PAGE), f"{number:0{DIGITS}d}"
