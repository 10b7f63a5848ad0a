"""
What a command that changes an exchange prints: a sentence, or with --json the account events that it caused.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import typer

from zerosum.cli.door import Event
from zerosum.core import records
from zerosum.views.reasons import reason_name


def report(events: Sequence[Event], text: str, as_json: bool) -> None:
    typer.echo(json.dumps([named(event) for event in events]) if as_json else text)


def named(event: Event) -> dict[str, Any]:
    fields: dict[str, Any] = {"event": records.kind_name(event[0] & 0xFF), **records.named(event)}
    if "reason" in fields:
        fields["reason_name"] = reason_name(fields["reason"])
    return fields
