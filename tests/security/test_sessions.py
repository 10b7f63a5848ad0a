"""
What a page of somebody else's can do with a browser that is logged in: whatever it sends changes nothing; and what every answer tells a
browser, on every listener, whether it is a page or an error.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import pytest

from tests.security.support import Target, WebSocket, get
from tests.security.test_consoles import of_browser, of_console
from tests.support.browser import PASSWORD, PASSWORD_2
from tests.support.venue import ANN, BOB, Venue, filled, open_venue
from tests.unit.transport.support import handshake
from zerosum.console.access import OfOperator, OfUser
from zerosum.console.http import ALL_METHODS, Endpoint

_addresses = count(2)

NO_TOKEN: Final = (403, -1022)
NOT_JSON: Final = (415, -1100)


@pytest.fixture
async def venue(tmp_path: Path) -> AsyncIterator[Venue]:
    async with open_venue(tmp_path / "data") as found:
        yield found


def everything(venue: Venue) -> object:
    """What a request could have changed."""
    identities = venue.identities
    people = [identities.users.everybody(), identities.operators.everybody()]
    sessions = [sorted(each.id for each in of.list("ann")) for of in (identities.user_sessions, identities.operator_sessions)]
    accounts = [venue.embedded.views.account(account) for account in (ANN, BOB)]
    held = [(dict(account.balances), account.status) for account in accounts if account is not None]
    return people, sessions, held, identities.keys.list(ANN), venue.actions(), [each.record for each in identities.proposals.every()]


def form_for(endpoint: Endpoint) -> bytes:
    """One that could be taken."""
    info = msgspec.inspect.type_info(endpoint.form)
    assert isinstance(info, msgspec.inspect.StructType)
    by_kind: dict[type, Any] = {msgspec.inspect.StrType: PASSWORD, msgspec.inspect.IntType: 7, msgspec.inspect.VarTupleType: []}
    return json.dumps({field.name: by_kind[type(field.type)] for field in info.fields if type(field.type) in by_kind}).encode()


async def sent(
    url: str, endpoint: Endpoint, headers: dict[str, str], content: bytes = b"", method: str = "", more: str = ""
) -> httpx.Response:
    """Each from an address of its own: what one asks is not counted against another."""
    number = next(_addresses)
    transport = httpx.AsyncHTTPTransport(verify=False, local_address=f"127.1.{number >> 8}.{number & 255}")
    async with httpx.AsyncClient(timeout=60, transport=transport) as http:
        return await http.request(method or endpoint.method, url + filled(endpoint.path) + more, headers=headers, content=content)


def of(said: httpx.Response) -> tuple[int, int]:
    return said.status_code, said.json()["code"]


async def test_a_page_of_somebody_elses_changes_nothing(venue: Venue) -> None:
    """Each endpoint that does: without the session's token, with another one's, somewhere else than in its header, or as a form."""
    users = await venue.user("ann", ANN), await venue.user("bob", BOB)
    operators = await venue.operator("ann", "admin", "support", "market", "treasury"), await venue.operator("bob", "viewer")
    again = await asyncio.to_thread(venue.identities.user_sessions.begin, "ann", "", "")
    before, asked = everything(venue), 0
    for url, (ann, bob) in ((venue.public, users), (venue.admin, operators)):
        good = of_browser(ann).headers
        cookie = good["cookie"]
        for endpoint in of_console(venue, url):
            if endpoint.method == "GET" or not isinstance(endpoint.access, OfUser | OfOperator):
                continue
            asked += 1
            form = {"content-type": "application/json"}
            for token in ("", bob.csrf, again.csrf, ann.csrf[:-1], ann.csrf.upper(), f"{ann.csrf} {ann.csrf}"):
                said = await sent(url, endpoint, {"cookie": cookie, "x-csrf-token": token} | form, form_for(endpoint))
                assert of(said) == NO_TOKEN, endpoint.path
            elsewhere = {"cookie": f"{cookie}; x-csrf-token={ann.csrf}; csrf={ann.csrf}", "x-csrf": ann.csrf, "csrf": ann.csrf}
            assert of(await sent(url, endpoint, elsewhere | form, form_for(endpoint))) == NO_TOKEN, endpoint.path
            for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json", ""):
                said = await sent(url, endpoint, good | {"content-type": kind}, form_for(endpoint))
                assert of(said) == NOT_JSON, (endpoint.path, kind)
    assert asked == sum(
        each.method != "GET" and isinstance(each.access, OfUser | OfOperator)
        for url in (venue.public, venue.admin)
        for each in of_console(venue, url)
    )
    assert everything(venue) == before


async def test_nothing_is_changed_by_a_get_or_by_another_method_than_its_own(venue: Venue) -> None:
    """Links, images and forms of other pages send GET and POST, with the cookie where the browser lets them."""
    browsers = {venue.public: await venue.user("ann", ANN), venue.admin: await venue.operator("ann", "admin", "support", "treasury")}
    before = everything(venue)
    for url, browser in browsers.items():
        headers = {**of_browser(browser).headers, "origin": "https://elsewhere.example", "x-http-method-override": "DELETE"}
        by_path: dict[str, list[Endpoint]] = {}
        for endpoint in of_console(venue, url):
            by_path.setdefault(endpoint.path, []).append(endpoint)
        for which in by_path.values():
            for method in set(ALL_METHODS) - {each.method for each in which}:
                said = await sent(url, which[0], headers, method=method)
                assert said.status_code == 405, (method, which[0].path)
                assert {each.strip() for each in said.headers["allow"].split(",")} == {each.method for each in which}
                assert not [name for name in said.headers if name.startswith("access-control")]
            for endpoint in which:
                if endpoint.method != "GET":
                    said = await sent(url, endpoint, headers, method="GET", more=f"?_method={endpoint.method}")
                    assert said.status_code in (400, 403, 404, 405), endpoint.path
    assert everything(venue) == before


async def test_a_changed_password_or_second_factor_ends_all_other_sessions(venue: Venue) -> None:
    """Of users and of operators: whoever has got into one is out, and who has made the change is not."""
    ann, ada = await venue.user("ann", ANN), await venue.operator("ada", "viewer")
    await ann.set_second_factor()
    for browser, sessions, name in ((ann, venue.identities.user_sessions, "ann"), (ada, venue.identities.operator_sessions, "ada")):
        one, other = browser.recovery_codes[:2]
        changes: tuple[tuple[str, str, dict[str, str]], ...] = (
            ("POST", "/password", {"password": PASSWORD, "new_password": PASSWORD_2, "code": one}),
            ("DELETE", "/second-factor", {"password": PASSWORD_2, "code": other}),
        )
        for method, path, form in changes:
            stolen = await asyncio.to_thread(sessions.begin, name, "10.9.8.7", "a thief's")
            assert (await browser.send(method, path, form | {"password": "wrong"})).status_code == 401
            assert sessions.found(stolen.token) is not None
            assert (await browser.send(method, path, form)).status_code == 200
            assert sessions.found(stolen.token) is None
        stolen = await asyncio.to_thread(sessions.begin, name, "10.9.8.7", "a thief's")
        await browser.set_second_factor(PASSWORD_2)
        assert sessions.found(stolen.token) is None
        assert (await browser.send("GET", "/session")).status_code == 200


async def test_a_cookie_is_no_ones_but_the_servers(tmp_path: Path) -> None:
    """Over TLS by a name that browsers keep for what the server itself has set; whoever speaks without TLS has another."""
    async with open_venue(tmp_path / "data", trusted_proxies=frozenset({"127.0.0.1"})) as venue:
        await asyncio.to_thread(venue.identities.users.create, "ann", PASSWORD, account_id=ANN)
        names = {"__Host-zerosum", "zerosum"}
        for proto, name in (("https", "__Host-zerosum"), ("http", "zerosum")):
            browser = venue.browser()
            login = {"name": "ann", "password": PASSWORD}
            said = await browser.http.post("/login", json=login, headers={"x-forwarded-proto": proto})
            cookie, *attributes = said.headers["set-cookie"].split("; ")
            assert cookie.startswith(f"{name}=ann.")
            expected = {"path=/", "httponly", "samesite=strict"} | ({"secure"} if proto == "https" else set())
            assert {each.lower() for each in attributes} == expected
            value, (wrong,), (other,) = cookie.partition("=")[2], names - {name}, {"https", "http"} - {proto}
            for sent_as, by, status in ((name, proto, 200), (name, other, 401), (wrong, proto, 401)):
                headers = {"cookie": f"{sent_as}={value}", "x-forwarded-proto": by}
                async with httpx.AsyncClient(timeout=60) as http:
                    found = await http.get(f"{venue.public}/account/v1/session", headers=headers)
                assert found.status_code == status, (sent_as, by)


# ---------------------------------------------------------------------- what every answer tells a browser


KEEP_OFF: Final = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
}
OVER_TLS: Final = {"strict-transport-security": "max-age=31536000; includeSubDomains"}
PAGES: Final = {
    "rest": (b"/api/v3/time", b"/account/v1/session", b"/sapi/v1/capital/withdraw/history"),
    "websocket": (b"/ws-api/v3",),
    "operations": (b"/healthz", b"/readyz", b"/metrics"),
    "admin": (b"/admin/v1/session", b"/admin/v1/payouts"),
}


def head(line: bytes, *headers: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join((line + b" HTTP/1.1", b"Host: h", b"Connection: close", *headers, b"", body))


ODD: Final = {
    "not there": get(b"/nowhere"),
    "no path": get(b"nowhere"),
    "no target": get(b"*"),
    "no HTTP": b"\x00\x01\r\n\r\n",
    "another version": b"GET / HTTP/9.9\r\n\r\n",
    "too long a path": get(b"/" + b"x" * 20_000),
    "too many headers": get(b"/", *[b"A%d: b" % number for number in range(300)]),
    "too large": head(b"POST /", b"Content-Length: 100000000"),
    "two hosts": get(b"/", b"Host: other"),
    "for other pages": head(b"OPTIONS /api/v3/time", b"Origin: https://e.example", b"Access-Control-Request-Method: GET"),
    "traced": head(b"TRACE /"),
    "through": head(b"CONNECT h:80"),
    "a form": head(b"POST /account/v1/login", b"Content-Type: text/plain", b"Content-Length: 2", body=b"{}"),
}


@pytest.mark.parametrize("listener", PAGES)
def test_every_answer_tells_browsers_to_keep_off(target: Target, listener: str) -> None:
    """Not to frame it, guess at it, keep it, run it, or let pages of others read it; pages and errors alike."""
    expected = KEEP_OFF | (OVER_TLS if target.is_secure and listener != "operations" else {})
    asked = [get(path, b"Origin: https://e.example", b"Cookie: zerosum=ann.x") for path in PAGES[listener]] + list(ODD.values())
    if listener == "websocket":
        asked.append(handshake(headers="Origin: https://e.example\r\n").replace(b"Version: 13", b"Version: 12"))
        with WebSocket.opened(target) as client:
            lines = client.head.decode().lower().split("\r\n")
            assert not [name for name, value in expected.items() if f"{name}: {value}".lower() not in lines]
    statuses = set()
    for said in asked:
        answers = target.answers(said, listener)
        if listener == "websocket" and not answers:
            continue  # what is no handshake is closed there
        (answer,) = answers
        statuses.add(answer.status)
        assert {name: answer.headers.get(name) for name in expected} == expected, (said[:60], answer)
        assert not [name for name in answer.headers if name.startswith("access-control") or name in ("server", "x-powered-by")], said[:60]
        kind = answer.headers.get("content-type", "application/json")
        assert kind.startswith("application/json") or said.startswith(b"GET /metrics"), (said[:60], kind)
    assert statuses >= ({400, 404} if listener == "websocket" else {400, 404, 414, 431}), statuses
