"""
What settings are read for: the exchange in one process, one service of a cluster, or the commands that make and judge a cluster.

    up                                     zerosum up
    gateway, ubscore, matching, ...        zerosum run ...
    cluster                                zerosum cluster init, audit, pass-over

A role decides which settings are looked at: the brokers' password is nothing to `up`, nor a listener for clients to settlement.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

Role = Literal["up", "gateway", "ubscore", "matching", "settlement", "auditor", "admin", "cluster"]

ROLES: Final[tuple[Role, ...]] = get_args(Role)
FOR_CLIENTS: Final[frozenset[Role]] = frozenset({"up", "gateway"})
"""Those that listen for clients."""
FOR_OPERATORS: Final[frozenset[Role]] = frozenset({"up", "admin"})
"""Those that listen for operators."""
WITH_IDENTITIES: Final[frozenset[Role]] = FOR_CLIENTS | FOR_OPERATORS
"""Those that open API keys and all that is sealed with the master key."""
OF_A_CLUSTER: Final[frozenset[Role]] = frozenset(ROLES) - {"up"}
WITH_DATABASE: Final[frozenset[Role]] = frozenset({"gateway", "admin", "settlement", "cluster"})
"""Those that reach the database of a cluster."""
SIGNING: Final[frozenset[Role]] = frozenset({"gateway", "admin", "ubscore", "matching"})
"""Those that sign what they send, and are told whose signatures count."""
THAT_RUN: Final[frozenset[Role]] = frozenset(ROLES) - {"cluster"}


def public_listeners(role: Role) -> tuple[str, ...]:
    """The sections of the listeners that clients are to reach."""
    return ("rest", "websocket") if role in FOR_CLIENTS else ()
