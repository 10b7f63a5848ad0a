"""
Whether a master key could be guessed.

A key from `openssl rand -hex 32` is called weak once in more than 10^11: each rule below says how often chance does what it looks for.
"""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import Final

PERIOD_MAX: Final = 32  # hexadecimal digits: half a key, so once in 2^128
DIGITS_MIN: Final = 10  # different ones of 16: once in 10^12
BYTES_MIN: Final = 18  # different ones of 32: less than once in 10^13
STEPS_MAX: Final = 4  # different distances between neighbors, byte to byte: counting up, or down
GUESSED: Final = ("", "test", "secret", "password", "changeme", "zerosum", "master", "master key")


def weakness(key: str) -> str | None:
    """Of 64 hexadecimal digits: what makes them no secret, to be said behind the setting's name; None for what looks random."""
    digits = key.lower()
    content = bytes.fromhex(digits)
    if len(set(digits)) == 1:
        return "is one digit over and over"
    if any(digits == (digits[:period] * len(digits))[: len(digits)] for period in range(2, PERIOD_MAX + 1)):
        return "repeats itself"
    if len({(after - before) % 256 for before, after in pairwise(content)}) <= STEPS_MAX:
        return "counts up or down"
    if content.isascii() and all(byte >= 0x20 for byte in content):
        return "is a text, written in hexadecimal digits"
    if any(content == hashlib.sha256(guess.encode()).digest() for guess in GUESSED):
        return "is the SHA-256 of a word that anybody guesses"
    if len(set(digits)) < DIGITS_MIN or len(set(content)) < BYTES_MIN:
        return "has too few different digits to be random"
    return None
