"""
Logging in and what belongs to it, the same for users and operators: sessions, the password, the second factor.

Always true: a login has a new session, whatever cookie came with it; a changed password or second factor ends all other sessions; what a
stolen session must not be enough for asks for the password (and a code) again.
"""

from __future__ import annotations

from typing import Any, final

import msgspec

from zerosum.console.access import ANYONE, Access
from zerosum.console.http import NOT_THERE, Answered, Asked, Endpoint, bad_request
from zerosum.console.notes import Notes
from zerosum.identity.keys import KeyInfo
from zerosum.identity.people import People, Person
from zerosum.identity.sessions import Session, Sessions, csrf_of

LOGIN_WEIGHT = 100

Json = dict[str, Any]


class Login(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    password: str
    code: str = ""


class NewPassword(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    password: str
    new_password: str
    code: str = ""


class Again(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Who it is, shown once more."""

    password: str
    code: str = ""


class Code(msgspec.Struct, forbid_unknown_fields=True):
    code: str


@final
class LoginPages:
    """`ready`, `unready`: who may ask, with all set up, and before."""

    def __init__(self, people: People, sessions: Sessions, root: str, ready: Access, unready: Access, notes: Notes) -> None:
        self._people = people
        self._sessions = sessions
        self._root = root
        self._ready = ready
        self._unready = unready
        self._notes = notes

    def endpoints(self) -> list[Endpoint]:
        root = self._root
        return [
            Endpoint("POST", f"{root}/login", self.log_in, ANYONE, Login, LOGIN_WEIGHT),
            Endpoint("POST", f"{root}/logout", self.log_out, self._unready),
            Endpoint("GET", f"{root}/session", self.session, self._unready),
            Endpoint("GET", f"{root}/sessions", self.list_sessions, self._ready),
            Endpoint("DELETE", f"{root}/sessions", self.end_others, self._ready),
            Endpoint("DELETE", f"{root}/sessions/{{id}}", self.end_session, self._ready),
            Endpoint("POST", f"{root}/password", self.change_password, self._unready, NewPassword, LOGIN_WEIGHT),
            Endpoint("POST", f"{root}/second-factor", self.begin_second_factor, self._unready, Again, LOGIN_WEIGHT),
            Endpoint("POST", f"{root}/second-factor/confirm", self.confirm_second_factor, self._unready, Code, LOGIN_WEIGHT),
            Endpoint("DELETE", f"{root}/second-factor", self.remove_second_factor, self._ready, Again, LOGIN_WEIGHT),
        ]

    def log_in(self, asked: Asked) -> Answered:
        form: Login = asked.form
        asked.person = self._people.log_in(form.name, form.password, form.code, asked.client)
        begun = self._sessions.begin(asked.person.name, asked.client, asked.agent)
        self._notes.tell(asked, "login", {})  # and without, nobody is told the token
        return Answered({"csrf": begun.csrf, "person": shown(asked.person)}, begin=begun.token)

    def log_out(self, asked: Asked) -> Answered:
        self._sessions.revoke(asked.who.name, id_of(asked))
        self._notes.tell(asked, "logout", {})
        return Answered({}, end=True)

    def session(self, asked: Asked) -> Json:
        return {"csrf": csrf_of(asked.token), "person": shown(asked.who)}

    def list_sessions(self, asked: Asked) -> Json:
        mine = id_of(asked)
        return {"sessions": [{**shown_session(each), "this": each.id == mine} for each in self._sessions.list(asked.who.name)]}

    def end_others(self, asked: Asked) -> Json:
        ended = self._sessions.revoke_all(asked.who.name, but=id_of(asked))
        self._notes.tell(asked, "sessions.end", {"ended": ended})
        return {"ended": ended}

    def end_session(self, asked: Asked) -> Json:
        if not self._sessions.revoke(asked.who.name, asked.parts["id"]):
            raise NOT_THERE.of()
        self._notes.tell(asked, "sessions.end", {"ended": 1})
        return {"ended": 1}

    def change_password(self, asked: Asked) -> Json:
        form: NewPassword = asked.form
        self._people.check_again(asked.who.name, form.password, form.code, asked.client)
        if form.new_password == form.password:
            raise bad_request("new_password: it is the one that you have.")
        with self._notes.noted(asked, "password.change", {}):
            person = self._people.change_password(asked.who.name, form.new_password)
            ended = self._sessions.revoke_all(person.name, but=id_of(asked))
        return {"person": shown(person), "ended": ended}

    def begin_second_factor(self, asked: Asked) -> Json:
        form: Again = asked.form
        self._people.check_again(asked.who.name, form.password, form.code, asked.client)
        return {"uri": self._people.begin_second_factor(asked.who.name)}

    def confirm_second_factor(self, asked: Asked) -> Json:
        form: Code = asked.form
        with self._notes.noted(asked, "second-factor.set", {}):
            codes = self._people.confirm_second_factor(asked.who.name, form.code)
            ended = self._sessions.revoke_all(asked.who.name, but=id_of(asked))
        return {"recovery_codes": codes, "ended": ended}

    def remove_second_factor(self, asked: Asked) -> Json:
        form: Again = asked.form
        self._people.check_again(asked.who.name, form.password, form.code, asked.client)
        with self._notes.noted(asked, "second-factor.remove", {}):
            person = self._people.remove_second_factor(asked.who.name)
            ended = self._sessions.revoke_all(person.name, but=id_of(asked))
        return {"person": shown(person), "ended": ended}


def id_of(asked: Asked) -> str:
    assert asked.session is not None, "whoever asks has logged in"
    return asked.session.id


def shown(person: Person) -> Json:
    return {
        "name": person.name,
        "account": person.account_id or None,
        "roles": list(person.roles),
        "second_factor": person.has_second_factor,
        "must_change_password": person.must_change,
    }


def shown_session(session: Session) -> Json:
    return {
        "id": session.id,
        "client": session.client,
        "agent": session.agent,
        "began_ms": session.began_us // 1_000,
        "used_ms": session.used_us // 1_000,
    }


def shown_key(key: KeyInfo) -> Json:
    """Its name whole: it is revoked by it, and is of no use without what signs for it."""
    return {
        "key": key.api_key, "account": key.account_id, "label": key.label, "permissions": list(key.permissions), "signs_by": key.signs_by,
        "addresses": list(key.addresses), "created_ms": key.created_us // 1_000, "expires_ms": key.expires_us // 1_000 or None,
        "revoked_ms": key.revoked_us // 1_000 or None,
    }  # fmt: skip
