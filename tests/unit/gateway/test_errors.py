"""The table of errors is whole: a reason of the core that it does not know would reach a client as something else."""

from __future__ import annotations

import json

import pytest

from zerosum.core import codes
from zerosum.gateway import errors
from zerosum.gateway.answers import STP_NAMES, TIF_NAMES, TYPE_NAMES

# In codes.py the reasons are the constants from NO_REASON on.
NAMES = list(vars(codes))
REASONS = {name: getattr(codes, name) for name in NAMES[NAMES.index("NO_REASON") :]}


def test_these_are_the_reasons() -> None:
    assert REASONS["NO_REASON"] == 0
    assert len(set(REASONS.values())) == len(REASONS) >= 36
    assert all(isinstance(reason, int) for reason in REASONS.values())


@pytest.mark.parametrize("name", [name for name in REASONS if name != "NO_REASON"])
def test_a_reason_is_an_error_an_end_or_never_asked(name: str) -> None:
    reason = REASONS[name]
    is_error, is_end, is_never_asked = reason in errors.ERRORS, reason in errors.ENDS, reason in errors.NEVER_ASKED
    if name == "WALK_TOO_LONG":  # a market buy is rejected for it, a fill-or-kill expires
        assert (is_error, is_end) == (True, True)
    else:
        assert is_error + is_end + is_never_asked == 1


def test_the_tables_know_nothing_but_reasons() -> None:
    assert set(errors.ERRORS) | set(errors.ENDS) | errors.NEVER_ASKED == set(REASONS.values()) - {codes.NO_REASON}


def test_every_code_of_an_order_has_its_name() -> None:
    assert set(TYPE_NAMES) == set(range(1, codes.TYPE_MAX + 1))
    assert set(TIF_NAMES) == set(range(codes.TIF_MAX + 1))
    assert set(STP_NAMES) == set(range(codes.STP_MAX + 1))


def test_texts_are_ascii_and_their_gaps_are_filled_in() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, errors.Kind)]
    assert len(kinds) > 50
    for kind in kinds:
        text = kind.of(*["x"] * kind.msg.count("{}")).msg
        assert text.isascii()
        assert "{" not in text
        assert text == text.strip()
        assert kind.code < 0
        assert 400 <= kind.status < 600


def test_a_reason_from_a_later_core_is_an_unknown_error() -> None:
    assert errors.error_of(999).code == -1000


def test_only_websocket_bodies_have_data() -> None:
    error = errors.ApiError(-1003, 'a "quoted" text', 429, {"retryAfter": 1})
    assert json.loads(error.body()) == {"code": -1003, "msg": 'a "quoted" text'}
    assert json.loads(error.body_with_data()) == {"code": -1003, "msg": 'a "quoted" text', "data": {"retryAfter": 1}}
