"""
What people and programs ask for on the consoles, in the trail: who it was, and what became of it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, final

from zerosum.console.http import Asked
from zerosum.identity.trail import Trail

Json = dict[str, Any]


@final
class Notes:
    def __init__(self, trail: Trail) -> None:
        self._trail = trail

    def tell(self, asked: Asked, action: str, detail: Json) -> None:
        """Of what is done, and has given nobody more than before."""
        self._trail.append(by=by_of(asked), client=asked.client, action=action, about=about_of(asked), detail=detail, outcome="done")

    def noted(self, asked: Asked, action: str, detail: Json, about: str = "") -> AbstractContextManager[Json]:
        """As Trail.noted. `about`: what it is done to, where that is not the account or the person that asks."""
        return self._trail.noted(by=by_of(asked), client=asked.client, action=action, about=about or about_of(asked), detail=detail)


def by_of(asked: Asked) -> str:
    return f"user {asked.who.name}" if asked.person is not None and asked.person.account_id else asked.by


def about_of(asked: Asked) -> str:
    if asked.person is None:
        return f"account {asked.program.account_id}"
    return f"account {asked.person.account_id}" if asked.person.account_id else f"operator {asked.person.name}"
