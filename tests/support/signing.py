"""Somebody who holds an API key, or says so, and signs requests as clients do: by HMAC, Ed25519 or RSA, over REST and WebSockets."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, NamedTuple, final
from urllib.parse import quote, urlencode

import httpx
import picows
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

Params = Mapping[str, str]
RSA_KEY = generate_private_key(65_537, 2_048)


class Answer(NamedTuple):
    """`code`: 0 where it is no error."""

    status: int
    code: int
    body: Any


@final
class Signer:
    """`sign` makes the text of a signature."""

    def __init__(self, api_key: str, sign: Callable[[bytes], str]) -> None:
        self.api_key = api_key
        self.sign = sign

    def query(self, params: Params, *, now_ms: int | None = None) -> str:
        """With time and signature."""
        return self.signed(urlencode({**params, "timestamp": str(now_ms if now_ms is not None else clock_ms())}))

    def signed(self, query: str) -> str:
        return f"{query}&signature={quote(self.sign(query.encode()), safe='')}"

    def own(self, method: str, path: str, body: bytes = b"", *, now_ms: int | None = None) -> str:
        """The query of a request of the venue's programs."""
        query = f"timestamp={now_ms if now_ms is not None else clock_ms()}"
        signature = self.sign(b"\n".join((f"{method} {path}".encode(), query.encode(), body)))
        return f"{query}&signature={quote(signature, safe='')}"

    def frame(self, method: str, params: Params, *, now_ms: int | None = None) -> dict[str, Any]:
        sent = {**params, "apiKey": self.api_key, "timestamp": str(now_ms if now_ms is not None else clock_ms())}
        payload = "&".join(f"{name}={value}" for name, value in sorted(sent.items()))
        return {"id": 1, "method": method, "params": {**sent, "signature": self.sign(payload.encode())}}


def by_hmac(api_key: str, secret: str) -> Signer:
    return Signer(api_key, lambda payload: hmac.new(secret.encode(), payload, sha256).hexdigest())


def private_keys() -> dict[str, Ed25519PrivateKey | RSAPrivateKey]:
    return {"ED25519": Ed25519PrivateKey.generate(), "RSA": RSA_KEY}


def by_private_key(api_key: str, key: Ed25519PrivateKey | RSAPrivateKey) -> Signer:
    def sign(payload: bytes) -> str:
        made = key.sign(payload) if isinstance(key, Ed25519PrivateKey) else key.sign(payload, PKCS1v15(), hashes.SHA256())
        return base64.b64encode(made).decode()

    return Signer(api_key, sign)


def pem_of(key: Ed25519PrivateKey | RSAPrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def clock_ms() -> int:
    return time.time_ns() // 1_000_000


async def rest(url: str, method: str, path: str, query: str, api_key: str | None, body: bytes = b"") -> Answer:
    headers = {"X-MBX-APIKEY": api_key} if api_key is not None else {}
    async with httpx.AsyncClient(timeout=60, verify=False) as http:  # noqa: S501  no TLS here: certificates take a while to be read
        said = await http.request(method, httpx.URL(f"{url}{path}?{query}"), headers=headers, content=body)
    found = said.json()
    return Answer(said.status_code, found.get("code", 0) if isinstance(found, dict) else 0, found)


async def websocket(url: str, *frames: dict[str, Any]) -> list[Answer]:
    """What is answered to each."""
    answered: asyncio.Queue[bytes] = asyncio.Queue()

    class Listener(picows.WSListener):
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            if frame.msg_type == picows.WSMsgType.TEXT:
                answered.put_nowait(frame.get_payload_as_bytes())

    transport, _ = await picows.ws_connect(Listener, url)
    found = []
    for frame in frames:
        transport.send(picows.WSMsgType.TEXT, json.dumps(frame).encode())
        said = json.loads(await asyncio.wait_for(answered.get(), 60))
        found.append(Answer(said["status"], said.get("error", {}).get("code", 0), said))
    transport.disconnect()
    return found
