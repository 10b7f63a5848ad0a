"""Decimals become steps and steps decimals, exactly."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zerosum.gateway.decimals import Scale, ratio_text
from zerosum.gateway.errors import LOT_SIZE, TOO_PRECISE, ApiError


@pytest.mark.parametrize(
    ("mantissa", "decimals", "text", "steps"),
    [
        (1, 2, "31250.5", 3_125_050),
        (1, 2, "31250.50000000", 3_125_050),
        (1, 2, "0031250.50", 3_125_050),
        (1, 2, "0", 0),
        (5, 2, "0.05", 1),
        (25, 1, "100", 40),
        (1, 0, "7", 7),
        (1, 8, "0.00000001", 1),
        (1, 12, "0.000000000001", 1),
        (1, 18, "99999999999999999999.999999999999999999", 10**38 - 1),
    ],
)
def test_steps_of_a_text(mantissa: int, decimals: int, text: str, steps: int) -> None:
    assert Scale(mantissa, decimals, LOT_SIZE).steps(text, "price") == steps


@pytest.mark.parametrize(
    ("mantissa", "decimals", "steps", "text"),
    [
        (1, 2, 3_125_050, "31250.50000000"),
        (1, 0, 0, "0.00000000"),
        (25, 1, 3, "7.50000000"),
        (1, 8, (1 << 62) - 1, "46116860184.27387903"),
        (1, 18, 1, "0.000000000000000001"),
    ],
)
def test_text_of_steps(mantissa: int, decimals: int, steps: int, text: str) -> None:
    assert Scale(mantissa, decimals, LOT_SIZE).text(steps) == text


@given(st.integers(0, (1 << 63) - 1), st.integers(1, 10_000), st.integers(0, 18))
def test_a_text_gives_back_its_steps(steps: int, mantissa: int, decimals: int) -> None:
    scale = Scale(mantissa, decimals, LOT_SIZE)
    text = scale.text(steps)
    assert Decimal(text) == steps * mantissa * Decimal(10) ** -decimals
    assert len(text.partition(".")[2]) == max(8, decimals)
    if len(text.partition(".")[0]) <= 20:
        assert scale.steps(text, "price") == steps


@given(st.from_regex(r"[0-9]{1,20}(\.[0-9]{1,8})?", fullmatch=True), st.integers(1, 10_000), st.integers(0, 8))
def test_a_text_is_its_exact_value_or_no_step(text: str, mantissa: int, decimals: int) -> None:
    exact = Decimal(text) / (mantissa * Decimal(10) ** -decimals)
    scale = Scale(mantissa, decimals, LOT_SIZE)
    if Decimal(text) % (mantissa * Decimal(10) ** -decimals) == 0:
        assert scale.steps(text, "quantity") == exact
    else:
        with pytest.raises(ApiError) as refused:
            scale.steps(text, "quantity")
        assert refused.value.code == LOT_SIZE.code


def test_between_two_atoms_there_is_too_much_precision() -> None:
    """An asset of 2 decimals is written with 8: of these, 6 are always zero."""
    with pytest.raises(ApiError) as refused:
        Scale(1, 2, TOO_PRECISE).steps("1.005", "quoteOrderQty")
    assert refused.value.msg == "Parameter 'quoteOrderQty' has too much precision."


def test_a_ratio_is_written_with_eight_decimals() -> None:
    assert [ratio_text(ppm) for ppm in (0, 1500, 1_000_000)] == ["0.00000000", "0.00150000", "1.00000000"]
