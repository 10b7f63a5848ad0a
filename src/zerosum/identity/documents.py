"""
Where identities are kept: small documents, each replaced only by who has seen what it replaces.

    kind    what it is: "key", "user", "operator", "session" ...   owner   whose: an account, a person; documents of an owner are listed
    name    which of the owner's                                       version 1, 2, 3 ...: one more each time that it is written

    get, of_owner, every                                put(body, version that it replaces) --> Changed: somebody was faster
    changes(kind, after) --> what was written of a kind since, and how far that is

A kind whose name begins with "console." is written by the operators' console alone: of a cluster's database nobody else may, whatever keys
they have. So a stolen gateway makes no operator, no approval, and no key of the venue's own programs.

SqliteDocuments are in a file of the embedded exchange; CqlDocuments in a cluster's database. Calls may wait for a disk or a network, so
an event loop makes them in other threads; any number of threads may call at a time.

Always true: a document is written whole or not at all; of two who replace the same version one is refused; what was written is in
`changes`.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

from zerosum.errors import ZerosumError

CONSOLES: Final = "console."
"""How the name of a kind begins that is the console's alone."""


class DocumentsFailed(ZerosumError):
    """They can't be read or written now. Of a write, whether it was made is not known."""


class Changed(Exception):
    """The document is of another version than the one that was to be replaced."""


class Stored(NamedTuple):
    owner: str
    name: str
    version: int
    body: bytes


class Place(NamedTuple):
    """Which document."""

    kind: str
    owner: str
    name: str


class Changes(NamedTuple):
    """`places`: what was written, all of one kind; the same may be there twice. `mark`: to be handed in the next time."""

    places: list[Place]
    mark: int


class Documents(Protocol):
    @property
    def where(self) -> str:
        """A file, or a keyspace: for messages."""

    def get(self, kind: str, owner: str, name: str) -> Stored | None:
        """DocumentsFailed, as of all calls."""

    def put(self, kind: str, owner: str, name: str, body: bytes, version: int, *, lives_s: int = 0) -> None:
        """In the place of that version; 0: there is none yet. `lives_s`: gone after that, unless it is 0. Changed."""

    def remove(self, kind: str, owner: str, name: str) -> None:
        """Whatever its version. It is not in `changes`: what is watched is never removed, but written anew as revoked."""

    def of_owner(self, kind: str, owner: str) -> list[Stored]:
        """By name."""

    def every(self, kind: str) -> list[Stored]:
        """Of all owners, in no order."""

    def changes(self, kind: str, mark: int) -> Changes:
        """Since `mark`, which an earlier call gave; 0: from now on, so that nothing is found, and a mark to go on from."""

    def fault(self) -> str | None:
        """Why they can't be read now, if they can't: for whoever asks whether a gateway is ready."""

    def close(self) -> None: ...
