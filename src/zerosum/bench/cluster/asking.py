"""
A question at a gateway, and its answer.
"""

from __future__ import annotations

import json
import time
from typing import Any

from zerosum.bench.client import Signer, WebSocketConnection
from zerosum.bench.e2e_settled import DoesNotHold
from zerosum.bench.gateway_users import User


async def asked(connection: WebSocketConnection, user: User, method: str, **params: str) -> Any:
    """DoesNotHold where it is refused."""
    status, body = await connection.ask(Signer(user.api_key, user.secret), method, params, time.time_ns() // 1_000_000)
    if status != 200:
        raise DoesNotHold(f"{method} was answered {status}: {body.decode()}")
    return json.loads(body)
