"""
The consoles, every endpoint of them, asked by everybody there is: each role, somebody without one, users, programs, sessions that have
ended. What docs/reference/admin.md says of who may is what holds, and nothing more; an endpoint that is not asked so fails the suite.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple

import httpx
import msgspec
import pytest

from tests.support.browser import PASSWORD, Browser
from tests.support.signing import Signer, by_hmac, clock_ms
from tests.support.venue import ANN, Venue, endpoints, filled, open_venue
from zerosum.console.access import Access, Anyone, OfKey, OfOperator, OfService, OfUser
from zerosum.console.http import Endpoint
from zerosum.gateway.api import ROUTES
from zerosum.identity.keys import DEPOSIT, NOBODY, PAYOUT, READ, TRADE, WITHDRAW, Wanted
from zerosum.identity.people import ROLES

PAGE: Final = (Path(__file__).resolve().parents[2] / "docs/reference/admin.md").read_text()
ROOT: Final = "/admin/v1"
USER_COOKIE, OPERATOR_COOKIE = "zerosum", "zerosum-operator"

Said = tuple[int, int]
NOT_LOGGED_IN: Final = (401, -2015)
FORBIDDEN: Final = (403, -2015)
NOT_READY: Final = (403, -2017)
NOT_SIGNED: Final = (400, -1102)
WRONG_SIGNATURE: Final = (400, -1022)
OF_WHO_ASKS: Final = {NOT_LOGGED_IN, FORBIDDEN, NOT_READY, NOT_SIGNED, WRONG_SIGNATURE}

_addresses = count(10)


class Asker(NamedTuple):
    """From an address of its own: what one asks is not counted against another."""

    headers: dict[str, str]
    signer: Signer | None = None

    async def asks(self, url: str, which: list[Endpoint]) -> dict[str, Said]:
        """Status and code by endpoint; logging out last, for it ends the session that asks."""
        found: dict[str, Said] = {}
        transport = httpx.AsyncHTTPTransport(verify=False, local_address=f"127.0.0.{next(_addresses)}")
        async with httpx.AsyncClient(timeout=60, transport=transport) as http:
            for endpoint in sorted(which, key=lambda each: each.path.endswith("/logout")):
                path = filled(endpoint.path)
                said = await http.request(endpoint.method, f"{url}{path}{self._query(endpoint, path)}", headers=self.headers)
                body = said.json()
                found[name_of(endpoint)] = (said.status_code, body.get("code", 0) if isinstance(body, dict) else 0)
        return found

    def _query(self, endpoint: Endpoint, path: str) -> str:
        if self.signer is None:
            return ""
        if isinstance(endpoint.access, OfKey):
            return f"?{self.signer.query({})}"
        return f"?{self.signer.own(endpoint.method, path)}"


def of_browser(browser: Browser) -> Asker:
    cookies = "; ".join(f"{name}={value}" for name, value in browser.http.cookies.items())
    return Asker({"cookie": cookies, "x-csrf-token": browser.csrf})


def of_signer(signer: Signer) -> Asker:
    return Asker({"x-mbx-apikey": signer.api_key}, signer)


def name_of(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.path}"


def of_console(venue: Venue, url: str) -> list[Endpoint]:
    return [each for where, each in endpoints(venue) if where == url]


def by_the_page() -> dict[str, set[str]]:
    """Who may, by endpoint, as the reference has it."""
    rows = [line.split(" | ") for line in PAGE.splitlines() if line.startswith(("| GET `/", "| POST `/", "| DELETE `/"))]
    return {
        row[0].removeprefix("| ").replace("`", "").replace(" /", f" {ROOT}/"): set(row[1].split(", ")) - {"two of them"} for row in rows
    }


def in_the_page(endpoint: Endpoint) -> str:
    return name_of(endpoint).replace(":number", "")


@pytest.fixture
async def venue(tmp_path: Path) -> AsyncIterator[Venue]:
    async with open_venue(tmp_path / "data") as found:
        yield found


async def key_of(venue: Venue, account: int, *permissions: str) -> Signer:
    identities = venue.identities
    keys, ring = (identities.keys, identities.ring) if account else (identities.service_keys, identities.service_ring)
    made = await asyncio.to_thread(keys.create, Wanted(account, permissions, addresses=("127.0.0.0/8",)))
    await asyncio.to_thread(ring.refresh)
    return by_hmac(*made)


# ---------------------------------------------------------------------- roles and programs


async def test_an_operator_may_do_what_one_of_the_roles_may_and_nothing_else(venue: Venue) -> None:
    """Every role, and none, against every endpoint of the operators' console."""
    which, page = of_console(venue, venue.admin), by_the_page()
    assert {in_the_page(each) for each in which} == set(page), "all endpoints, each with who may"
    await asyncio.to_thread(venue.identities.operators.create, "nobody", PASSWORD)
    nobody = venue.browser(operator=True)
    assert (await nobody.log_in("nobody")).status_code == 200
    for role, operator in [(role, await venue.operator(f"the-{role}", role)) for role in ROLES] + [("", nobody)]:
        said = await of_browser(operator).asks(venue.admin, which)
        for endpoint in which:
            who = page[in_the_page(endpoint)]
            if "a program" in who:
                expected = said[name_of(endpoint)] == NOT_SIGNED
            elif who & {role, "anybody"} or (role and "every role" in who):
                expected = said[name_of(endpoint)] not in OF_WHO_ASKS
            else:
                expected = said[name_of(endpoint)] == FORBIDDEN
            assert expected, (role, name_of(endpoint), said[name_of(endpoint)])
        assert len(said) == len(page)


