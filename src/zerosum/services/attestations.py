"""
What the machines here put out, held against what the live exchange attested of the same input.

    ends of groups, here     ... 100 125 150 175 200        each with the number of events and the head of the chains
    attested in the log          ^100     ^150              of where a group ended, some groups ago under load; by a seal, of the last one

Always true: what is attested never goes back, and is always of a state that a group of this log ended in; anything else is a divergence.
"""

from __future__ import annotations

from typing import final

from zerosum.errors import ZerosumError
from zerosum.log.cursor import Group
from zerosum.log.layout import NOTHING_ATTESTED, Attestation


class Diverged(ZerosumError):
    """The live exchange put out something else than the machines here, for the same log."""


@final
class Attestations:
    def __init__(self, start: Attestation) -> None:
        """`start`: of the machines as they are before the first group. What is attested of states before that is not looked at."""
        self.compared = 0
        self._start = start.input_sequence
        self._ends = {start.input_sequence: start}  # those that can still be attested: from the last attested on

    def reached(self, end: Attestation) -> None:
        """The machines are at the end of a group."""
        self._ends[end.input_sequence] = end

    def compare(self, group: Group) -> None:
        """With what a group, or a seal, says of the machines before it. Diverged."""
        told = group.attestation
        if told == NOTHING_ATTESTED and not group.record_count:
            return  # the seal of a shard that did not come to apply everything
        if told.input_sequence < self._start:
            return
        ours = self._ends.get(told.input_sequence)
        if ours is None:
            raise Diverged(
                f"Before command {group.first_sequence} the log attests a state after command {told.input_sequence}, which it can't be:"
                " no group ended there, or a later state was attested before. Keep the data directory as it is."
            )
        if ours != told:
            raise Diverged(
                f"After command {ours.input_sequence} the live exchange had put out {told.account_sequence} account and"
                f" {told.market_sequence} market events with chain head {told.chain_head.hex()}; a replay gives"
                f" {ours.account_sequence} and {ours.market_sequence}, {ours.chain_head.hex()}. Keep the data directory as it is, start"
                " nothing on it, and look further with `zerosum audit`."
            )
        self.compared += 1
        while next(iter(self._ends)) < told.input_sequence:
            del self._ends[next(iter(self._ends))]
