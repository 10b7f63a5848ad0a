"""
Words of 64 bits that mean the same compiled (where they wrap and are signed) and in plain Python (where they do not).
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

MASK_62: Final = (1 << 62) - 1  # the widest mask that mypyc keeps as a C integer
MULTIPLIER: Final = 2850178704830799621  # odd, its bits well mixed, and below 2**62
OTHER_MULTIPLIER: Final = 3935559000370003845


def bit(digit: i64) -> i64:
    """
    1 << digit as a signed word. Plain Python would make 1 << 63 positive, and too big for a vec[i64].

    Shift a constant by a variable nowhere else: mypyc 2.4.1 hands `1 << digit` to C as a 32-bit shift (1 << 40 is 256).
    """
    one: i64 = 1
    if digit == 63:
        one = -1
    return one << digit


def lowest_bit(word: i64) -> i64:
    """How many zeros stand below the lowest set bit: count the ones under it, without a branch or a table."""
    x = (word & -word) - 1
    ones: i64 = 0x1111111111111111
    x = x - (x >> 1 & ones * 5)  # 0x5555...: as a literal it is past 2**62, and mypyc would keep it as a Python int
    x = (x & 0x3333333333333333) + (x >> 2 & 0x3333333333333333)
    x = x + (x >> 4) & 0x0F0F0F0F0F0F0F0F
    return x * 0x0101010101010101 >> 56 & 127


def spread(key: i64) -> i64:
    """31 bits that depend on every bit of `key`, for choosing a bucket. Dense, sparse and shifted keys all spread."""
    return (key ^ key >> 32) * MULTIPLIER >> 32 & 0x7FFFFFFF


def mix(state: i64, word: i64, multiplier: i64) -> i64:
    """
    Fold `word` into a running hash of 62 bits.

    The low 62 bits of a product are the same whether or not it wrapped at 64, so both builds agree.
    """
    state = (state ^ word ^ word >> 31) * multiplier & MASK_62
    return state ^ state >> 31
