"""
What operators do: each action with who may do it, whether it takes two of them, and its lines in the trail.

    one of them is enough    begun (in the trail) --> done --> outcome (in the trail)
    it takes two             proposed (in the trail) --> somebody else approves (in the trail) --> done --> outcome

Always true: what can't be written down in the trail is not done; what takes two is done by an approval alone, with the arguments that were
proposed, while both of them may do it; the trail has the arguments, and never a password.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, final

import msgspec

from zerosum.console.access import ANY_OPERATOR, OfOperator
from zerosum.console.http import FORBIDDEN, NOT_THERE, Answered, Asked, Endpoint
from zerosum.identity.people import People
from zerosum.identity.proposals import DONE, FAILED, ProposalError, ProposalRecord, Proposals
from zerosum.identity.trail import Trail
from zerosum.identity.vault import Held

Json = dict[str, Any]

ROOT: Final = "/admin/v1"
SECRET: Final = frozenset({"password", "temporary_password"})


class Reason(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Of an action that has no other arguments."""

    reason: str = ""


@final
@dataclass(frozen=True, slots=True)
class Action:
    """
    `path`: below ROOT, its parts being arguments. `form`: the other arguments, `reason` among them. `run`: with all of them by name; what
    it returns is the answer, and goes into the trail. `by_whom`, `gives_reason`: it is also told who asks, and why.
    """

    name: str
    path: str
    access: OfOperator
    run: Callable[..., Json]
    form: type[Reason] = Reason
    takes_two: bool = False
    method: str = "POST"
    by_whom: bool = False
    gives_reason: bool = False

    def arguments_of(self, asked: Asked) -> Json:
        form: Json = msgspec.to_builtins(asked.form)
        return {**form, **asked.parts}


@final
class Actions:
    """Those that there are, as endpoints; and the endpoints of proposals."""

    def __init__(self, actions: Iterable[Action], trail: Trail, proposals: Proposals, operators: People) -> None:
        self._actions = {action.name: action for action in actions}
        self._trail = trail
        self._proposals = proposals
        self._operators = operators

    def endpoints(self) -> list[Endpoint]:
        found = [
            Endpoint(action.method, ROOT + action.path, self._asked_for(action), action.access, action.form)
            for action in self._actions.values()
        ]
        decided = "/proposals/{id}"
        return [
            *found,
            Endpoint("GET", f"{ROOT}/proposals", self.list_proposals, ANY_OPERATOR),
            Endpoint("POST", f"{ROOT}{decided}/approve", self.approve, ANY_OPERATOR),
            Endpoint("POST", f"{ROOT}{decided}/refuse", self.refuse, ANY_OPERATOR),
        ]

    def _asked_for(self, action: Action) -> Callable[[Asked], Answered | Json]:
        def serve(asked: Asked) -> Answered | Json:
            arguments = action.arguments_of(asked)
            return self._propose(action, arguments, asked) if action.takes_two else self._do(action, arguments, asked.by, asked.client)

        return serve

    def _do(self, action: Action, arguments: Json, by: str, client: str, **also: Any) -> Json:
        about = about_of(arguments)
        shown = {name: value for name, value in arguments.items() if name not in SECRET}
        with self._trail.noted(by=by, client=client, action=action.name, about=about, detail={**shown, **also}) as told:
            given = {name: value for name, value in arguments.items() if name != "reason" or action.gives_reason}
            if action.by_whom:
                given["by"] = by
            result = action.run(**given)
            told.update({name: value for name, value in result.items() if name not in SECRET})
        return result

    # ------------------------------------------------------------------ what takes two

    def _propose(self, action: Action, arguments: Json, asked: Asked) -> Answered:
        reason = arguments.pop("reason")
        held = self._proposals.propose(action.name, arguments, reason, asked.by)
        self._trail.append(
            by=asked.by, client=asked.client, action=action.name, about=about_of(arguments), outcome="proposed",
            detail={**arguments, "proposal": held.name, "reason": held.record.reason},
        )  # fmt: skip
        return Answered({"proposal": held.name, "state": held.record.state}, status=202)

    def list_proposals(self, asked: Asked) -> Json:
        return {"proposals": [shown_proposal(held) for held in self._proposals.every()]}

    def approve(self, asked: Asked) -> Json:
        action, by = self._decidable(asked)
        if not self._may(by, action):
            raise ProposalError(f"{by}, who has proposed it, may not any more: propose it anew.")
        held = self._proposals.take(asked.parts["id"], asked.by)
        try:
            result = self._do(action, dict(held.record.arguments), asked.by, asked.client, proposal=held.name, proposed_by=held.record.by)
        except BaseException as error:
            self._proposals.end(held, FAILED, f"{type(error).__name__}: {error}"[:500])
            raise
        self._proposals.end(held, DONE, "done")
        return {"proposal": held.name, "state": DONE, "result": result}

    def refuse(self, asked: Asked) -> Json:
        self._decidable(asked)
        held = self._proposals.refuse(asked.parts["id"], asked.by)
        self._trail.append(by=asked.by, client=asked.client, action=held.record.action, outcome="refused", detail={"proposal": held.name})
        return {"proposal": held.name, "state": held.record.state}

    def _decidable(self, asked: Asked) -> tuple[Action, str]:
        """What a proposal is for, and whose it is, if it is for one who decides about that."""
        held = self._proposals.get(asked.parts["id"])
        if held is None:
            raise NOT_THERE.of()
        action = self._actions.get(held.record.action)
        if action is None or not action.access.roles & set(asked.who.roles):
            raise FORBIDDEN.of()
        return action, held.record.by

    def _may(self, name: str, action: Action) -> bool:
        operator = self._operators.get(name)
        return operator is not None and operator.active and bool(action.access.roles & set(operator.roles))


def about_of(arguments: Json) -> str:
    """What an action is done to: what names it in the path, mostly."""
    return next(
        (
            f"{name} {arguments[name]}"
            for name in ("account", "holder", "symbol", "user", "operator", "key", "name", "source")
            if name in arguments
        ),
        "",
    )


def shown_proposal(held: Held[ProposalRecord]) -> Json:
    return {"id": held.name, **msgspec.to_builtins(held.record)}
