"""
What users ask for on the public listener, with a session: their login, and the API keys of their account.

Always true: whatever is asked for is the user's own, for the account is taken from who asks and never from the request; what gives somebody
power over it asks for the password (and a code) again.
"""

from __future__ import annotations

from typing import Final, final

from zerosum.console.access import UNREADY_USER, USER
from zerosum.console.http import NO_SECOND_FACTOR_YET, NOT_THERE, Asked, Endpoint
from zerosum.console.login import LOGIN_WEIGHT, Again, Json, LoginPages, shown_key
from zerosum.console.notes import Notes
from zerosum.identity.keys import READ, TRADE, WITHDRAW, Keys, Wanted
from zerosum.identity.people import People
from zerosum.identity.sessions import Sessions
from zerosum.identity.trail import Trail

ROOT: Final = "/account/v1"


class NewKey(Again, kw_only=True):
    label: str = ""
    permissions: tuple[str, ...] = (READ, TRADE)
    addresses: tuple[str, ...] = ()
    public_key: str | None = None
    expires_ms: int = 0


@final
class UserPages:
    """`second_factor`: of who makes a key that may take money out."""

    def __init__(self, users: People, sessions: Sessions, keys: Keys, trail: Trail, *, second_factor: bool) -> None:
        self._users = users
        self._keys = keys
        self._second_factor = second_factor
        self._notes = Notes(trail)
        self._login = LoginPages(users, sessions, ROOT, USER, UNREADY_USER, self._notes)

    def endpoints(self) -> list[Endpoint]:
        return [
            *self._login.endpoints(),
            Endpoint("GET", f"{ROOT}/keys", self.list_keys, USER),
            Endpoint("POST", f"{ROOT}/keys", self.create_key, USER, NewKey, LOGIN_WEIGHT),
            Endpoint("DELETE", f"{ROOT}/keys/{{key}}", self.revoke_key, USER),
        ]

    def list_keys(self, asked: Asked) -> Json:
        return {"keys": [shown_key(key) for key in self._keys.list(asked.who.account_id)]}

    def create_key(self, asked: Asked) -> Json:
        form: NewKey = asked.form
        check_second_factor(asked, asks=self._second_factor and WITHDRAW in form.permissions)
        self._users.check_again(asked.who.name, form.password, form.code, asked.client)
        wanted = Wanted(
            asked.who.account_id, form.permissions, form.public_key, form.addresses, form.label, form.expires_ms * 1_000
        )  # fmt: skip
        detail = {"label": form.label, "permissions": list(form.permissions), "addresses": list(form.addresses)}
        with self._notes.noted(asked, "key.create", detail) as told:
            made = self._keys.create(wanted)
            told["key"] = made.api_key[:8]
        return {"key": made.api_key, "secret": made.secret or None}

    def revoke_key(self, asked: Asked) -> Json:
        key = self._keys.get(asked.parts["key"])
        if key is None or key.account_id != asked.who.account_id:
            raise NOT_THERE.of()
        with self._notes.noted(asked, "key.revoke", {"key": key.api_key[:8]}):
            return {"key": shown_key(self._keys.revoke(key.api_key))}


def check_second_factor(asked: Asked, *, asks: bool) -> None:
    """Refused, where one is asked for and the user has none."""
    if asks and not asked.who.has_second_factor:
        raise NO_SECOND_FACTOR_YET.of()
