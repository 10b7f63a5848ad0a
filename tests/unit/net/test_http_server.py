"""A listener that makes room: who has to go for it."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.unit.transport.support import Client, until
from zerosum.net.http import HttpBounds
from zerosum.net.http_server import HttpServer
from zerosum.net.listener import bind

WAIT = b"GET /wait HTTP/1.1\r\n\r\n"
WAIT_A_LITTLE = b"GET /wait-a-little HTTP/1.1\r\n\r\n"
ASK = b"GET / HTTP/1.1\r\n\r\n"


async def test_whoever_was_refused_is_not_the_one_that_goes() -> None:
    """It holds no place: with it gone there would still be no room."""
    go_on, go_on_a_little = asyncio.Event(), asyncio.Event()
    waits = {"/wait": go_on, "/wait-a-little": go_on_a_little}

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] in waits:
            await waits[scope["path"]].wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    listener = bind("127.0.0.1", 0, setting="operations")
    port = listener.getsockname()[1]
    server = HttpServer(application, listener, HttpBounds(connections_max=2), name="test", makes_room=True)
    await server.start()
    try:
        async with Client.connect(port) as busy, Client.connect(port) as leaves:
            await busy.send(WAIT)
            await leaves.send(WAIT_A_LITTLE)
            await asyncio.sleep(0.05)
            async with Client.connect(port) as refused:
                assert (await refused.response())[0] == 503, "both that have a place are being answered"
                go_on_a_little.set()
                assert (await leaves.response())[0] == 200
                leaves.writer.close()
                await until(lambda: server.connections == 2)
                async with Client.connect(port) as idle:
                    await until(lambda: server.connections == 3)
                    async with Client.connect(port) as last:
                        await last.send(ASK)
                        assert await last.response() == (200, b"ok")
                        assert await idle.is_closed()
        go_on.set()
    finally:
        await server.stop()
        listener.close()
