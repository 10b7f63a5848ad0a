"""What operators did is written down once, in order, and nothing can be taken out or changed unnoticed."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import structlog

from zerosum.identity import trail as trail_module
from zerosum.identity.documents import DocumentsFailed
from zerosum.identity.identities import Identities
from zerosum.identity.trail import FIRST, OPERATORS_TRAIL, USERS_TRAIL, Entry, Trail, TrailBroken, Written, place_of


@pytest.fixture
def trail(identities: Identities) -> Trail:
    return Trail(identities.vault, OPERATORS_TRAIL)


def write(trail: Trail, *actions: str) -> list[Written]:
    return [trail.append(by="ann", action=action, about="account 1001", detail={"why": "a ticket"}) for action in actions]


def test_entries_are_chained_in_order(trail: Trail, identities: Identities) -> None:
    written = write(trail, "one", "two", "three")
    assert [each.number for each in written] == [1, 2, 3]
    entries = trail.entries()
    assert [entry.action for entry in entries] == ["one", "two", "three"]
    assert [entry.before for entry in entries] == [FIRST, written[0].hash, written[1].hash]
    assert [entry.action for entry in trail.entries(after=1, limit=1)] == ["two"]
    assert Trail(identities.vault, OPERATORS_TRAIL).verify() == written[2]
    assert Trail(identities.vault, OPERATORS_TRAIL).verify(written[0]) == written[2]


def test_those_who_write_at_a_time_share_one_chain(opened: Callable[[], Identities]) -> None:
    trails = [Trail(opened().vault, OPERATORS_TRAIL) for _ in range(4)]
    threads = [threading.Thread(target=write, args=(trail, *"abcde")) for trail in trails]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert trails[0].verify().number == 20


def test_pages_follow_each_other(trail: Trail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trail_module, "PAGE", 3)
    written = write(trail, *"abcdefgh")
    assert trail.verify() == written[-1]
    assert [entry.number for entry in trail.entries(after=2)] == [3, 4, 5, 6, 7, 8]
    assert [entry.number for entry in trail.entries(after=2, limit=3)] == [3, 4, 5]


@pytest.mark.parametrize("entries", [1, 2, 3, 4, 5, 6, 90, 91, 92])
def test_the_newest_is_found_without_looking_at_all(
    trail: Trail, identities: Identities, entries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trail_module, "PAGE", 3)
    written = write(trail, *"a" * entries)
    other, looks = Trail(identities.vault, OPERATORS_TRAIL), 0
    get = identities.vault.get

    def counted(*place: str) -> object:
        nonlocal looks
        looks += 1
        found: object = get(*place)  # type: ignore[arg-type]  # of any kind
        return found

    monkeypatch.setattr(identities.vault, "get", counted)
    assert other.last() == written[-1]
    assert looks < 15
    assert other.append(by="bob", action="next").number == entries + 1


def test_what_becomes_of_it_is_written_too(trail: Trail) -> None:
    with trail.noted(by="ann", action="one", about="account 7") as told:
        assert [entry.outcome for entry in trail.entries()] == ["begun"]
        told["result"] = 5
    with pytest.raises(KeyError), trail.noted(by="ann", action="two"):
        raise KeyError("x")
    entries = trail.entries()
    assert [(entry.action, entry.outcome) for entry in entries] == [
        ("one", "begun"), ("one", "done"), ("two", "begun"), ("two", "failed: KeyError: 'x'"),
    ]  # fmt: skip
    assert entries[1].detail == '{"result": 5}'


def test_what_is_done_is_not_undone_by_a_trail_that_fails_after_it(trail: Trail, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise DocumentsFailed("the disk is full")

    with structlog.testing.capture_logs() as logged, trail.noted(by="ann", action="one"):
        monkeypatch.setattr(trail, "append", full)
    assert [(line["event"], line["outcome"]) for line in logged] == [("trail.outcome_not_written", "done")]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_entry_that_is_taken_out_is_missed(trail: Trail, path: Path, identities: Identities, number: int) -> None:
    """The last one too, by whoever has it from the log."""
    written = write(trail, "one", "two", "three")
    with closing(sqlite3.connect(path)) as db, db:
        assert db.execute("delete from documents where kind = 'console.trail' and name = ?", (place_of(number)[1],)).rowcount == 1
    fresh = Trail(identities.vault, OPERATORS_TRAIL)
    with pytest.raises(TrailBroken, match=rf"entry {number} of the trail is missing" if number < 3 else r"entry 3 .* ends with 2"):
        fresh.verify(written[2])


def test_an_entry_that_is_put_in_another_ones_place_is_found(trail: Trail, path: Path, identities: Identities) -> None:
    write(trail, "one", "two", "three")
    with closing(sqlite3.connect(path)) as db, db:
        statement = "update documents set body = (select body from documents where name = ?) where name = ?"
        assert db.execute(statement, (place_of(1)[1], place_of(2)[1])).rowcount == 1
    with pytest.raises(TrailBroken, match="entry 2 of the trail is missing, or was changed"):
        Trail(identities.vault, OPERATORS_TRAIL).verify()


def test_a_chain_written_anew_by_who_has_the_master_key_is_not_the_one_that_is_known(trail: Trail, identities: Identities) -> None:
    written = write(trail, "one", "two", "three")
    for number in (1, 2, 3):
        identities.vault.remove(OPERATORS_TRAIL, *place_of(number))
    forged = Trail(identities.vault, OPERATORS_TRAIL)
    write(forged, "nothing", "of", "interest")
    forged.verify()
    with pytest.raises(TrailBroken, match="entry 2 of the trail is not the one that is known"):
        forged.verify(written[1])


def test_each_entry_is_told_of(identities: Identities) -> None:
    said: list[tuple[str, Entry, str]] = []
    for kind, action in ((OPERATORS_TRAIL, "one"), (USERS_TRAIL, "two")):
        write(Trail(identities.vault, kind, lambda *told: said.append(told)), action)
    assert [(trail, entry.number, entry.action) for trail, entry, _ in said] == [("trail", 1, "one"), ("user-trail", 1, "two")]
    assert [digest for *_, digest in said] == [entry.hash() for _, entry, _ in said]


def test_a_detail_is_bounded(trail: Trail) -> None:
    trail.append(by="ann", action="one", detail={"long": "x" * 10_000})
    assert len(trail.entries()[0].detail) < 5_000
