"""
Who sent a message to a machine: each role signs what it sends, and a machine takes of each only what that role may say.

    gateway    of users' accounts: orders, cancels and amendments; transfers between an account and its own wallet; requests for withdrawals
    admin      every command: deposits, listings, accounts, halts
    ubscore    what shards tell engines and each other               matching    what engines tell shards

    message | signature : 64 | signer : 8          over the stream's name and the whole message: Ed25519

The brokers hold each role's user to its topics, but `commands` has many writers, and whoever runs the brokers writes what they like. So
without this a stolen gateway could deposit, or report fills as an engine. With it, it can do what users could do, and no more; but for a
message that is damaged, which stops the machine that reads it, whoever wrote it.

A signer can be good until a time: of messages that the stream has from then on, it signs none. It is not taken out while messages that it
signed are kept, or a replay would not take what was taken then.

Always true: whether a message counts is a function of its bytes, its stream's name, the time it has in the stream, and the signers: so
every copy, replay and auditor decides alike. What does not count changes nothing, and is reported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Final, NamedTuple, final

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from zerosum.core import records
from zerosum.core.codes import ACCOUNT_MAX, FIRST_USER
from zerosum.core.commands import KIND_MASK, WORDS_MASK, WORDS_SHIFT
from zerosum.log.errors import MessageDamaged
from zerosum.log.messages import TRAILER_BYTES, NotSigned, signed_parts, unpack, with_trailer
from zerosum.log.streams import Appended, Ends, Stream, Writer
from zerosum.services.cluster.topology import Streams

SIGNATURE_BYTES: Final = 64
TAG_BYTES: Final = 8
NOTHING: Final = b""
"""In the place of a message that does not count: no message at all."""

GATEWAY: Final = "gateway"
ADMIN: Final = "admin"
UBSCORE: Final = "ubscore"
MATCHING: Final = "matching"
SIGNING_ROLES: Final = (GATEWAY, ADMIN, UBSCORE, MATCHING)

OF_USERS: Final = frozenset(
    {
        records.PLACE,
        records.CANCEL,
        records.CANCEL_ALL,
        records.REDUCE,
        records.MOVE,
        records.CANCEL_REPLACE,
        records.TRANSFER,
        records.REQUEST_WITHDRAWAL,
    }
)
OF_SHARDS: Final = frozenset(range(records.ENGINE_LIST, records.ENGINE_VERSION + 1)) | {
    records.HANDED_ON, records.CREDIT, records.CREDIT_RETURNED,
}  # fmt: skip
OF_ENGINES: Final = frozenset(range(records.OUTCOME_ACCEPTED, records.OUTCOME_RESTED + 1))
KINDS: Final = {GATEWAY: OF_USERS, ADMIN: frozenset(records.COMMANDS), UBSCORE: OF_SHARDS, MATCHING: OF_ENGINES}

_is_signer: Final = re.compile(rf"({'|'.join(SIGNING_ROLES)}):([0-9a-fA-F]{{64}})(?::([0-9]{{1,17}}))?").fullmatch


class Signer(NamedTuple):
    """`until_us`: the stream's time from which it signs nothing; 0: never."""

    role: str
    key: bytes
    until_us: int = 0


def signer_of(text: str) -> Signer:
    """`role:64 hexadecimal digits`, and `:time` in microseconds where it is good until then. ValueError."""
    found = _is_signer(text)
    if found is None:
        raise ValueError(text)
    return Signer(found[1], bytes.fromhex(found[2]), int(found[3] or 0))


def tag_of(key: bytes) -> bytes:
    """By which a public key is found."""
    return sha256(b"zerosum signer, 1" + key).digest()[:TAG_BYTES]


def payload_of(stream: str, message: bytes) -> bytes:
    name = stream.encode()
    return b"zerosum message, 1" + len(name).to_bytes(2, "little") + name + message