async def test_a_program_may_do_what_its_key_is_for_and_nothing_else(venue: Venue) -> None:
    which, page = of_console(venue, venue.admin), by_the_page()
    for permission in (DEPOSIT, PAYOUT):
        said = await of_signer(await key_of(venue, NOBODY, permission)).asks(venue.admin, which)
        for endpoint in which:
            who, what = page[in_the_page(endpoint)], said[name_of(endpoint)]
            if "a program" in who:
                assert (what not in OF_WHO_ASKS) if permission in who else (what == FORBIDDEN), (permission, name_of(endpoint), what)
            elif "anybody" not in who:
                assert what == NOT_LOGGED_IN, (permission, name_of(endpoint), what)


def without(access: Access) -> Said:
    """What is answered to somebody who comes without a session that is good, and without a key that is."""
    return NOT_LOGGED_IN if isinstance(access, OfUser | OfOperator) else NOT_SIGNED


async def test_nothing_is_answered_to_who_has_not_logged_in(venue: Venue) -> None:
    user, operator = await venue.user("ann", ANN), await venue.operator("ann", "admin", "support", "treasury")
    token, other = user.http.cookies[USER_COOKIE], operator.http.cookies[OPERATOR_COOKIE]
    wrong = {
        venue.public: (
            f"{OPERATOR_COOKIE}={other}", f"{USER_COOKIE}={other}", f"{USER_COOKIE}={token}x", f"{USER_COOKIE}={token}; {USER_COOKIE}=x",
        ),
        venue.admin: (
            f"{USER_COOKIE}={token}", f"{OPERATOR_COOKIE}={token}", f"__Host-{OPERATOR_COOKIE}={other}", f"{OPERATOR_COOKIE}=ann.",
        ),
    }  # fmt: skip
    for url, cookies in wrong.items():
        which = of_console(venue, url)
        for headers in ({}, *({"cookie": cookie, "x-csrf-token": operator.csrf} for cookie in cookies)):
            said = await Asker(headers).asks(url, which)
            for endpoint in which:
                if isinstance(endpoint.access, Anyone):
                    assert endpoint.path.endswith("/login")
                    continue
                assert said[name_of(endpoint)] == without(endpoint.access), (headers, name_of(endpoint))
    for browser in (user, operator):
        assert (await browser.send("GET", "/session")).status_code == 200, "or nothing was shown"


