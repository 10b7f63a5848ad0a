"""What takes two operators, and one who would do it alone: under another name, after losing a role, at the same time as others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.security.test_consoles import PAGE
from tests.support.browser import PASSWORD, Browser
from tests.support.venue import ANN, BOB, Venue, open_venue
from zerosum.identity.people import ADMIN, ROLES, SUPPORT, TREASURY

REASON: Final = {"reason": "asked for at the desk"}
TAKES_TWO: Final[dict[str, tuple[str, str, dict[str, Any]]]] = {
    "/operators": (ADMIN, "/operators", {"name": "mallory", "roles": ["treasury"]}),
    "/operators/{operator}/roles": (ADMIN, "/operators/vic/roles", {"roles": list(ROLES)}),
    "/operators/{operator}/activate": (ADMIN, "/operators/vic/activate", {}),
    "/operators/{operator}/reset": (ADMIN, "/operators/vic/reset", {}),
    "/users": (SUPPORT, "/users", {"name": "mallory", "account": BOB}),
    "/withdrawals/{holder}/{id}/return": (TREASURY, f"/withdrawals/{ANN}/7/return", {}),
    "/deposits/{account}/{id}/reverse": (TREASURY, f"/deposits/{ANN}/1/reverse", {}),
    "/adjustments": (
        TREASURY, "/adjustments", {"id": 70, "source": ANN, "target": BOB, "asset": "BTC", "amount": "3", "ticket": "T-1"},
    ),
}  # fmt: skip
"""By the reference's row: who may, the same of this venue, and what is sent."""


@pytest.fixture
async def venue(tmp_path: Path) -> AsyncIterator[Venue]:
    async with open_venue(tmp_path / "data") as found:
        await asyncio.to_thread(found.identities.operators.create, "vic", PASSWORD, roles=("viewer",))
        yield found


async def proposed(browser: Browser, path: str, form: dict[str, Any]) -> str:
    said = await browser.send("POST", path, form | REASON)
    assert said.status_code == 202, said.text
    return str(said.json()["proposal"])


async def approves(browser: Browser, proposal: str, form: Any = None) -> tuple[int, str]:
    said = await browser.send("POST", f"/proposals/{proposal}/approve", form)
    return said.status_code, str(said.json().get("msg", ""))


async def state_of(browser: Browser, proposal: str) -> str:
    listed = (await browser.send("GET", "/proposals")).json()["proposals"]
    return str(next(each["state"] for each in listed if each["id"] == proposal))


def of_the_venue(venue: Venue) -> object:
    """All that such an action could change."""
    accounts = [venue.embedded.views.account(account) for account in (ANN, BOB)]
    balances = [dict(account.balances) for account in accounts if account is not None]
    return venue.identities.operators.everybody(), venue.identities.users.everybody(), balances


async def test_nobody_approves_what_takes_two_alone_or_without_the_role(venue: Venue) -> None:
    """Every action that takes two."""
    rows = {line.split(" | ")[0].removeprefix("| POST ").strip("`") for line in PAGE.splitlines() if "two of them |" in line}
    assert set(TAKES_TWO) == rows
    by_role = {role: await venue.operator(f"the-{role}", role) for role in ROLES}
    before = of_the_venue(venue)
    for role, path, form in TAKES_TWO.values():
        proposal = await proposed(by_role[role], path, form)
        assert (await approves(by_role[role], proposal))[0] == 400
        for other in ROLES:
            if other != role:
                assert (await approves(by_role[other], proposal))[0] == 403, (path, other)
                assert (await by_role[other].send("POST", f"/proposals/{proposal}/refuse")).status_code == 403, (path, other)
        assert await state_of(by_role[role], proposal) == "open"
    assert of_the_venue(venue) == before


