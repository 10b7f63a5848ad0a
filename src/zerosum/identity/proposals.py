"""
What one operator may not do alone: proposed by one, done once another has approved it.

    propose --> open --approve (somebody else)--> taken --> done | failed
                  +--refuse--> refused            (anybody who may approve, or who proposed it)
                  +--LIVES_S--> expired

Always true: nobody approves what they proposed; a proposal is taken once, by one of those who try at a time.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any, Final, final

import msgspec

from zerosum.errors import ZerosumError
from zerosum.identity.vault import Held, Kind, Vault

LIVES_S: Final = 86_400
REASON_CHARS_MIN: Final = 8
REASON_CHARS_MAX: Final = 500

OPEN: Final = "open"
TAKEN: Final = "taken"
DONE: Final = "done"
FAILED: Final = "failed"
REFUSED: Final = "refused"
EXPIRED: Final = "expired"


class ProposalError(ZerosumError):
    """It can't be decided so."""


class ProposalRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`arguments`: of the action, as JSON has them."""

    action: str
    arguments: dict[str, Any]
    reason: str
    by: str
    proposed_us: int
    state: str = OPEN
    decided_by: str = ""
    decided_us: int = 0
    outcome: str = ""


PROPOSALS: Final = Kind("console.proposal", ProposalRecord)
OWNER: Final = ""


@final
class Proposals:
    def __init__(self, vault: Vault, clock_s: Callable[[], float] = time.time) -> None:
        self._vault = vault
        self._clock_s = clock_s

    def propose(self, action: str, arguments: dict[str, Any], reason: str, by: str) -> Held[ProposalRecord]:
        """ProposalError."""
        if not REASON_CHARS_MIN <= len(reason.strip()) <= REASON_CHARS_MAX or not reason.isprintable():
            raise ProposalError(
                f"reason: {REASON_CHARS_MIN} to {REASON_CHARS_MAX} characters that can be printed, for whoever approves it."
            )
        now_us = self._now_us()
        record = ProposalRecord(action=action, arguments=arguments, reason=reason.strip(), by=by, proposed_us=now_us)
        return self._vault.put(PROPOSALS, OWNER, f"{now_us:016d}-{secrets.token_hex(4)}", record)

    def take(self, proposal_id: str, by: str) -> Held[ProposalRecord]:
        """To be done now. ProposalError; Changed where somebody else has decided it meanwhile."""
        held = self._open(proposal_id)
        if held.record.by == by:
            raise ProposalError("it is your own: somebody else is to approve it.")
        taken = msgspec.structs.replace(held.record, state=TAKEN, decided_by=by, decided_us=self._now_us())
        return self._vault.put(PROPOSALS, OWNER, proposal_id, taken, held.version)

    def refuse(self, proposal_id: str, by: str) -> Held[ProposalRecord]:
        """Or withdraw one's own. ProposalError, Changed."""
        held = self._open(proposal_id)
        refused = msgspec.structs.replace(held.record, state=REFUSED, decided_by=by, decided_us=self._now_us())
        return self._vault.put(PROPOSALS, OWNER, proposal_id, refused, held.version)

    def end(self, taken: Held[ProposalRecord], state: str, outcome: str) -> Held[ProposalRecord]:
        """What became of one that was taken."""
        return self._vault.put(
            PROPOSALS, OWNER, taken.name, msgspec.structs.replace(taken.record, state=state, outcome=outcome), taken.version
        )

    def get(self, proposal_id: str) -> Held[ProposalRecord] | None:
        held = self._vault.get(PROPOSALS, OWNER, proposal_id)
        return held._replace(record=self._as_of_now(held.record)) if held is not None else None

    def every(self) -> list[Held[ProposalRecord]]:
        """The newest first."""
        found = [held._replace(record=self._as_of_now(held.record)) for held in self._vault.of_owner(PROPOSALS, OWNER)]
        return sorted(found, key=lambda held: held.name, reverse=True)

    def _open(self, proposal_id: str) -> Held[ProposalRecord]:
        held = self.get(proposal_id)
        if held is None:
            raise ProposalError("there is no such proposal.")
        if held.record.state != OPEN:
            raise ProposalError(f"it is not open any more: it is {held.record.state}.")
        return held

    def _as_of_now(self, record: ProposalRecord) -> ProposalRecord:
        if record.state == OPEN and self._now_us() - record.proposed_us >= LIVES_S * 1_000_000:
            return msgspec.structs.replace(record, state=EXPIRED)
        return record

    def _now_us(self) -> int:
        return int(self._clock_s() * 1_000_000)
