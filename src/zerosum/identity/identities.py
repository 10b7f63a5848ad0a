"""
All identities of an exchange together, as its processes have them.

    with closing(Identities(documents, master_key)) as identities:     opened: they can be read and changed
        identities.follow(identities.ring)                             a gateway's: what others change is noticed
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final, final

from zerosum.identity.attempts import OPERATOR_ATTEMPTS, USER_ATTEMPTS, Attempts
from zerosum.identity.documents import Documents, DocumentsFailed
from zerosum.identity.keyring import REFRESH_S, KeyRing
from zerosum.identity.keys import KEYS, KEYS_OF_ACCOUNT, SERVICE_KEYS, Keys, Made, Wanted
from zerosum.identity.passwords import Passwords
from zerosum.identity.payouts import APPROVALS, PAYOUT_DAYS, PAYOUTS, UNFINISHED
from zerosum.identity.people import OPERATORS, USERS, People
from zerosum.identity.proposals import PROPOSALS, Proposals
from zerosum.identity.sealing import MasterKey
from zerosum.identity.sessions import OPERATOR_SESSIONS, USER_SESSIONS, Sessions
from zerosum.identity.trail import OPERATORS_TRAIL, USERS_TRAIL, Tell, Trail
from zerosum.identity.vault import Kind, Vault
from zerosum.identity.withdrawals import ADDRESSES, DAYS, DEPOSITS, ORDERS, UNDONE
from zerosum.net.sparing_log import SparingLog

KINDS: Final[tuple[Kind[Any], ...]] = (
    KEYS, KEYS_OF_ACCOUNT, USERS, USER_SESSIONS, USER_ATTEMPTS, USERS_TRAIL, ADDRESSES, ORDERS, DAYS, UNDONE,
    SERVICE_KEYS, OPERATORS, OPERATOR_SESSIONS, OPERATOR_ATTEMPTS, OPERATORS_TRAIL, PROPOSALS,
    DEPOSITS, APPROVALS, PAYOUTS, UNFINISHED, PAYOUT_DAYS,
)  # fmt: skip
"""All that there are."""

_log: Final = SparingLog("gateway.keys")


@final
class Identities:
    """
    The documents are closed with it, also where it can't be made. `tell`: of what is written to a trail, for a process that has a log.
    DocumentsFailed, MasterKeyError. `service_keys`, `operators`, `operator_sessions`, `proposals` and `trail` are the console's.
    """

    def __init__(
        self, documents: Documents, master_key: MasterKey, clock_s: Callable[[], float] = time.monotonic,
        tell: Tell = lambda trail, entry, digest: None,
    ) -> None:  # fmt: skip
        try:
            self.vault = Vault(documents, master_key)
            self.keys, self.ring = Keys(self.vault), KeyRing(self.vault, KEYS, clock_s)
            self.service_keys, self.service_ring = Keys(self.vault, SERVICE_KEYS), KeyRing(self.vault, SERVICE_KEYS, clock_s)
            self._passwords = Passwords()
            self.users = People(self.vault, USERS, self._passwords, Attempts(self.vault, USER_ATTEMPTS))
            self.operators = People(self.vault, OPERATORS, self._passwords, Attempts(self.vault, OPERATOR_ATTEMPTS))
            self.user_sessions = Sessions(self.vault, USER_SESSIONS)
            self.operator_sessions = Sessions(self.vault, OPERATOR_SESSIONS)
            self.proposals = Proposals(self.vault)
            self.trail = Trail(self.vault, OPERATORS_TRAIL, tell)
            self.users_trail = Trail(self.vault, USERS_TRAIL, tell)
        except BaseException:
            documents.close()
            raise
        self._stop = threading.Event()
        self._following: threading.Thread | None = None

    def follow(self, *rings: KeyRing) -> None:
        """Those of this process, read here and then kept up until it is closed. DocumentsFailed."""
        for ring in rings:
            ring.refresh()
        self._following = threading.Thread(target=self._follow, args=(rings,), name="identities", daemon=True)
        self._following.start()

    def _follow(self, rings: tuple[KeyRing, ...]) -> None:
        self._passwords.prepare()
        while not self._stop.wait(REFRESH_S):
            for ring in rings:
                try:
                    ring.refresh()
                except DocumentsFailed as error:
                    _log.warning("keys.unreadable", error=str(error))

    def create_key(self, wanted: Wanted) -> Made:
        """Of a user: one that is good here at once, and elsewhere within a second. KeysError, DocumentsFailed."""
        made = self.keys.create(wanted)
        self.ring.refresh()
        return made

    def use(self, master_key: MasterKey) -> None:
        """From here on. MasterKeyError, and nothing has changed, where it does not open what is there."""
        self.vault.use(master_key)

    def reseal(self) -> int:
        """Seal all there is with the master key's first, so that the others can go; how many records that were."""
        done = sum(self.vault.reseal(kind) for kind in KINDS)
        self.vault.reseal_check()
        return done

    def sealed_otherwise(self) -> int:
        """How many records are sealed with another than the master key's first."""
        return self.vault.sealed_otherwise(kind.name for kind in KINDS)

    def close(self) -> None:
        self._stop.set()
        if self._following is not None:
            self._following.join()
        self.vault.close()