@final
class Signers:
    """Those that a deployment has. All its machines, and whoever audits them, know the same."""

    def __init__(self, signers: Iterable[Signer]) -> None:
        """ValueError for a key that is none."""
        self._known = {tag_of(signer.key): (signer, VerifyKey(signer.key)) for signer in signers}

    def fault(self, stream: str, appended: Appended) -> str | None:
        """Why a message does not count, if it does not. MessageDamaged for one that can't be read."""
        found = unpack(appended.data, stream).records
        if not found:
            return None  # it marks progress, and says nothing
        try:
            message, signature, tag = signed_parts(appended.data, SIGNATURE_BYTES)
        except NotSigned:
            return "it is not signed"
        known = self._known.get(tag)
        if known is None:
            return "it is signed by nobody of this deployment"
        signer, key = known
        if 0 < signer.until_us <= appended.time_us:
            return f"its signer, the {signer.role}, was good until before it"
        try:
            key.verify(payload_of(stream, message), signature)
        except BadSignatureError:
            return f"it is not what the {signer.role} has signed"
        kind = strange_kind(found, signer.role)
        return f"the {signer.role} may not say {records.kind_name(kind)}" if kind is not None else None


def strange_kind(data: bytes, role: str) -> int | None:
    """The kind of the first record that the role may not send."""
    allowed = KINDS[role]
    at = 0
    while at < len(data):
        head = int.from_bytes(data[at : at + 8], "little")
        kind = head & KIND_MASK
        if kind not in allowed or (role == GATEWAY and not is_of_a_user(data, at, kind)):
            return kind
        at += (head >> WORDS_SHIFT & WORDS_MASK) * 8
    return None


def is_of_a_user(data: bytes, at: int, kind: int) -> bool:
    """Whether a command is of a user's account, and not of the house's; a transfer, whether it is between it and its own wallet."""
    account = word(data, at, records.ACCOUNT_AT)
    if kind == records.TRANSFER and word(data, at, records.TO_ACCOUNT_AT) & ACCOUNT_MAX != account & ACCOUNT_MAX:
        return False
    return account >= FIRST_USER


def word(data: bytes, at: int, number: int) -> int:
    return int.from_bytes(data[at + number * 8 : at + (number + 1) * 8], "little", signed=True)


@final
class SigningStream:
    """A stream to which a role writes what it has signed; it is read as it is."""

    def __init__(self, stream: Stream, key: SigningKey) -> None:
        self.name = stream.name
        self._stream = stream
        self._key = key

    def writer(self) -> Writer:
        return SigningWriter(self._stream.writer(), self.name, self._key)

    async def read(self, offset: int) -> list[Appended]:
        return await self._stream.read(offset)

    async def ends(self) -> Ends:
        return await self._stream.ends()


@final
class SigningWriter:
    def __init__(self, writer: Writer, stream: str, key: SigningKey) -> None:
        self._writer = writer
        self._stream = stream
        self._key = key
        self._tag = tag_of(bytes(key.verify_key))

    async def append(self, data: bytes) -> int:
        message = with_trailer(data, TRAILER_BYTES)
        signature = self._key.sign(payload_of(self._stream, message)).signature
        return await self._writer.append(message + signature + self._tag)


@final
class CheckedStream:
    """A machine's input, in which what does not count is no message at all. MessageDamaged passes through to its reader."""

    def __init__(self, stream: Stream, signers: Signers, report: Callable[[str], None]) -> None:
        self.name = stream.name
        self._stream = stream
        self._signers = signers
        self._report = report

    def writer(self) -> Writer:
        return self._stream.writer()

    async def read(self, offset: int) -> list[Appended]:
        return [self._checked(appended) for appended in await self._stream.read(offset)]

    async def ends(self) -> Ends:
        return await self._stream.ends()

    def _checked(self, appended: Appended) -> Appended:
        try:
            fault = self._signers.fault(self.name, appended)
        except MessageDamaged:
            return appended
        if fault is None:
            return appended
        self._report(f"{self.name}: message {appended.offset} does not count: {fault}")
        return appended._replace(data=NOTHING)


def guarded(streams: Streams, key: SigningKey | None, signers: Signers | None, report: Callable[[str], None]) -> Streams:
    """Streams of a role that signs with `key`, and whose machines take what `signers` sign; None: nothing is signed, or checked."""
    for inputs in (streams.commands, streams.orders):
        if signers is not None:
            inputs[:] = [CheckedStream(stream, signers, report) for stream in inputs]
        if key is not None:
            inputs[:] = [SigningStream(stream, key) for stream in inputs]
    return streams
