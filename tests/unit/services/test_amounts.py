"""Plain decimals: exact both ways, and nothing else is one."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerosum.services.amounts import NotDecimal, NotWhole, decimal_text, grouped, parsed, units


@given(count=st.integers(-(1 << 80), 1 << 80), decimals=st.integers(0, 18))
def test_a_text_is_the_exact_value_and_has_no_zeros_at_the_end(count: int, decimals: int) -> None:
    text = decimal_text(count, decimals)
    assert Fraction(text) == Fraction(count, 10**decimals)
    assert "." not in text or text[-1] not in "0."
    if count >= 0:
        assert units(text, decimals) == count


@given(count=st.integers(0, 1 << 62), mantissa=st.integers(1, 1000), decimals=st.integers(0, 12), zeros=st.integers(0, 5))
def test_steps_are_counted_exactly_or_told_apart(count: int, mantissa: int, decimals: int, zeros: int) -> None:
    text = decimal_text(count * mantissa, decimals)
    padded = (text if "." in text else text + ".") + "0" * zeros if zeros else text
    assert units(padded, decimals, mantissa) == count
    with pytest.raises(NotWhole):
        units(decimal_text(count * mantissa * 10 + 1, decimals + 1), decimals, mantissa)


@pytest.mark.parametrize(
    "text", ["", ".", "1.", ".1", "-1", "+1", " 1", "1 ", "1e3", "1_0", "1,000", "٣", "²", "NaN", "1\n", "0x1", "1" * 65]
)
def test_what_is_no_plain_decimal_is_refused(text: str) -> None:
    with pytest.raises(NotDecimal):
        parsed(text)


def test_thousands_are_grouped_and_fractions_left_alone() -> None:
    assert [grouped(text) for text in ("0", "1234.56789", "1000000", "-1234.5")] == ["0", "1,234.56789", "1,000,000", "-1,234.5"]
