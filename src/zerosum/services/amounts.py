"""
Plain decimal text to whole units and back, exactly: for what operators write, in commands and files.

    "10999.5" --units, of 10^-8--> 1099950000000 --text--> "10999.5"

Always true: nothing is rounded. What is not a whole number of units is told apart from what is no decimal number.
"""

from __future__ import annotations

import re
from typing import Final

CHARS_MAX: Final = 64  # more than any amount within bounds has, and short enough to be shown whole

_decimal: Final = re.compile(r"([0-9]+)(?:\.([0-9]+))?", re.ASCII).fullmatch


class NotDecimal(ValueError):
    """A text that is no plain decimal number: digits, and a point between digits."""


class NotWhole(ValueError):
    """A number that lies between two units."""


def parsed(text: str) -> tuple[int, int]:
    """(mantissa, decimals), without zeros at the end: 0.010 -> (1, 2). NotDecimal."""
    found = _decimal(text) if len(text) <= CHARS_MAX else None
    if found is None:
        raise NotDecimal(text)
    whole, fraction = found.groups("")
    fraction = fraction.rstrip("0")
    return int(whole + fraction), len(fraction)


def units(text: str, decimals: int, mantissa: int = 1) -> int:
    """How many times mantissa x 10^-decimals a decimal number is. NotDecimal, NotWhole."""
    number, places = parsed(text)
    common = max(places, decimals)
    count, rest = divmod(number * power_of_ten(common - places), mantissa * power_of_ten(common - decimals))
    if rest:
        raise NotWhole(text)
    return count


def power_of_ten(exponent: int) -> int:
    return int("1" + "0" * exponent)


def decimal_text(count: int, decimals: int) -> str:
    """count x 10^-decimals, without zeros at the end."""
    sign = "-" if count < 0 else ""
    digits = str(abs(count)).rjust(decimals + 1, "0")
    fraction = digits[len(digits) - decimals :].rstrip("0")
    return sign + digits[: len(digits) - decimals] + (f".{fraction}" if fraction else "")


def grouped(text: str) -> str:
    """For people: commas between the thousands of a decimal number."""
    whole, point, fraction = text.partition(".")
    return f"{int(whole):,}{point}{fraction}"
