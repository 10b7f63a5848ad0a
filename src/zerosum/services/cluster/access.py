"""
Which topics each role reads and writes: what the brokers hold its user to. The user is <cluster.name>-<role>.

Always true: nobody but UBSCore writes orders. Whoever could write them as a shard would be believed.
"""

from __future__ import annotations

from typing import Final

from zerosum.log.kafka.grants import Access
from zerosum.log.kafka.settings import user_of

READS: Final = {
    "gateway": ("account-events", "market-events", "usage"),
    "ubscore": ("commands", "account-events", "control"),
    "matching": ("orders", "market-events", "control"),
    "settlement": ("account-events", "market-events"),
    "auditor": ("account-events", "market-events"),
    "admin": ("account-events", "market-events"),
}
WRITES: Final = {
    "gateway": ("commands", "usage"),
    "admin": ("commands",),
    "ubscore": ("orders", "account-events", "commands"),
    "matching": ("market-events", "commands"),
}


def accesses(name: str) -> list[Access]:
    """Of the deployment of that name."""
    return [Access(user_of(name, role), reads, WRITES.get(role, ())) for role, reads in READS.items()]
