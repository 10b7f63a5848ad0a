"""
The control stream: what operators have decided about single records, read whole by each copy before it replays anything.

    {"decision": "pass_over", "role": "ubscore.3", "position": 9175041, "by": "alice", "signature": "<128 hex digits>"}

A record that stops every copy of a machine is passed over by all of them, once as many operators as the deployment asks for have said so.
`apply` takes that back, as long as no copy has gone past it: of each operator the last word about a record counts. The stream itself is the
account of who decided what.

Always true: what is not signed by one of the operators that the deployment knows decides nothing, whoever can write to the stream. It is
reported and passed by, so that a stranger's message stops nobody.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Final, final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from zerosum.errors import ZerosumError
from zerosum.log.streams import Stream

PASS_OVER: Final = "pass_over"  # noqa: S105  no password
APPLY: Final = "apply"
DECISION_BYTES_MAX: Final = 4096
SIGNED_FOR: Final = "zerosum control, 1"  # so that the signature is good for nothing else


class DecidedTooLate(ZerosumError):
    """A record that was applied would be passed over, or one that was passed over applied."""


class Message(msgspec.Struct, forbid_unknown_fields=True):
    """As it stands in the stream."""

    decision: str
    role: str
    position: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
    by: str
    signature: str


_decode: Final = msgspec.json.Decoder(Message).decode


@final
@dataclass(frozen=True, slots=True)
class Decision:
    """
    `role`: the machine, as `ubscore.3`; `position`: of the record in its input, as MachineStopped names it; `by`: whose decision it is;
    `decision`: PASS_OVER or APPLY.
    """

    role: str
    position: int
    by: str
    decision: str = PASS_OVER

    def payload(self) -> bytes:
        """What is signed."""
        return json.dumps([SIGNED_FOR, self.decision, self.role, self.position, self.by]).encode()

    def signed(self, key: Ed25519PrivateKey) -> bytes:
        """To be appended to the control stream while no copy of the role runs."""
        said = {"decision": self.decision, "role": self.role, "position": self.position, "by": self.by}
        return json.dumps({**said, "signature": key.sign(self.payload()).hex()}).encode()


@final
class Operators:
    """
    Those whose decisions count, by name: their public keys (Ed25519, 32 bytes). `needed`: how many of them must say the same. All copies
    of a role have the same.
    """

    def __init__(self, public_keys: dict[str, bytes] | None = None, needed: int = 1) -> None:
        """ValueError for a key that is none."""
        self.needed = needed
        self._keys = {name: Ed25519PublicKey.from_public_bytes(key) for name, key in (public_keys or {}).items()}

    def verified(self, data: bytes) -> Decision:
        """A message of the control stream. ValueError says what is wrong with it."""
        try:
            said = _decode(data) if len(data) <= DECISION_BYTES_MAX else None
        except (msgspec.DecodeError, RecursionError):
            said = None
        if said is None or said.decision not in (PASS_OVER, APPLY):
            raise ValueError("it is no decision")
        decision = Decision(said.role, said.position, said.by, said.decision)
        if decision.by not in self._keys:
            raise ValueError(f"{decision.by!r} is no operator of this deployment")
        try:
            self._keys[decision.by].verify(bytes.fromhex(said.signature), decision.payload())
        except (ValueError, InvalidSignature) as error:
            raise ValueError(f"it is not signed by {decision.by!r}") from error
        return decision


@final
class Decisions:
    """The control stream, as the roles of a process read it: once, and then what has come; a stream has one reader at a time."""

    def __init__(self, control: Stream, operators: Operators, report: Callable[[str], None]) -> None:
        self._control = control
        self._operators = operators
        self._report = report
        self._reading = asyncio.Lock()
        self._next = 0  # the offset of the first message that is not read
        self._found: list[Decision] = []

    async def passed_over(self, role: str) -> set[int]:
        """The positions of the records that a role's machine passes over."""
        async with self._reading:
            await self._read()
        last = {(decision.position, decision.by): decision.decision for decision in self._found if decision.role == role}
        said = Counter(position for (position, _), word in last.items() if word == PASS_OVER)
        return {position for position, count in said.items() if count >= self._operators.needed}

    async def _read(self) -> None:
        """All that is there."""
        ends = await self._control.ends()
        self._next = max(self._next, ends.first)
        while self._next < ends.next:
            for appended in await self._control.read(self._next):
                self._next = appended.offset + 1
                try:
                    self._found.append(self._operators.verified(appended.data))
                except ValueError as error:
                    self._report(f"{self._control.name}: message {appended.offset} decides nothing: {error}")


def as_text(positions: Iterable[int], before: int) -> str:
    """Those before a position, for a snapshot of the state there to say what it was made with."""
    return " ".join(map(str, sorted(each for each in positions if each < before)))
