"""
The core as it stands behind a log: a batch of commands in, the events of both streams out, with the chain over all that ever came out.

    records --> Exchange.advance --> account events, market events --> chains --> attestation
    snapshot <--> sections

The live exchange, its follower, the auditor and the replay all run this one class, so that they cannot differ but by a fault.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple, final

from zerosum.core.exchange import Exchange
from zerosum.errors import ZerosumError
from zerosum.log.chain import Chain
from zerosum.log.layout import Attestation
from zerosum.log.snapshots import Snapshot


class Output(NamedTuple):
    """
    What came out. `last_sequence`: the place in the log of the last command that was begun; `finished`: it is applied whole.
    """

    last_sequence: int
    account_events: bytes
    market_events: bytes
    finished: bool = True


class MachineBroken(AssertionError):
    """A command broke an invariant: a bug, or a log for a later version. Every copy of the machines stops there."""

    def __init__(self, sequence: int, error: Exception) -> None:
        super().__init__(
            f"command {sequence} of the log breaks the machines: {type(error).__name__}: {error}. Keep the data directory as it is."
            " How to have the command passed over: docs/guides/quarantine.md"
        )
        self.sequence = sequence


class OutOfMemory(ZerosumError):
    """Of the system's doing, not of a command's: with more memory the same log goes on."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what}: the system gives no more memory. Room for the machines' records is reserved ahead, some 5 GB of addresses in each"
            " process, of which memory is taken only as it is used. Let processes reserve that: no `ulimit -v` (LimitAS= of a unit), and"
            " vm.overcommit_memory=0 or 1."
        )


@final
class Machine:
    def __init__(self) -> None:
        try:
            self.exchange = Exchange()
        except MemoryError as error:
            raise OutOfMemory("the machines can't be made") from error
        self.account_chain = Chain()
        self.market_chain = Chain()

    @property
    def sequence(self) -> int:
        """The place in the log of the last command applied."""
        return self.exchange.sequence

    def apply(self, records: bytes) -> Output:
        """Apply a batch whole. After a MachineBroken or OutOfMemory the state is not to be trusted: the process must end."""
        steps = list(self.steps(records))
        account_events = b"".join([step.account_events for step in steps])
        market_events = b"".join([step.market_events for step in steps])
        return Output(self.exchange.sequence, account_events, market_events)

    def steps(self, records: bytes) -> Iterator[Output]:
        """The same bit by bit: what one call of the core puts out is bounded. All of it is to be taken before anything else is applied."""
        exchange = self.exchange
        at = 0
        while at < len(records) or exchange.unfinished():
            try:
                at = exchange.advance(records, at)
            except MemoryError as error:
                raise OutOfMemory(f"command {exchange.sequence} of the log can't be applied") from error
            except Exception as error:
                raise MachineBroken(exchange.sequence, error) from error
            account_events, market_events = exchange.take_account_events(), exchange.take_market_events()
            self.account_chain.update(account_events)
            self.market_chain.update(market_events)
            yield Output(exchange.sequence, account_events, market_events, not exchange.unfinished())

    def attestation(self) -> Attestation:
        """What has come out so far. Two machines that have applied the same log have the same."""
        head = hashlib.sha256(self.account_chain.head() + self.market_chain.head()).digest()
        account_stream, market_stream = self.exchange.account_events.stream, self.exchange.market_events.stream
        return Attestation(self.exchange.sequence, account_stream.sequence, market_stream.sequence, head)

    def sections(self) -> Iterator[tuple[str, bytes]]:
        yield from self.exchange.sections()
        yield "account_chain", self.account_chain.state()
        yield "market_chain", self.market_chain.state()

    @classmethod
    def restore(cls, snapshot: Snapshot | None) -> Machine:
        """As a snapshot has it; fresh without one."""
        machine = cls()
        if snapshot is not None:
            machine.exchange.load(snapshot.sections)
            machine.account_chain = Chain.restore(snapshot.sections["account_chain"])
            machine.market_chain = Chain.restore(snapshot.sections["market_chain"])
        return machine
