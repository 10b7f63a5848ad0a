"""The consoles of an exchange that runs, over real sockets: who may do what, four eyes, switches, and what the trail says of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from tests.support.browser import PASSWORD, PASSWORD_2, Browser
from tests.support.serving import ask
from tests.support.venue import ANN, BOB, Venue, endpoints, open_venue
from zerosum.console.access import Access, OfOperator, OfService
from zerosum.core import records
from zerosum.core.codes import WALLET_BIT
from zerosum.identity.people import ROLES


@pytest.fixture
async def venue(tmp_path: Path) -> AsyncIterator[Venue]:
    async with open_venue(tmp_path / "data") as found:
        yield found


async def rest(venue: Venue, account: int, orders: int) -> None:
    """So many open orders of an account, to buy far below."""
    for number in range(orders):
        place = records.command(records.PLACE, 0, account, records.terms(0, 0, 1), 100 + number, 1_000, 0, 1 << 61)
        events = await ask(venue.embedded, place)
        assert events[0][0] & 0xFF == records.ADMITTED, records.named(events[0])


def open_orders(venue: Venue, account: int) -> int:
    found = venue.embedded.views.account(account)
    assert found is not None
    return len(found.open_orders)


# ---------------------------------------------------------------------- every endpoint has a rule, and keeps it


PAGE = (Path(__file__).resolve().parents[3] / "docs/reference/admin.md").read_text()


def who_may(access: Access) -> set[str]:
    """As the reference page has it."""
    if isinstance(access, OfOperator):
        return {"every role"} if access.roles == set(ROLES) else set(access.roles)
    return {"a program", access.permission} if isinstance(access, OfService) else {"anybody"}


async def test_the_reference_page_has_every_operators_endpoint_and_who_may_use_it(venue: Venue) -> None:
    rows = {line.split(" | ")[0].removeprefix("| "): line.split(" | ")[1] for line in PAGE.splitlines() if line.startswith("| ")}
    for endpoint in [each for url, each in endpoints(venue) if url == venue.admin]:
        who = rows.pop(f"{endpoint.method} `{endpoint.path.removeprefix('/admin/v1').replace(':number', '')}`")
        assert set(who.removesuffix(", two of them").split(", ")) == who_may(endpoint.access), endpoint.path
    assert not [row for row in rows if " `/" in row and "below" not in row], "of endpoints that are not there"


# ---------------------------------------------------------------------- sessions


async def test_a_session_is_in_a_cookie_that_no_script_and_no_other_site_gets(venue: Venue) -> None:
    user = await venue.user("ann", ANN)
    said = await user.log_in("ann")
    cookie = said.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert user.http.cookies["zerosum"] not in said.text
    assert said.headers["cache-control"] == "no-store"


async def test_a_login_has_a_session_of_its_own_whatever_cookie_came_with_it(venue: Venue) -> None:
    """Or whoever put a cookie there would be logged in as well."""
    user = await venue.user("ann", ANN)
    for planted in (user.http.cookies["zerosum"], "ann." + "A" * 43):
        async with httpx.AsyncClient(base_url=venue.public, timeout=60) as http:
            login = {"name": "ann", "password": PASSWORD}
            said = await http.post("/account/v1/login", json=login, headers={"cookie": f"zerosum={planted}"})
            assert said.cookies["zerosum"] != planted
            fixed = await http.get("/account/v1/session", headers={"cookie": f"zerosum={planted}; zerosum={said.cookies['zerosum']}"})
            assert fixed.status_code == 401, "two of that name: somebody has put one there"


async def test_what_changes_something_needs_the_sessions_own_token_and_json(venue: Venue) -> None:
    user = await venue.user("ann", ANN)
    other = await venue.user("bob", BOB)
    for csrf in ("", other.csrf, user.csrf[:-1] + "x"):
        refused = await user.http.request("DELETE", "/sessions", headers={"x-csrf-token": csrf} if csrf else {})
        assert (refused.status_code, refused.json()["code"]) == (403, -1022)
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        form = f'{{"password":"{PASSWORD}"}}'
        refused = await user.http.post("/keys", content=form, headers={"x-csrf-token": user.csrf, "content-type": content_type})
        assert refused.status_code == 415
    assert (await user.send("DELETE", "/sessions")).status_code == 200


async def test_sessions_are_seen_and_ended(venue: Venue) -> None:
    user, again = await venue.user("ann", ANN), venue.browser()
    await again.log_in("ann")
    listed = (await user.send("GET", "/sessions")).json()["sessions"]
    assert [each["this"] for each in listed].count(True) == 1
    assert len(listed) == 2
    other = next(each["id"] for each in listed if not each["this"])
    stranger = await venue.user("bob", BOB)
    assert (await stranger.send("DELETE", f"/sessions/{other}")).status_code == 404
    assert (await again.send("GET", "/session")).status_code == 200
    assert (await user.send("DELETE", f"/sessions/{other}")).status_code == 200
    assert (await again.send("GET", "/session")).status_code == 401
    assert (await user.send("POST", "/logout")).status_code == 200
    assert (await user.send("GET", "/session")).status_code == 401


async def test_a_changed_password_ends_all_other_sessions(venue: Venue) -> None:
    user, again = await venue.user("ann", ANN), venue.browser()
    await again.log_in("ann")
    change = {"password": "wrong", "new_password": PASSWORD_2}
    assert (await user.send("POST", "/password", change)).status_code == 401
    weak = {"password": PASSWORD, "new_password": "x" * 20}
    assert "guessed early" in (await user.send("POST", "/password", weak)).json()["msg"]
    same = {"password": PASSWORD, "new_password": PASSWORD}
    assert "the one that you have" in (await user.send("POST", "/password", same)).json()["msg"]
    assert [outcome.partition(":")[0] for _, action, outcome in venue.actions() if action == "password.change"] == ["begun", "failed"]
    done = await user.send("POST", "/password", change | {"password": PASSWORD})
    assert (done.status_code, done.json()["ended"]) == (200, 1)
    assert (await again.send("GET", "/session")).status_code == 401
    assert (await again.log_in("ann")).status_code == 401
    assert (await again.log_in("ann", PASSWORD_2)).status_code == 200


async def test_a_user_who_was_deactivated_is_out_at_once(venue: Venue) -> None:
    user, support = await venue.user("ann", ANN), await venue.operator("sue", "support")
    key = (await user.send("POST", "/keys", {"password": PASSWORD, "label": "bot"})).json()["key"]
    done = (await support.send("POST", "/users/ann/deactivate", {"reason": "asked for"})).json()
    assert (done["ended"], done["revoked"]) == (1, 1)
    found = venue.identities.keys.get(key)
    assert found is not None
    assert found.revoked_us > 0
    assert (await user.send("GET", "/session")).status_code == 401
    assert (await user.log_in("ann")).status_code == 401
    assert (await support.send("POST", "/users/ann/activate", {})).status_code == 200
    assert (await user.log_in("ann")).status_code == 200


async def makes_user(one: Browser, other: Browser, name: str, account: int) -> httpx.Response:
    """By two of support: what the approval is answered."""
    proposed = await one.send("POST", "/users", {"name": name, "account": account, "reason": "asked for at the desk"})
    return await other.send("POST", f"/proposals/{proposed.json()['proposal']}/approve")


async def test_a_user_is_made_for_an_account_that_has_none_and_for_no_wallet(venue: Venue) -> None:
    support, other = [await venue.operator(name, "support") for name in ("sue", "sam")]
    await ask(venue.embedded, records.command(records.DEPOSIT, 0, BOB | WALLET_BIT, 5, 0, 100))
    await venue.user("ann", ANN)
    for account, said in (
        (BOB | WALLET_BIT, "there is no account"),
        (2, "there is no account"),
        (9_999, "there is no account"),
        (ANN, "has a user already"),
    ):
        assert said in (await makes_user(support, other, "eve", account)).json()["msg"], account
    assert (await makes_user(support, other, "bob", BOB)).status_code == 200


async def test_a_number_that_fits_no_record_is_none(venue: Venue) -> None:
    """Before anybody is asked who they are, and after."""
    user, treasurer = await venue.user("ann", ANN), await venue.operator("tom", "treasury", "support")
    for number in ("9" * 5_000, "9" * 20, str(1 << 63), "-1"):
        async with httpx.AsyncClient(timeout=60) as http:
            said = await http.delete(f"{venue.public}/account/v1/withdrawals/{number}/1")
            assert (said.status_code, said.json()["code"]) == (404, -1020)
        assert (await user.send("DELETE", f"/withdrawals/1/{number}")).status_code == 404
        assert (await treasurer.send("POST", f"/accounts/{number[:30]}/block", {})).status_code == 404
    for beyond in (1 << 63, 1 << 70, -1):
        form = {"id": beyond, "source": ANN, "target": BOB, "asset": "BTC", "amount": "3", "ticket": "T", "reason": "a number too large"}
        assert (await treasurer.send("POST", "/adjustments", form)).status_code == 400


# ---------------------------------------------------------------------- API keys of one's own


async def test_a_user_makes_keys_for_the_own_account_and_sees_and_revokes_no_others(venue: Venue) -> None:
    ann, bob = await venue.user("ann", ANN), await venue.user("bob", BOB)
    assert (await ann.send("POST", "/keys", {"password": "wrong", "label": "bot"})).status_code == 401
    made = (await ann.send("POST", "/keys", {"password": PASSWORD, "label": "bot"})).json()
    found = venue.identities.keys.get(made["key"])
    assert found is not None
    assert found.account_id == ANN
    assert [each["key"] for each in (await ann.send("GET", "/keys")).json()["keys"]] == [made["key"]]
    assert made["secret"] not in (await ann.send("GET", "/keys")).text
    assert (await bob.send("GET", "/keys")).json() == {"keys": []}
    assert (await bob.send("DELETE", f"/keys/{made['key']}")).status_code == 404
    for account in ({"account": BOB}, {"account_id": BOB}):
        refused = await ann.send("POST", "/keys", {"password": PASSWORD} | account)
        assert "unknown field" in refused.json()["msg"]
    assert (await ann.send("DELETE", f"/keys/{made['key']}")).status_code == 200
    assert venue.identities.keys.list(BOB) == []


# ---------------------------------------------------------------------- operators


async def test_an_operator_without_a_second_factor_can_only_set_one_up(venue: Venue) -> None:
    await asyncio.to_thread(venue.identities.operators.create, "sue", PASSWORD, roles=("support",), must_change=True)
    browser = venue.browser(operator=True)
    await browser.log_in("sue")
    assert "change it first" in (await browser.send("GET", "/users")).json()["msg"]
    new = PASSWORD_2
    assert (await browser.send("POST", "/password", {"password": PASSWORD, "new_password": new})).status_code == 200
    assert "set one up first" in (await browser.send("GET", "/users")).json()["msg"]
    await asyncio.to_thread(venue.identities.operators.change_password, "sue", PASSWORD)
    await browser.set_second_factor()
    assert (await browser.send("GET", "/users")).status_code == 200


async def test_what_takes_two_is_done_by_another_ones_approval_alone(venue: Venue) -> None:
    one, other = await venue.operator("ada", "admin"), await venue.operator("alan", "admin")
    viewer = await venue.operator("vic", "viewer")
    wanted = {"name": "mallory", "roles": ["treasury"], "reason": "joins the treasury on Monday"}
    assert "reason: 8 to 500" in (await one.send("POST", "/operators", wanted | {"reason": "x"})).json()["msg"]
    proposed = await one.send("POST", "/operators", wanted)
    assert (proposed.status_code, proposed.json()["state"]) == (202, "open")
    assert venue.identities.operators.get("mallory") is None
    approve = f"/proposals/{proposed.json()['proposal']}/approve"
    assert "it is your own" in (await one.send("POST", approve)).json()["msg"]
    assert (await viewer.send("POST", approve)).status_code == 403
    done = await other.send("POST", approve)
    assert done.status_code == 200
    password = done.json()["result"]["temporary_password"]
    made = venue.identities.operators.get("mallory")
    assert made is not None
    assert (made.roles, made.must_change) == (("treasury",), True)
    assert "it is done" in (await other.send("POST", approve)).json()["msg"]
    entries = venue.identities.trail.entries()
    assert [(entry.by, entry.outcome) for entry in entries if entry.action == "operator.create"] == [
        ("ada", "proposed"), ("alan", "begun"), ("alan", "done"),
    ]  # fmt: skip
    assert not any(password in entry.detail for entry in entries)
    assert password not in (await viewer.send("GET", "/proposals")).text


async def test_of_two_who_approve_at_a_time_one_does_it(venue: Venue) -> None:
    one = await venue.operator("ada", "admin")
    others = [await venue.operator(name, "admin") for name in ("alan", "alice")]
    await asyncio.to_thread(venue.identities.operators.create, "vic", PASSWORD, roles=("viewer",))
    proposed = (await one.send("POST", "/operators/vic/roles", {"roles": ["support"], "reason": "moves to support"})).json()
    answers = await asyncio.gather(*(each.send("POST", f"/proposals/{proposed['proposal']}/approve") for each in others))
    assert sorted(each.status_code for each in answers)[0] == 200
    assert sorted(each.status_code for each in answers)[1] in (400, 409)
    assert [action for _, action, outcome in venue.actions() if outcome == "done"].count("operator.roles") == 1


async def test_a_proposal_that_is_refused_or_fails_is_not_done(venue: Venue) -> None:
    one, other = await venue.operator("ada", "admin"), await venue.operator("alan", "admin")
    proposed = (await one.send("POST", "/operators/nobody/activate", {"reason": "comes back on Monday"})).json()["proposal"]
    assert (await other.send("POST", f"/proposals/{proposed}/refuse")).json()["state"] == "refused"
    assert (await other.send("POST", f"/proposals/{proposed}/approve")).status_code == 400
    proposed = (await one.send("POST", "/operators/nobody/activate", {"reason": "comes back on Monday"})).json()["proposal"]
    assert "there is no operator" in (await other.send("POST", f"/proposals/{proposed}/approve")).json()["msg"]
    states = {each["id"]: each["state"] for each in (await one.send("GET", "/proposals")).json()["proposals"]}
    assert states[proposed] == "failed"
    assert (await other.send("POST", "/proposals/none/approve")).status_code == 404


async def test_what_an_operator_does_is_in_the_trail_before_it_is_done(venue: Venue, monkeypatch: pytest.MonkeyPatch) -> None:
    support = await venue.operator("sue", "support")
    assert (await support.send("POST", f"/accounts/{ANN}/block", {"reason": "looks stolen"})).status_code == 200
    (begun, done) = [entry for entry in venue.identities.trail.entries() if entry.action == "account.block"]
    assert (begun.by, begun.about, begun.outcome, done.outcome) == ("sue", f"account {ANN}", "begun", "done")
    assert "looks stolen" in begun.detail
    assert begun.client == "127.0.0.1"
    assert (
        "failed: PeopleError"
        in [(await support.send("POST", "/users/nobody/deactivate", {}), venue.identities.trail.entries()[-1].outcome)][0][1]
    )

    def full(**_: object) -> None:
        from zerosum.identity.documents import DocumentsFailed

        raise DocumentsFailed("the disk is full.")

    monkeypatch.setattr(venue.identities.trail, "append", full)
    assert (await support.send("POST", f"/accounts/{BOB}/block", {})).status_code == 503
    bob = venue.embedded.views.account(BOB)
    assert bob is not None
    assert bob.status == 1, "what can't be written down is not done"


async def test_the_trail_is_read_and_verified(venue: Venue) -> None:
    admin = await venue.operator("ada", "admin")
    entries = (await admin.send("GET", "/trail")).json()["entries"]
    assert [entry["number"] for entry in entries] == list(range(1, len(entries) + 1))
    assert venue.identities.trail.verify().hash == entries[-1]["hash"]
    assert (await admin.send("GET", f"/trail?after={len(entries)}")).json() == {"entries": []}
    assert "What was sent is not right" in (await admin.send("GET", "/trail?after=x")).json()["msg"]


# ---------------------------------------------------------------------- switches


async def test_a_user_is_blocked_and_the_orders_canceled(venue: Venue) -> None:
    support = await venue.operator("sue", "support")
    await rest(venue, ANN, 5)
    await rest(venue, BOB, 2)
    assert (await support.send("POST", f"/accounts/{ANN}/block", {})).json() == {"canceled": 5, "left": 0}
    assert (open_orders(venue, ANN), open_orders(venue, BOB)) == (0, 2)
    place = records.command(records.PLACE, 0, ANN, records.terms(0, 0, 1), 100, 1_000, 0, 1 << 61)
    assert (await ask(venue.embedded, place))[0][0] & 0xFF == records.REFUSED
    assert (await support.send("GET", f"/accounts/{ANN}")).json()["status"] == "suspended"
    assert (await support.send("POST", f"/accounts/{ANN}/unblock", {})).status_code == 200
    await rest(venue, ANN, 1)
    assert (await support.send("DELETE", f"/accounts/{BOB}/orders", {})).json() == {"canceled": 2, "left": 0}
    assert "UNKNOWN_ACCOUNT" in (await support.send("POST", "/accounts/77/block", {})).json()["msg"]


@pytest.mark.parametrize("path", ["/symbols/BTCUSDT/block", "/market/block"])
async def test_a_symbol_or_the_market_is_blocked_and_the_orders_canceled(venue: Venue, path: str) -> None:
    market = await venue.operator("max", "market")
    await rest(venue, ANN, 3)
    await rest(venue, BOB, 2)
    assert (await market.send("POST", path, {})).json() == {"canceled": 5, "left": 0}
    place = records.command(records.PLACE, 0, ANN, records.terms(0, 0, 1), 100, 1_000, 0, 1 << 61)
    refused = await ask(venue.embedded, place)
    assert {event[0] & 0xFF for event in refused} & {records.REFUSED, records.REJECTED}
    assert (await market.send("GET", "/symbols")).json() == {"symbols": [{"symbol": "BTCUSDT", "status": "halt"}]}
    if path.startswith("/market"):
        assert (await market.send("POST", "/market/unblock", {})).json() == {"symbols": 1}
    else:
        assert (await market.send("POST", "/symbols/BTCUSDT/status", {"status": "trading"})).status_code == 200
    await rest(venue, ANN, 1)
    assert "is not listed" in (await market.send("POST", "/symbols/NOPE/block", {})).json()["msg"]
    assert "none of trading, halt, break" in (await market.send("POST", "/symbols/BTCUSDT/status", {"status": "off"})).json()["msg"]


# ---------------------------------------------------------------------- support


async def test_support_makes_users_and_lets_them_in_again(venue: Venue) -> None:
    support, other = [await venue.operator(name, "support") for name in ("sue", "sam")]
    assert "there is no account 77" in (await makes_user(support, other, "eve", 77)).json()["msg"]
    made = (await makes_user(support, other, "ann", ANN)).json()["result"]
    assert "has a user already" in (await makes_user(support, other, "ann2", ANN)).json()["msg"]
    browser = venue.browser()
    assert (await browser.log_in("ann", made["temporary_password"])).json()["person"]["must_change_password"]
    assert (await browser.send("GET", "/keys")).status_code == 403
    change = {"password": made["temporary_password"], "new_password": PASSWORD}
    assert (await browser.send("POST", "/password", change)).status_code == 200
    assert (await browser.send("GET", "/keys")).status_code == 200
    reset = (await support.send("POST", "/users/ann/reset", {})).json()
    assert (await browser.send("GET", "/keys")).status_code == 401
    assert (await browser.log_in("ann")).status_code == 401
    assert (await browser.log_in("ann", reset["temporary_password"])).status_code == 200
    assert not any(reset["temporary_password"] in entry.detail for entry in venue.identities.trail.entries())


async def test_support_sees_and_revokes_keys(venue: Venue, key_of: Callable[[int], str]) -> None:
    support, viewer = await venue.operator("sue", "support"), await venue.operator("vic", "viewer")
    api_key = await asyncio.to_thread(key_of, ANN)
    assert [each["key"] for each in (await viewer.send("GET", f"/keys?account={ANN}")).json()["keys"]] == [api_key]
    assert (await viewer.send("DELETE", f"/keys/{api_key}", {})).status_code == 403
    assert (await support.send("DELETE", f"/keys/{api_key}", {})).json()["key"]["revoked_ms"]
    assert "there is no API key" in (await support.send("DELETE", f"/keys/{'x' * 64}", {})).json()["msg"]


@pytest.fixture
def key_of(venue: Venue) -> Callable[[int], str]:
    from zerosum.identity.keys import Wanted

    return lambda account: venue.identities.keys.create(Wanted(account)).api_key


# ---------------------------------------------------------------------- what is sent


async def test_what_is_not_asked_for_is_refused_with_its_name(venue: Venue) -> None:
    browser = venue.browser()
    for content, status in (
        (b'{"name":"ann","password":"x","more":1}', 400),
        (b'{"name":1,"password":"x"}', 400),
        (b'{"name":"ann"}', 400),
        (b"[]", 400),
        (b"nonsense", 400),
        (b'{"name":"ann","password":"\xff"}', 400),
        (b"[" * 10_000, 400),
        (b'{"name":"' + b"x" * 20_000 + b'","password":""}', 413),
        (b"", 400),
    ):
        said = await browser.http.post("/login", content=content, headers={"content-type": "application/json"})
        assert said.status_code == status, content[:40]
        assert set(said.json()) == {"code", "msg"}
    assert (await browser.http.put("/login", json={})).status_code == 405
    for path in ("/", "/login/", "//login", "/%2e%2e/login", "/nowhere"):
        assert (await browser.http.post(path, json={})).status_code == 404


async def test_an_address_may_ask_for_so_much(venue: Venue) -> None:
    browser = venue.browser()
    limits = venue.embedded.api.limits
    limits.use_weight("127.0.0.1", limits.allowance.weight_per_minute, time.time_ns() // 1_000)
    said = await browser.send("GET", "/session")
    assert (said.status_code, said.json()["code"]) == (429, -1003)
    assert 0 < int(said.headers["retry-after"]) <= 60


async def test_who_is_refused_is_told_of_in_the_log(venue: Venue) -> None:
    user = await venue.user("ann", ANN)
    with capture_logs() as lines:
        await user.send("GET", "/keys")
        await venue.browser().log_in("ann", "wrong")
        await venue.browser(operator=True).send("GET", "/users")
    told = [(line["console"], line["status"], line["method"], line["path"]) for line in lines if line["event"] == "console.refused"]
    assert told == [("zerosum", 401, "POST", "/account/v1/login"), ("zerosum-operator", 401, "GET", "/admin/v1/users")]
    assert "wrong" not in str(lines)
