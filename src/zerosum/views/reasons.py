"""
Why the core refused a command, or ended an order, as its name in zerosum.core.codes.
"""

from __future__ import annotations

from typing import Final

from zerosum.core import codes

REASONS: Final = {code: name for name, code in list(vars(codes).items())[list(vars(codes)).index("NO_REASON") :] if name.isupper()}


def reason_name(reason: int) -> str:
    return REASONS.get(reason, f"reason {reason}")
