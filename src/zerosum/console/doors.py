"""
The two consoles, put together: the users' pages for the public listener, the operators' for one that no client reaches.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Final

import structlog

from zerosum.console.desk import Desk
from zerosum.console.desk_pages import DeskPages
from zerosum.console.http import BODY_BYTES_MAX, Console, Doorkeeper, Limits
from zerosum.console.machines import Machines
from zerosum.console.money import MoneyPages
from zerosum.console.operators import OperatorPages
from zerosum.console.treasury import Treasury
from zerosum.console.users import UserPages
from zerosum.gateway.limits import Allowance
from zerosum.gateway.limits import Limits as RequestLimits
from zerosum.identity.identities import Identities
from zerosum.identity.trail import Entry
from zerosum.identity.withdrawals import RuleText, WithdrawalBook
from zerosum.net.http import HttpBounds
from zerosum.net.http_server import HttpServer
from zerosum.net.tls import ServerTls

log: Final = structlog.get_logger("trail")

USER_COOKIE: Final = "zerosum"
OPERATOR_COOKIE: Final = "zerosum-operator"

OPERATORS: Final = Allowance(weight_per_minute=6_000)
BOUNDS: Final = HttpBounds(
    connections_max=200, connections_per_address_max=100, pipelined_max=4, url_bytes_max=4_096, header_bytes_max=8_192,
    body_bytes_max=BODY_BYTES_MAX,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class WithdrawalSettings:
    """
    `rules`: of the assets that can be withdrawn. `cool_down_s`: after something of an account was changed. `second_factor`: whether only
    users who have one take money out.
    """

    rules: tuple[RuleText, ...] = ()
    cool_down_s: float = 86_400.0
    second_factor: bool = True


def treasury_of(machines: Machines, identities: Identities, settings: WithdrawalSettings) -> Treasury:
    return Treasury(machines, WithdrawalBook(identities.vault, settings.cool_down_s), settings.rules)


def user_console(
    treasury: Treasury, identities: Identities, limits: Limits, trusted_proxies: frozenset[str], settings: WithdrawalSettings
) -> Console:
    """Made in the event loop, as the other."""
    trail = identities.users_trail
    pages = UserPages(identities.users, identities.user_sessions, identities.keys, trail, second_factor=settings.second_factor)
    money = MoneyPages(treasury, identities.users, identities.keys, trail, second_factor=settings.second_factor)
    doorkeeper = Doorkeeper(identities.users, identities.user_sessions, USER_COOKIE, identities.ring, trusted_proxies)
    return Console([*pages.endpoints(), *money.endpoints()], doorkeeper, limits)


def operator_console(desk: Desk, identities: Identities, trusted_proxies: frozenset[str]) -> Console:
    """With an allowance of its own: clients of the exchange do not use it up."""
    pages = OperatorPages(desk.treasury.machines, identities, DeskPages(desk, identities.trail))
    doorkeeper = Doorkeeper(
        identities.operators, identities.operator_sessions, OPERATOR_COOKIE, identities.service_ring, trusted_proxies
    )  # fmt: skip
    return Console(pages.endpoints(), doorkeeper, RequestLimits(OPERATORS))


def operator_server(
    console: Console, listener: socket.socket, trusted_proxies: frozenset[str], tls: ServerTls | None = None
) -> HttpServer:  # fmt: skip
    return HttpServer(console, listener, BOUNDS, name="admin", trusted_proxies=trusted_proxies, tls=tls)


def tell_of_trail(trail: str, entry: Entry, digest: str) -> None:
    """An entry's number and hash in the process's log, which is kept elsewhere."""
    log.info(
        trail, number=entry.number, hash=digest, by=entry.by, action=entry.action, about=entry.about, outcome=entry.outcome
    )  # fmt: skip
