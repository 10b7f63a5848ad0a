"""A person's browser, as far as the consoles are concerned: cookies, the session's own token, and an authenticator application."""

from __future__ import annotations

import base64
import time
from typing import Any, final
from urllib.parse import parse_qs, urlsplit

import httpx

from zerosum.identity import totp

PASSWORD = "orbit-lantern-velvet-31"
PASSWORD_2 = "window-harbor-pepper-77"


@final
class Browser:
    """One person's, with cookies and the session's own token."""

    def __init__(self, url: str, root: str, **settings: Any) -> None:
        self.http = httpx.AsyncClient(base_url=url + root, timeout=60, **settings)
        self.csrf = ""
        self.secret = b""
        self.recovery_codes: list[str] = []

    async def send(self, method: str, path: str, form: Any = None, **headers: str) -> httpx.Response:
        own = {"x-csrf-token": self.csrf} if self.csrf and method != "GET" else {}
        return await self.http.request(method, path, json=form, headers={**own, **headers})

    async def log_in(self, name: str, password: str = PASSWORD) -> httpx.Response:
        self.http.cookies.clear()
        code = totp.code_at(self.secret, int(time.time())) if self.secret else ""
        said = await self.send("POST", "/login", {"name": name, "password": password, "code": code})
        if said.status_code == 200:
            self.csrf = said.json()["csrf"]
        return said

    async def set_second_factor(self, password: str = PASSWORD) -> None:
        said = await self.send("POST", "/second-factor", {"password": password})
        text = parse_qs(urlsplit(said.json()["uri"]).query)["secret"][0]
        self.secret = base64.b32decode(text + "=" * (-len(text) % 8))
        confirmed = await self.send("POST", "/second-factor/confirm", {"code": totp.code_at(self.secret, int(time.time()))})
        assert confirmed.status_code == 200, confirmed.text
        self.recovery_codes = confirmed.json()["recovery_codes"]
