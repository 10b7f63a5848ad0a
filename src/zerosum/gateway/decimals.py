"""
Decimal text to whole steps and back, exactly: no float anywhere.

    "31250.5" --Scale.steps--> 3125050 ticks --Scale.text--> "31250.50000000"

Always true: steps(text(n)) == n; text has the scale's number of decimals, whatever the value.
"""

from __future__ import annotations

import re
from typing import Final, final

from zerosum.gateway.errors import ILLEGAL_CHARS, TOO_PRECISE, Kind

DECIMAL_RANGE: Final = r"^([0-9]{1,20})(\.[0-9]{1,20})?$"
PRINTED_DECIMALS_MIN: Final = 8

_decimal: Final = re.compile(r"([0-9]{1,20})(?:\.([0-9]{1,20}))?").fullmatch
_POWERS: Final[tuple[int, ...]] = tuple(10**exponent for exponent in range(40))


@final
class Scale:
    """
    Values that are whole steps of `mantissa` x 10^-decimals, written with at least 8 decimals.

    `misfit` is the error for a value between two steps. A value with more decimals than are written is TOO_PRECISE.
    """

    __slots__ = ("_form", "_misfit", "_one", "_step", "decimals")

    def __init__(self, mantissa: int, decimals: int, misfit: Kind) -> None:
        self.decimals: Final = max(decimals, PRINTED_DECIMALS_MIN)
        self._one: int = _POWERS[self.decimals]
        self._step: int = mantissa * _POWERS[self.decimals - decimals]
        self._form: str = f"%d.%0{self.decimals}d"
        self._misfit = misfit

    def text(self, steps: int) -> str:
        return self._form % divmod(steps * self._step, self._one)

    def steps(self, text: str, name: str) -> int:
        """How many steps `text` is; unbounded. Raises ApiError, for the parameter `name`."""
        found = _decimal(text)
        if found is None:
            raise ILLEGAL_CHARS.of(name, DECIMAL_RANGE)
        whole, fraction = found.groups("")
        missing = self.decimals - len(fraction)
        if missing < 0:
            raise TOO_PRECISE.of(name)
        steps, rest = divmod(int(whole + fraction) * _POWERS[missing], self._step)
        if rest:
            raise (TOO_PRECISE.of(name) if self._misfit is TOO_PRECISE else self._misfit.of())
        return steps


def ratio_text(ppm: int) -> str:
    """Millionths as a decimal: 1500 is 0.00150000."""
    return f"{ppm // 1_000_000}.{ppm % 1_000_000:06d}00"
