"""
Python's garbage collector as a process wants it in which others wait.

    start   everything that is there --freeze--> never looked at again
    later   the young: as ever, some milliseconds at most        the old, which takes as long as there are objects: next to never

A full collection with 300,000 open orders in the views stops everything for 0.1 s, and frees nothing: what a view forgets goes by itself,
as its last reference does. Only cycles need the collector, and those that a request leaves behind it are young.
"""

from __future__ import annotations

import gc
from typing import Final

YOUNG_OBJECTS: Final = 2_000  # made and not gone, before the youngest are looked at
YOUNG_PASSES: Final = 10  # of those, before their survivors are
OLD_PASSES: Final = 1_000  # of those, before all are: twenty million objects later


def keep_collections_short() -> None:
    """For the rest of the process. To be called once what was restored is there."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, YOUNG_PASSES, OLD_PASSES)
