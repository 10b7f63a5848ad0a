"""The hash chain over a stream: of every byte, however the stream was cut."""

from __future__ import annotations

import hashlib
from random import Random

import pytest

from zerosum.log.chain import BLOCK_BYTES, GENESIS, Chain

STREAM = Random(1).randbytes(3 * BLOCK_BYTES + 1000)


def by_definition(stream: bytes) -> bytes:
    link = GENESIS
    while len(stream) >= BLOCK_BYTES:
        link, stream = hashlib.sha256(link + stream[:BLOCK_BYTES]).digest(), stream[BLOCK_BYTES:]
    return hashlib.sha256(link + stream).digest()


def head_of(stream: bytes) -> bytes:
    chain = Chain()
    chain.update(stream)
    return chain.head()


@pytest.mark.parametrize("length", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 2 * BLOCK_BYTES, len(STREAM)])
def test_its_head_is_as_defined(length: int) -> None:
    assert head_of(STREAM[:length]) == by_definition(STREAM[:length])


@pytest.mark.parametrize("seed", range(5))
def test_how_the_stream_was_cut_and_put_away_leaves_no_trace(seed: int) -> None:
    rng = Random(seed)
    chain, at = Chain(), 0
    while at < len(STREAM):
        size = rng.choice([0, 1, 24, 1000, BLOCK_BYTES, 2 * BLOCK_BYTES])
        chain.update(STREAM[at : at + size])
        at += size
        if rng.random() < 0.3:
            chain = Chain.restore(chain.state())
    assert (chain.head(), chain.length_bytes) == (by_definition(STREAM), len(STREAM))


@pytest.mark.parametrize("at", [0, BLOCK_BYTES - 1, BLOCK_BYTES, len(STREAM) - 1])
def test_another_byte_anywhere_gives_another_head(at: int) -> None:
    other = bytearray(STREAM)
    other[at] ^= 1
    assert head_of(bytes(other)) != head_of(STREAM)