async def test_who_has_proposed_it_approves_it_under_no_other_name_or_session(venue: Venue) -> None:
    ada = await venue.operator("ada", ADMIN)
    proposal = await proposed(ada, "/operators/vic/activate", {})
    for name in (
        "ADA",
        "Ada",
        "ada ",
        " ada",
        "ada\x00",
        "ada\n",
        "\uff41da",
        "a\u0301da",
        "\u0430da",
        "ada\u200b",
        "../ada",
        "ada/",
        "ada.",
    ):
        said = await venue.browser(operator=True).http.post("/login", json={"name": name, "password": PASSWORD, "code": "123456"})
        assert (said.status_code, said.json()["code"]) == (401, -2015), name
    other = venue.browser(operator=True)
    begun = await asyncio.to_thread(venue.identities.operator_sessions.begin, "ada", "10.9.8.7", "another browser")
    other.http.cookies.set("zerosum-operator", begun.token)
    other.csrf = begun.csrf
    assert (await other.send("GET", "/session")).json()["person"]["name"] == "ada"
    assert (await approves(other, proposal))[1].startswith("it is your own")
    ways = ("{}%00", "{}%20", "{}%0a", "{}/", "./{}", "%2e%2e/proposals/{}", "{}.", "%7b{}%7d")
    for spelled in [way.format(proposal) for way in ways] + [proposal[:-1]]:
        assert (await approves(other, spelled))[0] in (400, 404), spelled
    for form in ({"by": "alan"}, {"approved_by": "alan"}, {"arguments": {"operator": "ada"}}, {"reason": "x", "by": "alan"}):
        assert (await approves(other, proposal, form))[0] == 400, form
    assert await state_of(ada, proposal) == "open"


async def test_a_role_that_was_lost_and_given_back_makes_nobody_somebody_else(venue: Venue) -> None:
    ada, alan = await venue.operator("ada", ADMIN), await venue.operator("alan", ADMIN)
    operators = venue.identities.operators
    proposal = await proposed(ada, "/operators/vic/activate", {})
    await asyncio.to_thread(operators.set_roles, "ada", ("viewer",))
    assert (await approves(ada, proposal))[0] == 403
    await asyncio.to_thread(operators.set_roles, "ada", (ADMIN,))
    assert (await approves(ada, proposal))[1].startswith("it is your own")
    await asyncio.to_thread(operators.set_roles, "alan", ("viewer",))
    assert (await approves(alan, proposal))[0] == 403
    await asyncio.to_thread(operators.set_roles, "alan", (ADMIN,))
    assert (await approves(alan, proposal))[0] == 200


async def test_what_somebody_proposed_who_may_not_any_more_is_not_done(venue: Venue) -> None:
    """Whoever was put out, or has another role now, is not one of two."""
    ada, alan = await venue.operator("ada", ADMIN), await venue.operator("alan", ADMIN)
    operators = venue.identities.operators
    proposal = await proposed(ada, "/operators/vic/roles", {"roles": list(ROLES)})
    await asyncio.to_thread(operators.set_roles, "ada", ("viewer", "support"))
    status, text = await approves(alan, proposal)
    assert (status, "may not any more" in text) == (400, True)
    await asyncio.to_thread(operators.set_roles, "ada", (ADMIN,))
    await asyncio.to_thread(operators.set_active, "ada", False)
    assert (await approves(alan, proposal))[0] == 400
    vic = operators.get("vic")
    assert vic is not None
    assert vic.roles == ("viewer",)
    assert await state_of(alan, proposal) == "open"
    assert (await alan.send("POST", f"/proposals/{proposal}/refuse")).status_code == 200


async def test_of_many_who_approve_at_a_time_one_does_it_and_what_it_does_is_done_once(venue: Venue) -> None:
    tom = await venue.operator("tom", TREASURY)
    others = [await venue.operator(f"tess-{number}", TREASURY) for number in range(3)]
    proposal = await proposed(tom, *TAKES_TWO["/adjustments"][1:])
    before = venue.embedded.views.account(BOB)
    assert before is not None
    had = before.balances[0][0]
    answers = await asyncio.gather(*(approves(each, proposal) for each in [tom, *others, *others]))
    assert sorted(status for status, _ in answers)[0] == 200
    assert [status for status, _ in answers].count(200) == 1
    assert before.balances[0][0] == had + 3 * 10**8
    assert [outcome for _, action, outcome in venue.actions() if action == "adjustment"] == ["proposed", "begun", "done"]
