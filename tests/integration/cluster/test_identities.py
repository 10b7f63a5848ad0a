"""Documents in a real database: the same promises as those in a file."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from zerosum.identity.cql import CqlDocuments
from zerosum.identity.documents import Changed, DocumentsFailed, Place, Stored
from zerosum.identity.identities import Identities
from zerosum.identity.keys import Wanted
from zerosum.identity.sealing import MasterKey, MasterKeyError
from zerosum.settlement.cql.schema import migrate
from zerosum.settlement.cql.session import CqlSettings, KeyspaceMissing
from zerosum.settlement.row_store import StoreFailed

MASTER_KEY = MasterKey(bytes(range(32)))


@pytest.fixture
def keyspace(cql: CqlSettings) -> CqlSettings:
    asyncio.run(migrate(cql, 1))
    return cql


@pytest.fixture
def documents(keyspace: CqlSettings) -> Iterator[CqlDocuments]:
    with closing(CqlDocuments.connect(keyspace)) as found:
        yield found


def test_documents_are_replaced_by_who_has_seen_them_listed_and_removed(documents: CqlDocuments) -> None:
    documents.put("session", "ann", "b", b"one", 0)
    documents.put("session", "ann", "a", b"", 0)
    documents.put("session", "bob", "c", b"", 0)
    documents.put("session", "ann", "b", b"two", 1)
    for version in (0, 1, 3):
        with pytest.raises(Changed):
            documents.put("session", "ann", "b", b"lost", version)
    with pytest.raises(Changed):
        documents.put("session", "nobody", "", b"lost", 1)
    assert documents.get("session", "ann", "b") == Stored("ann", "b", 2, b"two")
    assert [each.name for each in documents.of_owner("session", "ann")] == ["a", "b"]
    assert {each.name for each in documents.every("session")} == {"a", "b", "c"}
    documents.remove("session", "ann", "b")
    documents.remove("session", "ann", "b")
    assert documents.get("session", "ann", "b") is None
    documents.put("session", "ann", "b", b"three", 0)
    assert documents.get("session", "ann", "b") == Stored("ann", "b", 1, b"three")


def test_of_many_who_replace_the_same_one_wins(keyspace: CqlSettings, documents: CqlDocuments) -> None:
    documents.put("user", "ann", "", b"", 0)
    won: list[int] = []

    def try_it(number: int) -> None:
        with suppress(Changed):
            documents.put("user", "ann", "", b"%d" % number, 1)
            won.append(number)

    threads = [threading.Thread(target=try_it, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = won
    assert documents.get("user", "ann", "") == Stored("ann", "", 2, b"%d" % winner)


def test_what_lives_for_a_while_is_gone_after_it(documents: CqlDocuments) -> None:
    documents.put("session", "ann", "a", b"", 0, lives_s=1)
    documents.put("session", "ann", "b", b"", 0, lives_s=600)
    deadline = threading.Event()
    for _ in range(300):
        if documents.get("session", "ann", "a") is None:
            break
        deadline.wait(0.1)
    assert [each.name for each in documents.of_owner("session", "ann")] == ["b"]


def test_changes_are_told_until_they_were_dealt_with(keyspace: CqlSettings, documents: CqlDocuments) -> None:
    documents.put("key", "k0", "", b"", 0)
    with closing(CqlDocuments.connect(keyspace)) as gateway:
        begin = gateway.changes("key", 0)
        assert begin.places == []
        documents.put("key", "k1", "", b"", 0)
        first = gateway.changes("key", begin.mark)
        assert set(first.places) == {Place("key", "k1", "")}
        documents.put("key", "k2", "", b"", 0)
        again = gateway.changes("key", begin.mark)
        assert set(again.places) == {Place("key", "k1", ""), Place("key", "k2", "")}, "the mark before: what was told was not dealt with"
        assert gateway.changes("key", again.mark).places == []


def test_whoever_dies_in_the_middle_of_a_change_has_told_of_it(
    keyspace: CqlSettings, documents: CqlDocuments, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(CqlDocuments.connect(keyspace)) as gateway:
        mark = gateway.changes("key", 0).mark
        told = CqlDocuments._tell
        times: list[Place] = []

        async def tells_once(self: CqlDocuments, place: Place) -> None:
            times.append(place)
            if len(times) > 1:
                raise StoreFailed("gone.")
            await told(self, place)

        monkeypatch.setattr(CqlDocuments, "_tell", tells_once)
        with pytest.raises(DocumentsFailed, match="gone"):
            documents.put("key", "k1", "", b"", 0)
        assert gateway.changes("key", mark).places == [Place("key", "k1", "")]
        assert gateway.get("key", "k1", "") is not None


def test_a_revoked_key_is_gone_at_another_gateway_after_a_refresh(keyspace: CqlSettings) -> None:
    with (
        closing(Identities(CqlDocuments.connect(keyspace), MASTER_KEY)) as commands,
        closing(Identities(CqlDocuments.connect(keyspace), MASTER_KEY)) as gateway,
    ):
        made = commands.keys.create(Wanted(16))
        gateway.ring.refresh()
        assert gateway.ring.find(made.api_key, 0) is not None
        commands.keys.revoke(made.api_key)
        gateway.ring.refresh()
        assert gateway.ring.find(made.api_key, 0) is None
        assert [key.api_key for key in commands.keys.list(16)] == [made.api_key]


def test_another_master_key_and_no_keyspace_are_refused(keyspace: CqlSettings) -> None:
    Identities(CqlDocuments.connect(keyspace), MASTER_KEY).close()
    with pytest.raises(MasterKeyError, match=f"the keyspace {keyspace.keyspace} was written with another master key"):
        Identities(CqlDocuments.connect(keyspace), MasterKey(bytes(32)))
    with pytest.raises(KeyspaceMissing):
        CqlDocuments.connect(CqlSettings(keyspace.hosts, keyspace.port, "nowhere"))
