"""
A hash chain over one stream of output, the same however the stream was cut into batches.

    stream   | block 0, 64 KiB | block 1, 64 KiB | ... | tail |
    links      l0 = 0            l(k+1) = SHA-256(lk + block k)      head = SHA-256(lk + tail)

Always true: the head depends on every byte so far and on nothing else. So two machines that gave the same records have the same head at
every record, and one that differs anywhere differs ever after.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Final, final

BLOCK_BYTES: Final = 1 << 16
GENESIS: Final = bytes(32)


@final
class Chain:
    __slots__ = ("_hasher", "_tail", "length_bytes", "link")

    def __init__(self, link: bytes = GENESIS, tail: bytes = b"", length_bytes: int = 0) -> None:
        self.link = link
        self.length_bytes = length_bytes
        self._tail = bytearray(tail)
        self._hasher = hashlib.sha256(link + tail)

    def update(self, data: bytes) -> None:
        self.length_bytes += len(data)
        at = 0
        while len(data) - at >= BLOCK_BYTES - len(self._tail):
            until = at + BLOCK_BYTES - len(self._tail)
            self._hasher.update(memoryview(data)[at:until])
            self.link = self._hasher.digest()
            self._hasher = hashlib.sha256(self.link)
            self._tail.clear()
            at = until
        rest = memoryview(data)[at:]
        self._hasher.update(rest)
        self._tail += rest

    def head(self) -> bytes:
        return self._hasher.copy().digest()

    def state(self) -> bytes:
        """What `restore` needs to go on from here."""
        return struct.pack("<q", self.length_bytes) + self.link + bytes(self._tail)

    @classmethod
    def restore(cls, state: bytes) -> Chain:
        return cls(state[8:40], state[40:], struct.unpack_from("<q", state)[0])
