"""
Brings commands and questions to an exchange: through its socket where it runs, straight to its log where it does not.

    with door_to(directory) as door:
        door.ask(show="listings")     an answer of services/overview.py
        door.send(command)            the account events that it caused

Always true: a command that was sent is done, or refused, or OutcomeUnknown says that nobody here knows.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol, final

from zerosum.core import records
from zerosum.errors import ZerosumError
from zerosum.log.file_log import FileLog
from zerosum.services import admin, overview
from zerosum.services.datadir import DataDir
from zerosum.services.machine import Machine
from zerosum.services.opening import open_log, restore
from zerosum.services.past import machines_now
from zerosum.views.views import Views

Event = tuple[int, ...]
REPLY_S: Final = 30.0


class Refused(ZerosumError):
    """The exchange did not do what was asked. `event`: the core's refusal, if it came to that."""

    def __init__(self, text: str, event: Event | None = None) -> None:
        super().__init__(text)
        self.event = event


class OutcomeUnknown(ZerosumError):
    """The exchange took a command, and ended or fell silent before it said what became of it."""


class Door(Protocol):
    """An exchange, running or not."""

    def send(self, command: bytes) -> list[Event]:
        """The account events that a command caused, a refusal too. Refused where it was not taken at all; OutcomeUnknown."""

    def ask(self, **question: Any) -> dict[str, Any]:
        """See services/overview.py."""


@contextmanager
def door_to(directory: DataDir, *, only_asks: bool = False) -> Iterator[Door]:
    """`only_asks`: nothing will be sent, so a log that nobody has open is read and not opened."""
    path = directory.root / admin.NAME
    if is_listening(path):
        with LiveDoor(path) as door:
            yield door
    elif only_asks:
        yield OfflineDoor(*machines_now(directory))
    else:
        with open_log(directory, creates=False) as log:
            machine, views = restore(directory, log.log_id, log.durable_sequence)
            try:
                yield OfflineDoor(machine, views, log)
            except ZerosumError:
                log.close(machine.attestation())
                raise
            log.close(machine.attestation())


def running_end(directory: DataDir) -> int | None:
    """How far the log of an exchange that runs is applied, and so durable; None where none runs."""
    path = directory.root / admin.NAME
    if not is_listening(path):
        return None
    with LiveDoor(path) as door:
        return int(door.ask(show="position")["sequence"])


def is_listening(path: Path) -> bool:
    if not path.exists():
        return False
    with socket.socket(socket.AF_UNIX) as door:
        try:
            door.connect(str(path))
        except ConnectionRefusedError:  # left behind by a process that was killed
            return False
    return True


@final
class LiveDoor:
    """Of an exchange that runs."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(REPLY_S)
        self._socket.connect(str(path))
        self._replies = self._socket.makefile("rb")

    def __enter__(self) -> LiveDoor:
        return self

    def __exit__(self, *exception: object) -> None:
        self._replies.close()
        self._socket.close()

    def send(self, command: bytes) -> list[Event]:
        return list(records.records(self._request(command)))

    def ask(self, **question: Any) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = json.loads(self._request(json.dumps(question).encode()))
        except OutcomeUnknown as error:
            raise Refused("the exchange ended, or was silent for too long, before it answered: nothing was changed.") from error
        return answer

    def _request(self, request: bytes) -> bytes:
        try:
            self._socket.sendall(admin.LENGTH.pack(len(request)) + request)
            reply = self._part()
            if reply:
                return reply
            why = self._part()
        except (OSError, struct.error) as error:
            raise OutcomeUnknown(
                "the exchange ended, or was silent for too long, before it answered: what became of the command is not known."
            ) from error
        if why:
            raise Refused(f"the exchange does not take it: {why.decode()}.")
        return b""

    def _part(self) -> bytes:
        (size,) = admin.LENGTH.unpack(self._replies.read(admin.LENGTH.size))
        part = self._replies.read(size)
        if len(part) < size:
            raise ConnectionResetError
        return part


@final
class OfflineDoor:
    """Of an exchange that does not run: its machines as the log leaves them. What is sent is written there; the next start settles it."""

    def __init__(self, machine: Machine, views: Views, log: FileLog | None = None) -> None:
        self._machine = machine
        self._views = views
        self._log = log

    def send(self, command: bytes) -> list[Event]:
        assert self._log is not None, "whoever sends has the log opened for it"
        now_us = max(int(self._machine.exchange.ubscore.now_us), time.time_ns() // 1000)
        stamped = command[:8] + now_us.to_bytes(8, "little") + command[16:]
        self._log.append(stamped, count=1, time_us=now_us, attestation=self._machine.attestation())
        self._log.sync()
        output = self._machine.apply(stamped)
        self._views.apply(output.account_events, output.market_events)
        return list(records.records(output.account_events))

    def ask(self, **question: Any) -> dict[str, Any]:
        return overview.answer(self._machine.exchange, self._views, question)
