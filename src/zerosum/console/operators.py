"""
The operators' console: who they are, whom they look after, and the switches that they have.

Roles: a viewer looks; support looks after users; market runs the symbols; treasury moves money; an admin manages operators, and does none
of the rest. docs/reference/admin.md has the table.
"""

from __future__ import annotations

import secrets
from typing import Any, Final, Literal, final

import msgspec

from zerosum.console.access import ADMINS, ANY_OPERATOR, MARKETERS, SUPPORTERS, SWITCHES, UNREADY_OPERATOR, operators
from zerosum.console.actions import ROOT, Action, Actions, Reason
from zerosum.console.desk_pages import DeskPages
from zerosum.console.http import NOT_THERE, Asked, Endpoint, Number
from zerosum.console.login import LoginPages, shown, shown_key, shown_session
from zerosum.console.machines import Machines
from zerosum.console.notes import Notes
from zerosum.console.switches import Canceled, Switches
from zerosum.core import codes
from zerosum.identity.identities import Identities
from zerosum.identity.people import ADMIN, SUPPORT, TEMPORARY_BYTES, VIEWER, People, PeopleError
from zerosum.identity.sessions import Sessions
from zerosum.views.views import Views

Json = dict[str, Any]

TRAIL_PAGE: Final = 200
STATUSES: Final = {"trading": codes.TRADING, "halt": codes.HALT, "break": codes.BREAK}
STATUS_NAMES: Final = {code: name for name, code in STATUSES.items()}
ACCOUNT_STATUSES: Final = {codes.ACTIVE: "active", codes.SUSPENDED: "suspended", codes.CLOSED: "closed"}


class NewOperator(Reason, kw_only=True):
    name: str
    roles: tuple[str, ...]


class Roles(Reason, kw_only=True):
    roles: tuple[str, ...]


class NewUser(Reason, kw_only=True):
    name: str
    account: Number


class Status(Reason, kw_only=True):
    status: str


class OfTrail(msgspec.Struct, forbid_unknown_fields=True):
    """`of`: what operators did, or users."""

    after: Number = 0
    of: Literal["operators", "users"] = "operators"


class OfAccount(msgspec.Struct, forbid_unknown_fields=True):
    account: Number


