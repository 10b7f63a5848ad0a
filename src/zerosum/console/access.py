"""
Who may ask for what: each endpoint names one of these, and nothing is asked of an endpoint that names none.

    Anyone        before one has logged in
    OfUser        a user with a session: for the account that is the user's own, and no other
    OfOperator    an operator with a session, and one of these roles
    OfService     a program of the venue's, with an API key of its own that has this permission
    OfKey         a program of a user's, with an API key of the account
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from zerosum.identity.people import ADMIN, MARKET, ROLES, SUPPORT, TREASURY


@final
@dataclass(frozen=True, slots=True)
class Anyone:
    pass


@final
@dataclass(frozen=True, slots=True)
class OfUser:
    """`unready`: also for one whose password was set by somebody else and is to be changed first."""

    unready: bool = False


@final
@dataclass(frozen=True, slots=True)
class OfOperator:
    """`unready`: also for one who is to change the password, or to set up a second factor, first."""

    roles: frozenset[str]
    unready: bool = False


@final
@dataclass(frozen=True, slots=True)
class OfService:
    permission: str


@final
@dataclass(frozen=True, slots=True)
class OfKey:
    """The holder of an API key of an account, who signs as the exchange's own API has it."""

    permission: str


Access = Anyone | OfUser | OfOperator | OfService | OfKey

ANYONE: Final = Anyone()
USER: Final = OfUser()
UNREADY_USER: Final = OfUser(unready=True)
ANY_OPERATOR: Final = OfOperator(frozenset(ROLES))
UNREADY_OPERATOR: Final = OfOperator(frozenset(ROLES), unready=True)


def operators(*roles: str) -> OfOperator:
    return OfOperator(frozenset(roles))


SUPPORTERS: Final = operators(SUPPORT)
MARKETERS: Final = operators(MARKET)
TREASURERS: Final = operators(TREASURY)
ADMINS: Final = operators(ADMIN)
SWITCHES: Final = operators(SUPPORT, MARKET)
