"""
The control stream: what an operator has decided about single records, read whole by each copy before it replays anything.

    {"pass_over": "ubscore.3", "position": 9175041}       a record that stops every copy of a machine is passed over by all of them
"""

from __future__ import annotations

import json

from zerosum.errors import ZerosumError
from zerosum.log.streams import Stream


class ControlDamaged(ZerosumError):
    """The control stream holds something else than decisions."""


def decision(role: str, position: int) -> bytes:
    """To be appended to the control stream while no copy of the role runs."""
    return json.dumps({"pass_over": role, "position": position}).encode()


async def passed_over(control: Stream, role: str) -> set[int]:
    """The positions of the records that a role's machine passes over. ControlDamaged."""
    found: set[int] = set()
    ends = await control.ends()
    at = ends.first
    while at < ends.next:
        for appended in await control.read(at):
            try:
                said = json.loads(appended.data)
                if said["pass_over"] == role:
                    found.add(int(said["position"]))
            except (ValueError, KeyError, TypeError) as error:
                raise ControlDamaged(f"{control.name}: message {appended.offset} is no decision: {appended.data[:80]!r}") from error
            at = appended.offset + 1
    return found
