"""
What can go wrong with a log or a snapshot, told to the operator.

    ZerosumError
      LogError
        LogMissing  LogExists  LogInUse            the folder is not what the caller took it for
        LogDamaged  LogTooNew  LogBehindFollower   refused at start: nothing was changed
        LogPruned                                  asked for what is no longer kept
        LogFailed                                  a write or sync failed: the process must end
        LogNotArchived                             the archive failed; the segment stays where it is
      MessageDamaged                               a message of a stream is not what was sent
        NotAMessage                                it never was one: whoever sent it does not belong here
      DiskFull                                     nothing was changed: make room and go on
      SnapshotError
        SnapshotDamaged  SnapshotTooNew  SnapshotFailed
"""

from pathlib import Path

from zerosum.errors import ZerosumError


class LogError(ZerosumError):
    """Anything about a log."""


class LogMissing(LogError):
    """There is no log in the folder."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: there is no log here (no *.seg file). Create one, or correct the path.")


class LogExists(LogError):
    """A log was to be created where one is."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: there is a log here already. Open it, or create the new one in an empty folder.")


class LogInUse(LogError):
    """Another process, or another log in this one, holds the folder."""

    def __init__(self, path: Path, pid: int | None) -> None:
        holder = f"process {pid}" if pid is not None else "another process"
        super().__init__(f"{path}: in use by {holder}. A log has one writer: stop it first, or use another folder.")
        self.pid = pid


class LogDamaged(LogError):
    """The log's bytes are not what was written. `sequence` is the first one that the damage puts in doubt."""

    def __init__(self, *, file: Path, offset: int, sequence: int, found: str, expected: str) -> None:
        super().__init__(
            f"{file}: damaged at offset {offset}, sequence {sequence}: {found}; expected {expected}.\n"
            f"  The log is refused as it stands, and nothing was changed. Put back a good copy of this file\n"
            f"  (archive, backup or standby); every record before sequence {sequence} is unharmed."
        )
        self.file = file
        self.offset = offset
        self.sequence = sequence
        self.found = found
        self.expected = expected


class LogTooNew(LogError):
    """Written by a later version of the program."""

    def __init__(self, *, file: Path, offset: int, found: int, known: int) -> None:
        super().__init__(
            f"{file}: written in log format {found} at offset {offset}; this program knows formats up to {known}.\n"
            f"  Use the version that wrote it, or a later one."
        )
        self.found = found


class LogBehindFollower(LogError):
    """The follower has applied sequences that this log does not hold."""

    def __init__(self, path: Path, *, last_sequence: int, must_reach: int) -> None:
        super().__init__(
            f"{path}: the log ends at sequence {last_sequence}, but the follower has applied up to {must_reach}.\n"
            f"  Serving from here would give the numbers {last_sequence + 1} to {must_reach} to other records. Restore the log from\n"
            f"  a copy that reaches {must_reach}; or, if those records are to be given up, move what was made from them away\n"
            f"  (settled.db and snapshots): it is made anew from this log."
        )
        self.last_sequence = last_sequence
        self.must_reach = must_reach


class LogPruned(LogError):
    """The sequence asked for was pruned. `earliest` is the first one still kept."""

    def __init__(self, path: Path, *, wanted: int, earliest: int) -> None:
        super().__init__(
            f"{path}: sequence {wanted} was pruned; the earliest kept is {earliest}.\n"
            f"  Start from a snapshot at {earliest - 1} or later, or put the archived segments back."
        )
        self.wanted = wanted
        self.earliest = earliest


class LogFailed(LogError):
    """A write or sync failed. What the page cache holds is now unknown, so the log refuses everything: end the process."""


class LogNotArchived(LogError):
    """The archive refused a copy, so the segment was not pruned. The log itself goes on."""

    def __init__(self, segment: Path, archive: Path, error: OSError) -> None:
        super().__init__(f"{segment}: not archived to {archive}, so not pruned: {error}. Mend the archive and prune again.")


class DiskFull(ZerosumError):
    """No room for the next file. Nothing was changed: the same call may be made again once there is room."""

    def __init__(self, path: Path, *, needed_bytes: int | None = None) -> None:
        wanted = f" ({needed_bytes} bytes wanted)" if needed_bytes is not None else ""
        super().__init__(f"{path}: the disk is full{wanted}. Nothing was changed; make room and go on.")


class SnapshotError(ZerosumError):
    """Anything about a snapshot."""


class SnapshotDamaged(SnapshotError):
    """The snapshot's bytes are not what was written."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: damaged snapshot: {why}. Use an earlier one, or replay the log.")
        self.why = why


class SnapshotTooNew(SnapshotError):
    """Written by a later version of the program."""

    def __init__(self, path: Path, *, found: int, known: int) -> None:
        super().__init__(
            f"{path}: written in snapshot format {found}; this program knows formats up to {known}.\n"
            f"  Use the version that wrote it or a later one, or move the file away to start from an earlier snapshot."
        )
        self.found = found


class SnapshotFailed(SnapshotError):
    """The snapshot could not be written. The ones before it are untouched."""


class MessageDamaged(ZerosumError):
    """A message of a stream is not what was sent."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(
            f"{where}: the message is damaged: {why}. Nothing after it is read. Put the stream back from a replica that has it whole."
        )


class NotAMessage(MessageDamaged):
    """What stands in a stream never was a message of one."""
