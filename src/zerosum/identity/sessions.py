"""
Sessions of people who have logged in: a random token in a cookie, of which the store has the hash alone.

    begin --> Begun(token, csrf)      found(token) --> Session       listed, revoked one by one or all at once, by their owner or for them

Always true: a session ends IDLE_S after it was last used and LIVES_S after it began, on every gateway, and at once when it is revoked; a
new login has a new token; whoever has the store can't use a session, for the token is not there.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Final, NamedTuple, final

import msgspec

from zerosum.identity.documents import Changed
from zerosum.identity.vault import Held, Kind, Vault

LIVES_S: Final = 12 * 3_600  # ASVS 3.3.2, level 2
IDLE_S: Final = 30 * 60
NOTED_S: Final = 60  # how often it is noted that a session is used
TOKEN_BYTES: Final = 32
AGENT_CHARS_MAX: Final = 120
SESSIONS_MAX: Final = 20  # of a person; past it the one that was used the longest ago ends


class SessionRecord(msgspec.Struct, frozen=True, kw_only=True):
    person: str
    client: str
    agent: str
    began_us: int
    used_us: int


USER_SESSIONS: Final = Kind("user-session", SessionRecord)
OPERATOR_SESSIONS: Final = Kind("console.session", SessionRecord)
"""Owner: the person; name: the token's hash."""


class Begun(NamedTuple):
    """`token`: for the cookie. `csrf`: to be sent along with whatever changes something."""

    token: str
    csrf: str


class Session(NamedTuple):
    """`id`: to name it by; no use to whoever wants to be it."""

    id: str
    person: str
    client: str
    agent: str
    began_us: int
    used_us: int


@final
class Sessions:
    """Of one kind of people."""

    def __init__(self, vault: Vault, kind: Kind[SessionRecord], clock_s: Callable[[], float] = time.time) -> None:
        self.kind = kind
        self._vault = vault
        self._clock_s = clock_s

    def begin(self, person: str, client: str, agent: str) -> Begun:
        now_us = self._now_us()
        others = sorted(self.list(person), key=lambda session: session.used_us)
        for old in others[: max(0, len(others) - SESSIONS_MAX + 1)]:
            self.revoke(person, old.id)
        token = f"{person}.{secrets.token_urlsafe(TOKEN_BYTES)}"
        printable = "".join(char for char in agent if char.isprintable())
        record = SessionRecord(person=person, client=client, agent=printable[:AGENT_CHARS_MAX], began_us=now_us, used_us=now_us)
        self._vault.put(self.kind, person, id_of(token), record, lives_s=LIVES_S)
        return Begun(token, csrf_of(token))

    def found(self, token: str) -> Session | None:
        """The session if it is good; that it was used is noted."""
        person, _, rest = token.rpartition(".")
        if not person or len(rest) > 2 * TOKEN_BYTES:
            return None
        held = self._vault.get(self.kind, person, id_of(token))
        if held is None or held.record.person != person:
            return None
        now_us = self._now_us()
        if not self._is_good(held.record, now_us):
            return None
        if now_us - held.record.used_us > NOTED_S * 1_000_000:
            self._note(held, now_us)
        return session_of(held)

    def list(self, person: str) -> list[Session]:
        """Good ones, the newest first."""
        now_us = self._now_us()
        found = [session_of(held) for held in self._vault.of_owner(self.kind, person) if self._is_good(held.record, now_us)]
        return sorted(found, key=lambda session: -session.began_us)

    def revoke(self, person: str, session_id: str) -> bool:
        """Whether there was one."""
        there = self._vault.get(self.kind, person, session_id) is not None
        self._vault.remove(self.kind, person, session_id)
        return there

    def revoke_all(self, person: str, *, but: str = "") -> int:
        """How many there were."""
        ended = [held.name for held in self._vault.of_owner(self.kind, person) if held.name != but]
        for session_id in ended:
            self._vault.remove(self.kind, person, session_id)
        return len(ended)

    def _note(self, held: Held[SessionRecord], now_us: int) -> None:
        left_s = LIVES_S - (now_us - held.record.began_us) // 1_000_000
        record = msgspec.structs.replace(held.record, used_us=now_us)
        try:
            self._vault.put(self.kind, held.owner, held.name, record, held.version, lives_s=max(1, left_s))
        except Changed:
            return  # another request of the session has noted it, or it was revoked

    def _is_good(self, record: SessionRecord, now_us: int) -> bool:
        return now_us - record.began_us < LIVES_S * 1_000_000 and now_us - record.used_us < IDLE_S * 1_000_000

    def _now_us(self) -> int:
        return int(self._clock_s() * 1_000_000)


def id_of(token: str) -> str:
    return sha256(b"zerosum session, 1" + token.encode(errors="backslashreplace")).hexdigest()


def csrf_of(token: str) -> str:
    """What only who can read the session's answers knows: a page of somebody else's can make a browser send the cookie, and not this."""
    return hmac.new(token.encode(errors="backslashreplace"), b"zerosum csrf, 1", sha256).hexdigest()


def is_csrf(token: str, sent: str) -> bool:
    return hmac.compare_digest(csrf_of(token).encode(), sent.encode(errors="backslashreplace"))


def session_of(held: Held[SessionRecord]) -> Session:
    record = held.record
    return Session(held.name, record.person, record.client, record.agent, record.began_us, record.used_us)