@final
class OperatorPages:
    def __init__(self, machines: Machines, identities: Identities, desk: DeskPages) -> None:
        self._machines = machines
        self._operators, self._operator_sessions = identities.operators, identities.operator_sessions
        self._users, self._user_sessions = identities.users, identities.user_sessions
        self._keys, self._service_keys = identities.keys, identities.service_keys
        self._trails = {"operators": identities.trail, "users": identities.users_trail}
        self._switches = Switches(machines)
        notes = Notes(identities.trail)
        self._login = LoginPages(self._operators, self._operator_sessions, ROOT, ANY_OPERATOR, UNREADY_OPERATOR, notes)
        self._desk = desk
        self.actions = Actions([*self._actions(), *desk.actions()], identities.trail, identities.proposals, self._operators)

    def endpoints(self) -> list[Endpoint]:
        watchers, support = operators(VIEWER, ADMIN), operators(VIEWER, SUPPORT)
        return [
            *self._login.endpoints(),
            *self.actions.endpoints(),
            *self._desk.endpoints(),
            Endpoint("GET", f"{ROOT}/operators", self.list_operators, watchers),
            Endpoint("GET", f"{ROOT}/trail", self.list_trail, watchers, OfTrail),
            Endpoint("GET", f"{ROOT}/users", self.list_users, support),
            Endpoint("GET", f"{ROOT}/users/{{user}}/sessions", self.list_user_sessions, support),
            Endpoint("GET", f"{ROOT}/keys", self.list_keys, support, OfAccount),
            Endpoint("GET", f"{ROOT}/accounts/{{account:number}}", self.account, ANY_OPERATOR),
            Endpoint("GET", f"{ROOT}/symbols", self.list_symbols, ANY_OPERATOR),
        ]

    def _actions(self) -> list[Action]:
        return [
            # Operators: by admins, and what gives somebody more than they have takes two of them.
            Action("operator.create", "/operators", ADMINS, self.create_operator, NewOperator, takes_two=True),
            Action("operator.roles", "/operators/{operator}/roles", ADMINS, self.set_roles, Roles, takes_two=True),
            Action("operator.activate", "/operators/{operator}/activate", ADMINS, self.activate_operator, takes_two=True),
            Action("operator.reset", "/operators/{operator}/reset", ADMINS, self.reset_operator, takes_two=True),
            Action("operator.deactivate", "/operators/{operator}/deactivate", ADMINS, self.deactivate_operator),
            # Users.
            Action("user.create", "/users", SUPPORTERS, self.create_user, NewUser, takes_two=True),
            Action("user.activate", "/users/{user}/activate", SUPPORTERS, self.activate_user),
            Action("user.deactivate", "/users/{user}/deactivate", SUPPORTERS, self.deactivate_user),
            Action("user.reset", "/users/{user}/reset", SUPPORTERS, self.reset_user),
            Action("user.end-sessions", "/users/{user}/sessions", SUPPORTERS, self.end_user_sessions, method="DELETE"),
            Action("key.revoke", "/keys/{key}", SUPPORTERS, self.revoke_key, method="DELETE"),
            # Switches.
            Action("account.block", "/accounts/{account:number}/block", SUPPORTERS, self.block_account),
            Action("account.unblock", "/accounts/{account:number}/unblock", SUPPORTERS, self.unblock_account),
            Action("account.cancel-orders", "/accounts/{account:number}/orders", SWITCHES, self.cancel_of_account, method="DELETE"),
            Action("symbol.status", "/symbols/{symbol}/status", MARKETERS, self.set_symbol_status, Status),
            Action("symbol.block", "/symbols/{symbol}/block", MARKETERS, self.block_symbol),
            Action("symbol.cancel-orders", "/symbols/{symbol}/orders", MARKETERS, self.cancel_of_symbol, method="DELETE"),
            Action("market.block", "/market/block", MARKETERS, self.block_market),
            Action("market.unblock", "/market/unblock", MARKETERS, self.unblock_market),
        ]

    # ------------------------------------------------------------------ operators

    def list_operators(self, asked: Asked) -> Json:
        return {"operators": [{**shown(person), "active": person.active} for person in self._operators.everybody()]}

    def create_operator(self, name: str, roles: list[str]) -> Json:
        password = secrets.token_urlsafe(TEMPORARY_BYTES)
        person = self._operators.create(name, password, roles=tuple(roles), must_change=True)
        return {"operator": shown(person), "temporary_password": password}

    def set_roles(self, operator: str, roles: list[str]) -> Json:
        return {"operator": shown(self._operators.set_roles(operator, tuple(roles)))}

    def activate_operator(self, operator: str) -> Json:
        return {"operator": shown(self._operators.set_active(operator, True))}

    def deactivate_operator(self, operator: str) -> Json:
        person = self._operators.set_active(operator, False)
        return {"operator": shown(person), "ended": self._operator_sessions.revoke_all(operator)}

    def reset_operator(self, operator: str) -> Json:
        return self._reset(self._operators, self._operator_sessions, operator)

    # ------------------------------------------------------------------ users

    def list_users(self, asked: Asked) -> Json:
        return {"users": [{**shown(person), "active": person.active} for person in self._users.everybody()]}

    def create_user(self, name: str, account: int) -> Json:
        if not codes.FIRST_USER <= account <= codes.ACCOUNT_MAX or self._machines.see(lambda views: views.account(account)) is None:
            raise PeopleError(f"account: there is no account {account}.")
        password = secrets.token_urlsafe(TEMPORARY_BYTES)
        person = self._users.create(name, password, account_id=account, must_change=True)
        return {"user": shown(person), "temporary_password": password}

    def activate_user(self, user: str) -> Json:
        return {"user": shown(self._users.set_active(user, True))}

    def deactivate_user(self, user: str) -> Json:
        person = self._users.set_active(user, False)
        ended = self._user_sessions.revoke_all(user)
        return {"user": shown(person), "ended": ended, "revoked": self._keys.revoke_all(person.account_id)}

    def reset_user(self, user: str) -> Json:
        return self._reset(self._users, self._user_sessions, user)

    def _reset(self, people: People, sessions: Sessions, name: str) -> Json:
        """Of somebody who has lost password or second factor: a password that is to be changed, and no factor until one is set up."""
        password = secrets.token_urlsafe(TEMPORARY_BYTES)
        person = people.reset(name, password)
        return {"person": shown(person), "ended": sessions.revoke_all(name), "temporary_password": password}

    def list_user_sessions(self, asked: Asked) -> Json:
        return {"sessions": [shown_session(each) for each in self._user_sessions.list(asked.parts["user"])]}

    def end_user_sessions(self, user: str) -> Json:
        return {"ended": self._user_sessions.revoke_all(user)}

    def list_keys(self, asked: Asked) -> Json:
        form: OfAccount = asked.form
        return {"keys": [shown_key(key) for key in self._keys.list(form.account)]}

    def revoke_key(self, key: str) -> Json:
        """A user's, or one of the venue's own programs."""
        keys = self._service_keys if self._service_keys.get(key) is not None else self._keys
        return {"key": shown_key(keys.revoke(key))}

    # ------------------------------------------------------------------ accounts and symbols

    def account(self, asked: Asked) -> Json:
        account_id = int(asked.parts["account"])
        found = self._machines.see(lambda views: shown_account(views, account_id))
        if found is None:
            raise NOT_THERE.of()
        return found

    def list_symbols(self, asked: Asked) -> Json:
        return {"symbols": self._machines.see(shown_symbols)}

    def block_account(self, account: int) -> Json:
        return shown_canceled(self._switches.block_account(account))

    def unblock_account(self, account: int) -> Json:
        self._switches.set_account_status(account, codes.ACTIVE)
        return {"account": account, "status": "active"}

    def cancel_of_account(self, account: int) -> Json:
        return shown_canceled(self._switches.cancel_of_account(account))

    def set_symbol_status(self, symbol: str, status: str) -> Json:
        if status not in STATUSES:
            raise PeopleError(f"status: {status!r} is none of {', '.join(STATUSES)}.")
        self._switches.set_symbol_status(symbol, STATUSES[status])
        return {"symbol": symbol, "status": status}

    def block_symbol(self, symbol: str) -> Json:
        return shown_canceled(self._switches.block_symbol(symbol))

    def cancel_of_symbol(self, symbol: str) -> Json:
        return shown_canceled(self._switches.cancel_of_symbol(symbol))

    def block_market(self) -> Json:
        return shown_canceled(self._switches.block_market())

    def unblock_market(self) -> Json:
        return {"symbols": self._switches.set_market_status(codes.TRADING)}

    # ------------------------------------------------------------------ the trail

    def list_trail(self, asked: Asked) -> Json:
        form: OfTrail = asked.form
        entries = self._trails[form.of].entries(form.after, TRAIL_PAGE)
        return {"entries": [{**msgspec.to_builtins(entry), "hash": entry.hash()} for entry in entries]}


def shown_canceled(canceled: Canceled) -> Json:
    return {"canceled": canceled.orders, "left": canceled.left}


def shown_account(views: Views, account_id: int) -> Json | None:
    account = views.account(account_id)
    if account is None:
        return None
    assets = views.shard_of(account_id).listings.assets
    return {
        "account": account_id,
        "status": ACCOUNT_STATUSES.get(account.status, "other"),
        "maker_ppm": account.maker_ppm,
        "taker_ppm": account.taker_ppm,
        "open_orders": len(account.open_orders),
        "balances": [
            {"asset": assets[asset].name, "available_atoms": available, "frozen_atoms": frozen, "decimals": assets[asset].decimals}
            for asset, (available, frozen) in sorted(account.balances.items())
        ],
    }


def shown_symbols(views: Views) -> list[Json]:
    found = []
    for listing in views.listings.by_number:
        market = views.markets.by_number.get(listing.symbol.symbol)
        found.append({"symbol": listing.symbol.name, "status": STATUS_NAMES[market.status] if market is not None else None})
    return found
