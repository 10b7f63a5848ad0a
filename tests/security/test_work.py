"""
As much work is done whatever was wrong, so that time tells a guesser nothing: counted, at the doors of an exchange that runs. (How each
secret is compared: test_secrets_compared.py.)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec
import pytest

from tests.support.browser import PASSWORD
from tests.support.signing import Signer, by_hmac, clock_ms, rest, websocket
from tests.support.venue import ANN, Venue, open_venue
from zerosum.identity.keys import KEYS, NOBODY, PAYOUT, READ, SERVICE_KEYS, Wanted
from zerosum.identity.passwords import Passwords
from zerosum.identity.signatures import HmacVerifier

UNKNOWN: Final = "k" * 64
SIGNATURE: Final = -1022


@pytest.fixture
async def venue(tmp_path: Path) -> AsyncIterator[Venue]:
    async with open_venue(tmp_path / "data") as found:
        yield found


@pytest.mark.parametrize("operator", [False, True])
async def test_a_login_takes_one_reckoning_of_a_password_whatever_is_wrong(
    venue: Venue, monkeypatch: pytest.MonkeyPatch, operator: bool
) -> None:
    people = venue.identities.operators if operator else venue.identities.users
    await asyncio.to_thread(people.create, "ann", PASSWORD, account_id=0 if operator else ANN)
    await asyncio.to_thread(people.create, "out", PASSWORD)
    await asyncio.to_thread(people.set_active, "out", False)
    reckoned: list[str] = []
    matches = Passwords.matches

    def noted(passwords: Passwords, known: str, password: str) -> bool:
        reckoned.append(known.rpartition("$")[0].rpartition("$")[0])
        return matches(passwords, known, password)

    monkeypatch.setattr(Passwords, "matches", noted)
    answers = set()
    for name, password in (
        ("ann", "wrong"), ("nobody", PASSWORD), ("ANN", PASSWORD), ("", PASSWORD), ("a\x00n", PASSWORD), ("out", PASSWORD),
        ("out", "wrong"), ("ann", ""), ("ann", "x" * 9_000),
    ):  # fmt: skip
        before = len(reckoned)
        said = await venue.browser(operator=operator).http.post("/login", json={"name": name, "password": password})
        assert len(reckoned) == before + 1, name
        answers.add((said.status_code, said.text))
    assert len(answers) == 1, "and the answer is one"
    assert set(reckoned) == {"$argon2id$v=19$m=65536,t=3,p=1"}, "each as dear"


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A signature's beginning for each that was verified."""
    found: list[str] = []
    verifies = HmacVerifier.verifies

    def noted(verifier: HmacVerifier, payload: bytes, signature: str) -> bool:
        found.append(signature)
        return verifies(verifier, payload, signature)

    monkeypatch.setattr(HmacVerifier, "verifies", noted)
    return found


async def keys_that_are_not_good(venue: Venue, account: int, permission: str) -> list[Signer]:
    """One of which nobody knows, one revoked, one expired, and one with another's secret."""
    identities = venue.identities
    keys, ring, kind = (
        (identities.keys, identities.ring, KEYS) if account else (identities.service_keys, identities.service_ring, SERVICE_KEYS)
    )

    def made() -> list[Signer]:
        revoked, expired, good, other = [keys.create(Wanted(account, (permission,), addresses=("127.0.0.1",))) for _ in range(4)]
        keys.revoke(revoked.api_key)
        identities.vault.change(kind, expired.api_key, "", lambda record: msgspec.structs.replace(record, expires_us=1))
        ring.refresh()
        return [Signer(UNKNOWN, by_hmac(*other).sign), by_hmac(*revoked), by_hmac(*expired), Signer(good.api_key, by_hmac(*other).sign)]

    return await asyncio.to_thread(made)


async def test_a_signature_is_verified_once_whatever_is_wrong_with_the_key(venue: Venue, verified: list[str]) -> None:
    """At each door: REST, WebSocket, the users' console and the operators'."""
    users, programs = await keys_that_are_not_good(venue, ANN, READ), await keys_that_are_not_good(venue, NOBODY, PAYOUT)
    answers = await websocket(venue.websocket, *(signer.frame("account.status", {}) for signer in users))
    for signer in users:
        for path in ("/api/v3/account", "/sapi/v1/capital/withdraw/history"):
            said = await rest(venue.public, "GET", path, signer.query({}), signer.api_key)
            answers.append(said)
    for signer in programs:
        query = signer.own("GET", "/admin/v1/payouts")
        said = await rest(venue.admin, "GET", "/admin/v1/payouts", query, signer.api_key)
        answers.append(said)
    assert {answer.code for answer in answers} == {SIGNATURE}
    assert len(verified) == len(answers)
    text = f"timestamp={clock_ms()}&signature=0"
    for path in ("/api/v3/account", "/sapi/v1/capital/withdraw/history"):
        codes = {(await rest(venue.public, "GET", path, text, signer.api_key)).code for signer in users}
        assert codes == {-1100}, "a text that can't be a signature is looked at for none of them"
    assert len(verified) == len(answers)
