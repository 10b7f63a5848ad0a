"""
What can be wrong with a settled record, as its operator must hear it.

    SettlementError
      SettlementBroken    events that contradict each other or the record: nothing of their batch was written
      SettlementGap       events are missing between what is settled and what was given
      SettlementFailed    the store could not write (disk, locks): nothing of the batch was written, it may be given again
      WrittenElsewhere    another process has written to the same record
      NotARecord, SchemaTooNew, SchemaTooOld, NothingSettled    the file is not what this program can use
      ExportFailed        the record can't be written in the form that was asked for
"""

from __future__ import annotations

from pathlib import Path

from zerosum.errors import ZerosumError


class SettlementError(ZerosumError):
    """Anything about the settled record."""


class SettlementBroken(SettlementError):
    """Events contradict each other, or what is settled. Nothing of their batch was written."""

    def __init__(self, stream: str, sequence: int, why: str) -> None:
        super().__init__(
            f"{stream} event {sequence} can't be settled: {why}.\n"
            "  Nothing of its batch was written. Keep the data directory as it is, and compare log and record with `zerosum audit`."
        )
        self.stream = stream
        self.sequence = sequence
        self.why = why


class SettlementGap(SettlementError):
    """Events are missing."""

    def __init__(self, stream: str, *, expected: int, found: int) -> None:
        super().__init__(
            f"{stream} events {expected} to {found - 1} are missing: {expected - 1} is the last that is settled, and {found} comes next.\n"
            f"  Nothing was written. Replay the log from a state that is not past {stream} event {expected - 1}."
        )
        self.stream = stream
        self.expected = expected
        self.found = found


class SettlementFailed(SettlementError):
    """The store could not write. Nothing of the batch was written."""

    def __init__(self, path: Path, why: str, *, can_wait: bool = False) -> None:
        super().__init__(f"{path}: could not be written: {why}. Nothing of the batch was written; mend that, and it is settled again.")
        self.can_wait = can_wait


class WrittenElsewhere(SettlementError):
    """Another process writes the same record."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path}: another process has written to it since it was opened here. Only one follower may run: end the other one."
        )


class NotARecord(SettlementError):
    """The file holds something else."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"{path}: not a settled record: {why}. Name another file, or move this one away to have it made again from the log."
        )


class SchemaTooNew(SettlementError):
    """Written by a later version of the program."""

    def __init__(self, path: Path, *, found: int, known: int) -> None:
        super().__init__(
            f"{path}: its tables are of version {found}; this program knows versions up to {known}.\n"
            "  Use the program that wrote it or a later one, or move the file away to have it made again from the log."
        )
        self.found = found
        self.known = known


class SchemaTooOld(SettlementError):
    """Opened for reading before the writer has brought its tables up to date."""

    def __init__(self, path: Path, *, found: int, known: int) -> None:
        super().__init__(
            f"{path}: its tables are of version {found}, and this program reads version {known}.\n"
            "  Start the exchange once: its follower brings them up to date."
        )
        self.found = found
        self.known = known


class NothingSettled(SettlementError):
    """There is no record to read."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: there is no settled record here. The follower makes it when the exchange first starts.")


class ExportFailed(SettlementError):
    """The record can't be written in the form that was asked for."""
