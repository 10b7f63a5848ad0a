"""
The operator's door: a Unix socket in the data directory that takes raw commands and questions, for the `zerosum` command line.

    request   length : 4, command record              reply   length : 4, the account events that it caused
              length : 4, question in JSON                    length : 4, the answer in JSON
                                                              length 0: none, followed by length : 4, why it was not taken
                                                                        (of length 0: it was, and caused no account event)

                                                              nothing: the connection ends; whether it was done is not known

A question begins with a brace, which is no command's kind; services/overview.py says what can be asked. Its answer shows everything that
was submitted here before it.

Who may use it is who may open the socket's file (mode 0600).
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, final

from zerosum.core import records
from zerosum.errors import ZerosumError
from zerosum.gateway.entry import Busy, Entry, Event
from zerosum.services import overview
from zerosum.services.overview import BadQuestion, Json
from zerosum.services.shard import Shard
from zerosum.views.views import Views

LENGTH: Final = struct.Struct("<I")
COMMAND_BYTES_MAX: Final = 4096
NAME: Final = "admin.sock"


class DoorFailed(ZerosumError):
    """The operator's socket can't be made."""


Ask = Callable[[object], Awaitable[Json]]
"""Answers a question. BadQuestion."""


@final
class AdminDoor:
    def __init__(self, entry: Entry, ask: Ask, path: Path) -> None:
        self._entry = entry
        self._ask = ask
        self._path = path
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._path.unlink(missing_ok=True)  # of a process that was killed: the log's lock has shown that it is gone
        listener = socket.socket(socket.AF_UNIX)
        mask = os.umask(0o177)  # until the file is there, and no longer: other threads make files too
        try:
            listener.bind(str(self._path))
        except OSError as error:
            listener.close()
            raise DoorFailed(
                f"{self._path}: the operator's socket can't be made: {error}. The path of a socket has about 100 characters at most:"
                " choose a data directory with a shorter one."
            ) from error
        finally:
            os.umask(mask)
        self._server = await asyncio.start_unix_server(self._serve, sock=listener)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                size = LENGTH.unpack(await reader.readexactly(LENGTH.size))[0]
                if not 16 <= size <= COMMAND_BYTES_MAX:
                    writer.write(refusal(f"a command has 16 to {COMMAND_BYTES_MAX} bytes, not {size}"))
                    return
                request = await reader.readexactly(size)
                reply = self._answer(request) if request.startswith(b"{") else self._reply(request)
                writer.write(await reply)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionResetError, BrokenPipeError):
            return  # the client is gone
        except asyncio.CancelledError:
            return  # the exchange has ended, and this was waiting for a client or for an answer that will not come
        finally:
            writer.close()

    async def _reply(self, command: bytes) -> bytes:
        if int.from_bytes(command[2:4], "little") * 8 != len(command) or command[0] not in records.COMMANDS:
            return refusal("that is no command: see zerosum.core.records")
        answered: asyncio.Future[list[Event]] = asyncio.get_running_loop().create_future()
        try:
            self._entry.submit(command, answered.set_result, lambda: answered.set_exception(ConnectionResetError()))
        except Busy as busy:
            return refusal(str(busy))
        events = b"".join(struct.pack(f"<{len(event)}q", *event) for event in await answered)
        return LENGTH.pack(len(events)) + events if events else refusal("")

    async def _answer(self, question: bytes) -> bytes:
        try:
            found = await self._ask(json.loads(question))
        except (ValueError, RecursionError):
            return refusal("that is no question: it is not JSON")
        except BadQuestion as error:
            return refusal(f"that is no question: {error}")
        except ZerosumError as error:  # a record that does not answer, say
            return refusal(str(error).rstrip("."))
        answer = json.dumps(found).encode()
        return LENGTH.pack(len(answer)) + answer


def asked_of(shard: Shard, views: Views) -> Ask:
    """What an embedded exchange answers, with the views that its shard shows events to, once everything submitted before is applied."""

    async def ask(question: object) -> Json:
        applied: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        shard.when_applied(lambda: applied.set_result(None))
        await applied
        return overview.answer(shard.machine.exchange, views, question)

    return ask


def refusal(why: str) -> bytes:
    text = why.encode()
    return LENGTH.pack(0) + LENGTH.pack(len(text)) + text
