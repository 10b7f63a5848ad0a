"""
Kill switches: nothing new enters for a user, a symbol or the whole market, and what is open is canceled.

    block (account suspended, symbol halted) --> cancel what is open, account by account --> looked at again until nothing is

Always true: it is blocked before it is canceled, so what is canceled does not come again; whoever asks twice changes nothing more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, final

from zerosum.console.machines import Machines
from zerosum.core import codes, records
from zerosum.core.records import text_words
from zerosum.errors import ZerosumError
from zerosum.views.accounts import OPEN
from zerosum.views.views import Views

KIND_MASK: Final = 0xFF
ROUNDS: Final = 50  # in which what was under way when it was blocked has come and is canceled
FOR_EVER_US: Final = codes.TIME_MAX
CANCEL_ID: Final = text_words("killswitch", 5)

FindOpen = Callable[[Views], list[tuple[int, int]]]


class NotListed(ZerosumError):
    """There is no symbol of that name."""


class Canceled(NamedTuple):
    """`left`: orders that were still open when it was looked at last; 0 where all went well."""

    orders: int
    left: int


@final
class Switches:
    def __init__(self, machines: Machines) -> None:
        self._machines = machines

    # ------------------------------------------------------------------ accounts

    def block_account(self, account_id: int) -> Canceled:
        """Suspend it and cancel its orders. Declined, Busy, OutcomeUnknown."""
        self.set_account_status(account_id, codes.SUSPENDED)
        return self.cancel_of_account(account_id)

    def set_account_status(self, account_id: int, status: int) -> None:
        """Declined, Busy, OutcomeUnknown."""
        self._machines.do(records.command(records.SET_ACCOUNT_STATUS, 0, account_id, status))

    def cancel_of_account(self, account_id: int) -> Canceled:
        return self._cancel(lambda views: [place for place in open_places(views) if place[0] == account_id])

    # ------------------------------------------------------------------ symbols

    def set_symbol_status(self, name: str, status: int) -> None:
        """NotListed, Declined, Busy, OutcomeUnknown."""
        self._machines.do(records.command(records.SET_SYMBOL_STATUS, 0, self._symbol(name), status))

    def block_symbol(self, name: str) -> Canceled:
        """Halt it and cancel all orders there. NotListed, Declined, Busy, OutcomeUnknown."""
        self.set_symbol_status(name, codes.HALT)
        return self.cancel_of_symbol(name)

    def cancel_of_symbol(self, name: str) -> Canceled:
        """NotListed, Declined, Busy, OutcomeUnknown."""
        number = self._symbol(name)
        return self._cancel(lambda views: [place for place in open_places(views) if place[1] == number])

    def set_market_status(self, status: int) -> int:
        """Of every symbol; how many there are. Declined, Busy, OutcomeUnknown."""
        numbers = self._machines.see(lambda views: [listing.symbol.symbol for listing in views.listings.by_number])
        for number in numbers:
            self._machines.do(records.command(records.SET_SYMBOL_STATUS, 0, number, status))
        return len(numbers)

    def block_market(self) -> Canceled:
        """Halt every symbol, and cancel all orders. Declined, Busy, OutcomeUnknown."""
        self.set_market_status(codes.HALT)
        return self._cancel(open_places)

    # ------------------------------------------------------------------ how it is done

    def _symbol(self, name: str) -> int:
        listing = self._machines.see(lambda views: views.listings.by_name.get(name))
        if listing is None:
            raise NotListed(f"symbol: {name} is not listed.")
        return listing.symbol.symbol

    def _cancel(self, find: FindOpen) -> Canceled:
        canceled = 0
        for _ in range(ROUNDS):
            places = self._machines.see(find)
            if not places:
                return Canceled(canceled, 0)
            for account_id, symbol in places:
                command = records.command(records.CANCEL_ALL, 0, account_id, records.terms(symbol, 0, 0), FOR_EVER_US, *CANCEL_ID)
                events = self._machines.send(command)
                canceled += sum(event[0] & KIND_MASK == records.DONE for event in events)
        return Canceled(canceled, len(self._machines.see(find)))


def open_places(views: Views) -> list[tuple[int, int]]:
    """Accounts and symbols with open orders."""
    found = set()
    for shard in views.shards:
        for order in shard.accounts.orders.values():
            if order.state == OPEN:
                found.add((order.account.account_id, order.symbol))
    return sorted(found)
