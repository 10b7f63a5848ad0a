"""Sealed records: whoever can write to the file makes none that opens, and moves none."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
import structlog

from tests.unit.identity.conftest import MASTER_KEY
from zerosum.identity import vault as vault_module
from zerosum.identity.documents import Changed
from zerosum.identity.identities import Identities
from zerosum.identity.sealing import MasterKey, MasterKeyError
from zerosum.identity.sqlite import SqliteDocuments
from zerosum.identity.vault import Held, Kind, Vault
from zerosum.net.sparing_log import SparingLog
from zerosum.ops.logging import Line, render_json


class Note(msgspec.Struct, frozen=True):
    text: str


class LaterNote(msgspec.Struct, frozen=True):
    text: str
    color: str = "none"


NOTES = Kind("note", Note)
OTHERS = Kind("other", Note)


@pytest.fixture
def vault(identities: Identities) -> Vault:
    return identities.vault


def execute(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        assert db.execute(statement).rowcount > 0


def test_a_record_is_found_as_it_was_put(vault: Vault) -> None:
    vault.put(NOTES, "ann", "a", Note("hello"))
    assert vault.get(NOTES, "ann", "a") == Held("ann", "a", 1, Note("hello"))
    assert vault.of_owner(NOTES, "ann") == vault.every(NOTES) == [Held("ann", "a", 1, Note("hello"))]
    assert vault.get(NOTES, "ann", "b") is vault.get(OTHERS, "ann", "a") is None
    vault.remove(NOTES, "ann", "a")
    assert vault.every(NOTES) == []


def test_a_later_form_reads_what_an_earlier_one_wrote_and_the_other_way_round(vault: Vault) -> None:
    """Processes of two versions run side by side during an upgrade."""
    later = Kind("note", LaterNote)
    vault.put(NOTES, "ann", "a", Note("old"))
    vault.put(later, "ann", "b", LaterNote("new", "red"))
    assert [held.record for held in vault.every(later)] == [LaterNote("old"), LaterNote("new", "red")]
    assert [held.record for held in vault.every(NOTES)] == [Note("old"), Note("new")]


def test_nothing_that_is_written_can_be_read_in_the_file(vault: Vault, path: Path) -> None:
    vault.put(NOTES, "ann", "a", Note("a secret that is long enough"))
    assert not any(b"a secret" in file.read_bytes() for file in path.parent.iterdir())


def test_a_change_is_made_of_what_is_there(vault: Vault) -> None:
    vault.put(NOTES, "ann", "a", Note("one"))

    def meddling(note: Note) -> Note:
        if note.text == "one":
            vault.put(NOTES, "ann", "a", Note("somebody else's"), 1)
        return Note(note.text + ", and mine")

    held = vault.change(NOTES, "ann", "a", meddling)
    assert held == Held("ann", "a", 3, Note("somebody else's, and mine"))
    assert vault.change(NOTES, "ann", "a", lambda note: note) == held, "nothing to change is no change"
    assert vault.change(NOTES, "bob", "a", meddling) is None


def test_a_change_that_others_are_always_faster_than_is_given_up(vault: Vault) -> None:
    vault.put(NOTES, "ann", "a", Note("one"))

    def overtaken(note: Note) -> Note:
        held = vault.get(NOTES, "ann", "a")
        assert held is not None
        vault.put(NOTES, "ann", "a", Note("theirs"), held.version)
        return Note("mine")

    with pytest.raises(Changed):
        vault.change(NOTES, "ann", "a", overtaken)


@pytest.mark.parametrize(
    "tampering",
    [
        "update documents set owner = 'eve' where kind = 'note'",
        "update documents set name = 'b' where kind = 'note'",
        "update documents set version = 2 where kind = 'note'",
        "update documents set kind = 'other' where kind = 'note'",
        "update documents set body = zeroblob(80) where kind = 'note'",
        "update documents set body = '' where kind = 'note'",
    ],
)
def test_a_record_that_was_tampered_with_is_none(vault: Vault, path: Path, tampering: str) -> None:
    """Write access to the file must not make one user's key another's, or a reader's key a trader's."""
    vault.put(NOTES, "ann", "a", Note("hello"))
    execute(path, tampering)
    assert vault.every(NOTES) == vault.every(OTHERS) == []
    for owner, name in (("ann", "a"), ("eve", "a"), ("ann", "b")):
        assert vault.get(NOTES, owner, name) is None


def test_what_was_tampered_with_is_told_by_its_beginning_and_not_for_ever(
    vault: Vault, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is to look into it must find it in a list; nobody else is to learn it."""
    monkeypatch.setattr(vault_module, "_log", SparingLog("identity", lines_max=1))
    vault.put(NOTES, "annabelle-the-first", "", Note("hello"))
    execute(path, "update documents set version = 2 where kind = 'note'")
    with structlog.testing.capture_logs() as said:
        for _ in range(5):
            assert vault.get(NOTES, "annabelle-the-first") is None
    assert len(said) == 1, "whoever sends it may send it often"
    written = render_json(Line(0, "error", "identity", "identity.tampered", dict(said[0]), None)).decode()
    assert '"begins_with":"annabell"' in written
    assert "annabelle-the-first" not in written


# ---------------------------------------------------------------------- the master key


def test_another_master_key_is_refused_at_once(vault: Vault, path: Path) -> None:
    with pytest.raises(MasterKeyError, match=r"was written with another master key than [0-9a-f]{8}\. Give the one"):
        Identities(SqliteDocuments(path), MasterKey(bytes(32)))


def test_the_master_key_is_changed_while_everything_goes_on(vault: Vault, path: Path) -> None:
    """In the order of the guide: the new one known, the new one first, all sealed anew, the old one gone."""
    old, new = bytes(range(32)), bytes(range(1, 33))
    for name in ("a", "b"):
        vault.put(NOTES, "ann", name, Note(name))
    with closing(SqliteDocuments(path)) as documents:
        other = Vault(documents, MASTER_KEY)
        vault.use(MasterKey(old, new))
        other.use(MasterKey(new, old))
        other.put(NOTES, "ann", "c", Note("c"))
        assert [held.name for held in vault.every(NOTES)] == ["a", "b", "c"]
        assert other.reseal(NOTES) == 2
        assert other.reseal(NOTES) == 0
        other.reseal_check()
        other.use(MasterKey(new))
        vault.use(MasterKey(new))
        assert [held.record.text for held in other.every(NOTES)] == [held.record.text for held in vault.every(NOTES)] == ["a", "b", "c"]
        with pytest.raises(MasterKeyError):
            other.use(MasterKey(old))
        other.put(NOTES, "ann", "d", Note("d"))
        held = vault.get(NOTES, "ann", "d")
    assert held is not None, "a key that was refused is not used"