async def test_a_users_key_opens_nothing_that_asks_for_a_session(venue: Venue) -> None:
    signer = await key_of(venue, ANN, READ, TRADE, WITHDRAW)
    for url in (venue.public, venue.admin):
        which = of_console(venue, url)
        said = await of_signer(signer).asks(url, which)
        for endpoint in which:
            if isinstance(endpoint.access, OfUser | OfOperator):
                assert said[name_of(endpoint)] == NOT_LOGGED_IN, name_of(endpoint)
            elif isinstance(endpoint.access, OfService):
                assert said[name_of(endpoint)] == WRONG_SIGNATURE, name_of(endpoint)


async def test_a_session_asks_nothing_that_is_to_be_signed(venue: Venue) -> None:
    """A browser brings its cookie along to whatever a page of somebody else's makes it ask for."""
    user = await venue.user("ann", ANN)
    headers = of_browser(user).headers
    async with httpx.AsyncClient(base_url=venue.public, timeout=60, headers=headers) as http:
        for path, methods in ROUTES.items():
            for method, name in methods.items():
                if venue.embedded.api.routes[path][method].security:
                    said = await http.request(method, path, params={"timestamp": str(clock_ms())})
                    assert said.json()["code"] == -2014, name
    which = [each for each in of_console(venue, venue.public) if isinstance(each.access, OfKey)]
    assert set((await of_browser(user).asks(venue.public, which)).values()) == {NOT_SIGNED}


# ---------------------------------------------------------------------- sessions that are not good any more


Ends = Callable[[Venue], object]


def of_everybody(venue: Venue, **fields: int) -> None:
    """The times of all sessions there are."""
    vault = venue.identities.vault
    for sessions in (venue.identities.user_sessions, venue.identities.operator_sessions):
        for each in sessions.list("ann"):
            vault.change(sessions.kind, "ann", each.id, lambda record: msgspec.structs.replace(record, **fields))


def revoked(venue: Venue) -> None:
    for sessions in (venue.identities.user_sessions, venue.identities.operator_sessions):
        assert sessions.revoke_all("ann") == 1


def put_out(venue: Venue) -> None:
    for people in (venue.identities.users, venue.identities.operators):
        people.set_active("ann", False)


def idle(venue: Venue) -> None:
    of_everybody(venue, used_us=1)


def old(venue: Venue) -> None:
    of_everybody(venue, began_us=1)


@pytest.mark.parametrize("ends", [revoked, put_out, idle, old])
async def test_a_session_that_has_ended_opens_nothing(venue: Venue, ends: Ends) -> None:
    browsers = {venue.public: await venue.user("ann", ANN), venue.admin: await venue.operator("ann", *ROLES)}
    for browser in browsers.values():
        assert (await browser.send("GET", "/session")).status_code == 200
    await asyncio.to_thread(ends, venue)
    for url, browser in browsers.items():
        which = [each for each in of_console(venue, url) if isinstance(each.access, OfUser | OfOperator)]
        assert set((await of_browser(browser).asks(url, which)).values()) == {NOT_LOGGED_IN}


async def test_who_has_not_set_everything_up_can_do_that_and_nothing_else(venue: Venue) -> None:
    """With a password that somebody else has set, and operators without a second factor."""
    identities = venue.identities
    await asyncio.to_thread(identities.users.create, "ann", PASSWORD, account_id=ANN, must_change=True)
    await asyncio.to_thread(identities.operators.create, "ada", PASSWORD, roles=ROLES, must_change=True)
    await asyncio.to_thread(identities.operators.create, "alan", PASSWORD, roles=ROLES)
    for name, operator in (("ann", False), ("ada", True), ("alan", True)):
        browser = venue.browser(operator=operator)
        await browser.log_in(name)
        url = venue.admin if operator else venue.public
        which = [each for each in of_console(venue, url) if isinstance(each.access, OfUser | OfOperator)]
        said = await of_browser(browser).asks(url, which)
        may = {path.rpartition("/v1")[2] for path, what in said.items() if what not in OF_WHO_ASKS}
        assert may == {"/logout", "/session", "/password", "/second-factor", "/second-factor/confirm"}, name
        left = {what for path, what in said.items() if path.rpartition("/v1")[2] not in may or path.startswith("DELETE")}
        assert left == {NOT_READY}, name
