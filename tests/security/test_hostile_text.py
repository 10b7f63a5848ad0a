"""
Text that is meant for something behind us: a database, a log, a terminal, a template, a file system, a reader's eyes. Put into every
parameter, every member of every form and every part of every path that there is, from the tables that they are served from.

Must hold: each is refused, or kept as exactly what it is; no answer has a header of the sender's, none is a fault of ours, nothing that the
log says has another name than ours, and all that there was is there afterwards.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import httpx
import msgspec
import pytest
from argon2 import PasswordHasher
from structlog.testing import capture_logs

from tests.security.test_consoles import of_browser, of_console
from tests.security.test_replay import PARAMS as GOOD_PARAMS
from tests.support.browser import PASSWORD, PASSWORD_2, Browser
from tests.support.money import ADDRESS
from tests.support.signing import Signer, by_hmac, clock_ms
from tests.support.venue import ANN, BOB, Venue, filled, open_venue
from zerosum.console.access import Anyone, OfKey, OfOperator, OfService, OfUser
from zerosum.console.doors import WithdrawalSettings
from zerosum.console.http import Endpoint
from zerosum.gateway.api import ROUTES
from zerosum.gateway.limits import Allowance
from zerosum.identity import attempts
from zerosum.identity.keys import DEPOSIT, NOBODY, PAYOUT, READ, TRADE, WITHDRAW, Wanted
from zerosum.identity.people import ROLES

HOSTILE: Final = (
    "x'; DROP TABLE documents; TRUNCATE zerosum.documents; --", "%_%", "x\r\nx-injected: yes\r\n\r\n<html>", "x\x00y", "\x1b[31mred\x07",
    "%s%n{0.__class__}{{7*7}}${jndi:ldap://h/}$(id)", "../../../etc/passwd", "\uff11\uff10\uff10\uff11", "\u202eCTB",
    "a\u0301\u0301\u0301", "BTC\u200b", "\u0430nn", "9" * 400, "x" * 9_000,
)  # fmt: skip
GOOD: Final[dict[str, Any]] = {
    "name": "mallory", "password": PASSWORD, "new_password": PASSWORD_2, "code": "", "label": "", "permissions": ["READ"],
    "addresses": ["127.0.0.1"], "public_key": None, "expires_ms": 0, "asset": "BTC", "coin": "BTC", "network": "BITCOIN",
    "address": ADDRESS, "addressTag": "", "memo": "", "amount": "1", "order_id": "", "withdrawOrderId": "", "walletType": 0,
    "wallet": "trading", "to": "funding", "type": "MAIN_FUNDING", "account": ANN, "id": 7, "source": ANN, "target": BOB, "ticket": "T-1",
    "roles": ["viewer"], "reason": "asked for at the desk", "status": "trading", "what": "x", "reference": "txid:1", "after": 0,
    "of": "users", "open": True,
}  # fmt: skip
"""By the name of a member, whatever form it is of."""
FREE: Final = {"reason", "label", "reference", "code"}
"""Members that take what can be printed, in any language; and a code, of who has none to show. Of others nothing of the above is good."""
TAKEN: Final = {("exchangeInfo", "permissions")}
"""Parameters that clients of Binance send, and that are not looked at."""
ENDS_WHAT_ASKS: Final = ("/logout", "/password", "DELETE /account/v1/second-factor", "DELETE /admin/v1/second-factor")
"""They take what others do as well."""
OURS: Final = {"http.request_refused", "trail", "user-trail", "console.refused", "console.busy", "request.refused"}

_addresses = count(2)


@pytest.fixture
async def venue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Venue]:
    """Where nobody is held up for asking much."""
    for name in ("PAIR_MAX", "NAME_MAX", "ADDRESS_MAX"):
        monkeypatch.setattr(attempts, name, 1 << 40)
    settings = WithdrawalSettings((), cool_down_s=0.0, second_factor=False)
    much = Allowance(1 << 40, 1 << 40, 1 << 40, 1 << 40)
    async with open_venue(tmp_path / "data", withdrawals=settings, allowance=much) as found:
        found.identities._passwords._hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        yield found


async def key_of(venue: Venue, account: int, *permissions: str) -> Signer:
    identities = venue.identities
    keys, ring = (identities.keys, identities.ring) if account else (identities.service_keys, identities.service_ring)
    made = await asyncio.to_thread(keys.create, Wanted(account, permissions, addresses=("127.0.0.0/8",)))
    await asyncio.to_thread(ring.refresh)
    return by_hmac(*made)


def is_whole(said: httpx.Response) -> None:
    """An answer of ours, in every header and to its end."""
    assert said.status_code < 500, said.text
    assert "x-injected" not in said.headers
    assert said.headers["content-type"].startswith("application/json")
    json.loads(said.content)


def contents(venue: Venue) -> object:
    """Whom there is, and what belongs to who has not asked for anything."""
    bob = venue.embedded.views.account(BOB)
    assert bob is not None
    return dict(bob.balances), venue.identities.users.everybody(), venue.identities.operators.everybody()


def members(endpoint: Endpoint) -> Iterator[str]:
    info = msgspec.inspect.type_info(endpoint.form)
    assert isinstance(info, msgspec.inspect.StructType)
    for field in info.fields:
        assert field.name in GOOD, f"{endpoint.path}: what would be good for {field.name}?"
        yield field.name


def sent_as(name: str, text: str) -> Any:
    return [text] if isinstance(GOOD[name], list) else text


async def ask(venue: Venue, url: str, endpoint: Endpoint, path: str, form: dict[str, Any], who: Browser | Signer | None) -> httpx.Response:
    """By somebody who may."""
    number = next(_addresses)
    transport = httpx.AsyncHTTPTransport(verify=False, local_address=f"127.2.{number >> 8}.{number & 255}")
    headers, query, body = {"user-agent": "tests"}, "", b""
    if isinstance(endpoint.access, OfKey) or endpoint.method == "GET":
        query = urlencode({name: str(value) for name, value in form.items() if value != ""})
    else:
        body = json.dumps(form).encode()
        headers["content-type"] = "application/json"
    if isinstance(who, Browser):
        headers |= of_browser(who).headers
    elif who is not None:
        headers["x-mbx-apikey"] = who.api_key
        if isinstance(endpoint.access, OfService):
            query = who.own(endpoint.method, path, body)
        else:
            query = who.signed("&".join(filter(None, (query, f"timestamp={clock_ms()}"))))
    async with httpx.AsyncClient(timeout=60, transport=transport) as http:
        return await http.request(endpoint.method, f"{url}{path}?{query}", content=body, headers=headers)


async def whoever_may(venue: Venue) -> dict[str, Browser | Signer]:
    return {
        "user": await venue.user("ann", ANN),
        "operator": await venue.operator("ada", *ROLES),
        "key": await key_of(venue, ANN, READ, TRADE, WITHDRAW),
        DEPOSIT: await key_of(venue, NOBODY, DEPOSIT),
        PAYOUT: await key_of(venue, NOBODY, PAYOUT),
    }


def who_of(endpoint: Endpoint, people: dict[str, Browser | Signer]) -> Browser | Signer | None:
    if isinstance(endpoint.access, Anyone):
        return None
    if isinstance(endpoint.access, OfService):
        return people[endpoint.access.permission]
    return people["user" if isinstance(endpoint.access, OfUser) else "operator" if isinstance(endpoint.access, OfOperator) else "key"]


async def test_a_member_of_a_form_is_refused_or_kept_as_it_is(venue: Venue) -> None:
    people, other = await whoever_may(venue), await venue.operator("alan", *ROLES)
    user, operator = people["user"], people["operator"]
    assert isinstance(user, Browser)
    assert isinstance(operator, Browser)
    before, tried, taken = contents(venue), set(), set()
    with capture_logs() as lines:
        for url in (venue.public, venue.admin):
            for endpoint in of_console(venue, url):
                if endpoint.path.endswith(("/password", "/logout")) or (
                    endpoint.path.endswith("/second-factor") and endpoint.method == "DELETE"
                ):
                    continue  # what they take is what /second-factor takes, and they end what is asked with
                form = {name: GOOD[name] for name in members(endpoint)}
                for name in form:
                    tried.add(name)
                    for text in HOSTILE:
                        said = await ask(
                            venue, url, endpoint, filled(endpoint.path), form | {name: sent_as(name, text)}, who_of(endpoint, people)
                        )
                        is_whole(said)
                        if said.status_code == 200 and said.json() != []:
                            taken.add(name)
                        assert said.status_code not in (401, 403) or name in ("password", "name", "code"), (endpoint.path, name, said.text)
        assert contents(venue) == before
        waiting = (await operator.send("GET", "/proposals")).json()["proposals"]
        assert len(waiting) > 100, "what is proposed is looked at when it is to be done"
        done: set[str] = set()
        for each in waiting:
            said = await other.send("POST", f"/proposals/{each['id']}/approve")
            is_whole(said)
            if said.status_code == 200:
                done |= {name for name, value in each["arguments"].items() if value != GOOD.get(name, value)}
    assert done == {"ticket"}, "which is up to 16 characters of ASCII"
    assert tried == set(GOOD) - {"new_password"}
    assert taken == FREE
    assert {line["event"] for line in lines} <= OURS, "what somebody sent is a field of a line, and no line"
    assert {person.name for person in venue.identities.operators.everybody()} == {"ada", "alan", "mallory"}
    assert venue.identities.trail.verify().number > 1_000
    assert venue.identities.users_trail.verify().number > 0


async def test_a_part_of_a_path_names_nothing_but_what_it_is(venue: Venue) -> None:
    people = await whoever_may(venue)
    before = contents(venue)
    asked = 0
    for url in (venue.public, venue.admin):
        for endpoint in of_console(venue, url):
            parts = re.findall(r"\{[^}]*\}", endpoint.path)
            for part in parts:
                for text in HOSTILE[:-1]:
                    asked += 1
                    form = {name: GOOD[name] for name in members(endpoint)}
                    path = filled(endpoint.path.replace(part, "PART")).replace("PART", quote(text, safe=""))
                    said = await ask(venue, url, endpoint, path, form, who_of(endpoint, people))
                    is_whole(said)
                    assert said.status_code in ((202, 400, 404) if part == "{operator}" else (400, 404)) or said.json() in (
                        {"sessions": []}, {"ended": 0},
                    ), (endpoint.path, text, said.text)  # fmt: skip
    assert asked > 500
    assert contents(venue) == before


async def test_a_parameter_of_the_exchange_is_refused(venue: Venue) -> None:
    """Every one that an operation takes."""
    signer = await key_of(venue, ANN, READ, TRADE)
    api, asked, taken = venue.embedded.api, 0, set()
    account = venue.embedded.views.account(ANN)
    assert account is not None
    with capture_logs() as lines:
        async with httpx.AsyncClient(base_url=venue.public, timeout=60, headers={"x-mbx-apikey": signer.api_key}) as http:
            for path, methods in ROUTES.items():
                for method, name in methods.items():
                    operation = api.routes[path][method]
                    for parameter in sorted(operation.accepted):
                        for text in HOSTILE:
                            asked += 1
                            sent = {**GOOD_PARAMS.get(name, {}), parameter: text}
                            if operation.security and parameter != "timestamp":
                                sent["timestamp"] = str(clock_ms())
                            if operation.security and parameter != "signature":
                                sent["signature"] = signer.sign(urlencode(sent).encode())
                            said = await http.request(method, f"{path}?{urlencode(sent)}")
                            is_whole(said)
                            if said.status_code != 400:
                                taken.add((name, parameter))
    assert asked > 1_000
    assert {line["event"] for line in lines} <= OURS
    assert taken == TAKEN
    assert not account.open_orders


async def test_what_a_client_calls_itself_is_shown_to_people_without_what_can_not_be_printed(venue: Venue) -> None:
    user = await venue.user("ann", ANN)
    for text in ("\x1b[31mred", "a\tb", "\u202e".encode().decode("latin-1"), "<script>", "x" * 5_000):
        headers = [(b"user-agent", text.encode("latin-1", "replace")), (b"x-forwarded-for", b"10.0.0.1")]
        async with httpx.AsyncClient(base_url=venue.public, timeout=60) as http:
            said = await http.post("/account/v1/login", json={"name": "ann", "password": PASSWORD}, headers=headers)
            assert said.status_code in (200, 400), text
    for session in (await user.send("GET", "/sessions")).json()["sessions"]:
        assert session["agent"].isprintable()
        assert len(session["agent"]) <= 120
        assert session["client"] == "127.0.0.1"
