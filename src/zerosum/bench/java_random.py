"""
Java's random numbers, so that a workload made in Java can be made again here.

    state = (seed xor 0x5DEECE66D) mod 2^48
    each draw: state = (state * 0x5DEECE66D + 11) mod 2^48, and its highest bits are used

The Java platform fixes this algorithm of `java.util.Random` for every implementation, so the numbers are the same for ever.
Not for secrets: two draws give the state away.
"""

from __future__ import annotations

from typing import Final, final

MULTIPLIER: Final = 0x5DEECE66D
INCREMENT: Final = 11
STATE_BITS: Final = 48
STATE_MASK: Final = (1 << STATE_BITS) - 1
INT_MAX: Final = (1 << 31) - 1
DOUBLE_STEP: Final = 2.0**-53


@final
class JavaRandom:
    """The numbers of `new java.util.Random(seed)`, in the same order."""

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self._state = (seed ^ MULTIPLIER) & STATE_MASK

    def next_int(self, bound: int) -> int:
        """`nextInt(bound)`: uniform over 0..bound-1, for a bound of 1..2^31-1."""
        assert 0 < bound <= INT_MAX, "a bound is a positive Java int"
        if bound & (bound - 1) == 0:
            return bound * self._next(31) >> 31
        while True:
            bits = self._next(31)
            value = bits % bound
            # The last run of `bound` numbers may be cut short by 2^31, and would favour the small values: it is drawn again.
            if bits - value + bound - 1 <= INT_MAX:
                return value

    def next_double(self) -> float:
        """`nextDouble()`: uniform over 0 <= x < 1, in steps of 2^-53."""
        high = self._next(26)
        return ((high << 27) + self._next(27)) * DOUBLE_STEP

    def _next(self, bits: int) -> int:
        self._state = (self._state * MULTIPLIER + INCREMENT) & STATE_MASK
        return self._state >> (STATE_BITS - bits)


def objects_hash(*values: int) -> int:
    """`java.util.Objects.hash` of Java ints, a Java int itself. Values out of range wrap, as they do in Java."""
    result = 1
    for value in values:
        result = 31 * result + value
    return (result + (1 << 31)) % (1 << 32) - (1 << 31)
