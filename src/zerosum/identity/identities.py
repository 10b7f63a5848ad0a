"""
All identities of an exchange together, as its processes have them.

    with closing(Identities(documents, master_key)) as identities:     opened: they can be read and changed
        identities.follow()                                            a gateway's: what others change is noticed
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final, final

from zerosum.identity.attempts import ATTEMPTS, Attempts
from zerosum.identity.documents import Documents
from zerosum.identity.keyring import KeyRing
from zerosum.identity.keys import KEYS, KEYS_OF_ACCOUNT, Keys, Made, Wanted
from zerosum.identity.passwords import Passwords
from zerosum.identity.people import OPERATORS, USERS, People
from zerosum.identity.proposals import PROPOSALS, Proposals
from zerosum.identity.sealing import MasterKey
from zerosum.identity.sessions import OPERATOR_SESSIONS, USER_SESSIONS, Sessions
from zerosum.identity.trail import ENTRIES, Entry, Trail
from zerosum.identity.vault import Kind, Vault
from zerosum.identity.withdrawals import ADDRESSES, DAYS, DEPOSITS, ORDERS, UNDONE

KINDS: Final[tuple[Kind[Any], ...]] = (
    KEYS, KEYS_OF_ACCOUNT, USERS, OPERATORS, USER_SESSIONS, OPERATOR_SESSIONS, ATTEMPTS, PROPOSALS, ENTRIES, ADDRESSES, ORDERS, DAYS,
    UNDONE, DEPOSITS,
)  # fmt: skip
"""All that there are."""


@final
class Identities:
    """
    The documents are closed with it, also where it can't be made. `tell`: of what is written to the trail, for a process that has a log.
    DocumentsFailed, MasterKeyError.
    """

    def __init__(
        self, documents: Documents, master_key: MasterKey, clock_s: Callable[[], float] = time.monotonic,
        tell: Callable[[Entry, str], None] = lambda entry, digest: None,
    ) -> None:  # fmt: skip
        try:
            self.vault = Vault(documents, master_key)
            self.keys = Keys(self.vault)
            self.ring = KeyRing(self.vault, clock_s)
            self._passwords, attempts = Passwords(), Attempts(self.vault)
            self.users = People(self.vault, USERS, self._passwords, attempts)
            self.operators = People(self.vault, OPERATORS, self._passwords, attempts)
            self.user_sessions = Sessions(self.vault, USER_SESSIONS)
            self.operator_sessions = Sessions(self.vault, OPERATOR_SESSIONS)
            self.proposals = Proposals(self.vault)
            self.trail = Trail(self.vault, tell)
        except BaseException:
            documents.close()
            raise
        self._stop = threading.Event()
        self._following: threading.Thread | None = None

    def follow(self) -> None:
        """From here on, until it is closed."""
        self._following = threading.Thread(target=self._follow, name="identities", daemon=True)
        self._following.start()

    def _follow(self) -> None:
        self._passwords.prepare()
        self.ring.follow(self._stop)

    def create_key(self, wanted: Wanted) -> Made:
        """One that is good here at once, and elsewhere within a second. KeysError, DocumentsFailed."""
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
