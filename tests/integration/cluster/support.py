"""Waiting for what a service says of itself; people and keys of a deployment, made by command."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, Final

from tests.support.browser import PASSWORD, Browser
from tests.support.money import Program
from zerosum.devcluster.deployment import DevDeployment
from zerosum.devcluster.ports import HOST
from zerosum.devcluster.services import Service

LIMIT_S: Final = 60.0
POLL_S: Final = 0.2


async def until_fault(service: Service, check: str) -> str:
    """What is wrong with it, once something is."""
    health = await until(service, lambda health: health["checks"][check] != "ok")
    return str(health["checks"][check])


async def until_ready(service: Service) -> None:
    await until(service, lambda health: bool(health["ready"]))


async def until(service: Service, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Its health, once that holds."""
    deadline = time.monotonic() + LIMIT_S
    while not holds(health := await asyncio.to_thread(service.health)):
        assert time.monotonic() < deadline, f"{service.name} still says {health}\n{service.last_words()}"
        await asyncio.sleep(POLL_S)
    return health


def made(deployment: DevDeployment, *command: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(deployment.zerosum(*command, "--cluster", "--config", str(deployment.config), "--json"))
    return found


async def logged_in(deployment: DevDeployment, name: str, *roles: str) -> Browser:
    """An operator, made by command, who has changed the password and set up a second factor."""
    options = [option for role in roles for option in ("--role", role)]
    password = (await asyncio.to_thread(made, deployment, "operator", "create", name, *options))["temporary_password"]
    (console,) = deployment.of_role("admin")
    browser = Browser(f"http://{HOST}:{console.ports()['admin']}", "/admin/v1")
    assert (await browser.log_in(name, password)).status_code == 200
    assert (await browser.send("POST", "/password", {"password": password, "new_password": PASSWORD})).status_code == 200
    await browser.set_second_factor()
    return browser


async def a_program(deployment: DevDeployment, work: str) -> Program:
    key = await asyncio.to_thread(made, deployment, "key", "service", work, "--address", HOST)
    (console,) = deployment.of_role("admin")
    return Program(f"http://{HOST}:{console.ports()['admin']}", key["api_key"], key["secret"])


async def a_user(deployment: DevDeployment, name: str, account: int) -> Browser:
    """Who has changed the password."""
    password = (await asyncio.to_thread(made, deployment, "user", "create", name, str(account)))["temporary_password"]
    browser = Browser(f"http://{HOST}:{deployment.of_role('gateway')[0].ports()['rest']}", "/account/v1")
    assert (await browser.log_in(name, password)).status_code == 200
    assert (await browser.send("POST", "/password", {"password": password, "new_password": PASSWORD})).status_code == 200
    return browser
