"""
Durable, ordered storage: the input log in files, and the snapshots that let its beginning go.

    FileLog     file_log.py     the one writer: append, sync, prune
    LogReader   reader.py       replay, and the follower in another process
    survey      recovery.py     is this log whole? what would opening it do?
    SnapshotStore  snapshots.py

Records are opaque here but for their length, which stands in the first word of each.
The bytes on disk are specified in docs/internals/log-format.md.
"""
