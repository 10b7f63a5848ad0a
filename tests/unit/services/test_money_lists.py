"""What has come in and gone out, of what the console knows and of what the ledger has, once."""

from __future__ import annotations

import pytest

from tests.unit.services.test_reconciliation import ANN, BOB, BTC, ONE, USDT, World
from zerosum.core.codes import WALLET_BIT
from zerosum.identity.payouts import PayoutRecord
from zerosum.identity.vault import Held
from zerosum.identity.withdrawals import FAILED, RETURNED, OrderRecord
from zerosum.services.money_lists import Withdrawn, deposits, withdrawals
from zerosum.settlement import rows
from zerosum.settlement.movements import End, Movement


class Asked(World):
    """The same, with the orders."""

    def __init__(self) -> None:
        super().__init__()
        self.orders: dict[int, OrderRecord] = {}
        for number, state, atoms in ((71, "settled", ONE // 2), (72, "sending", ONE), (73, "returned", ONE)):
            self.order(number, state, atoms)

    def order(self, number: int, state: str, atoms: int = ONE, requested_us: int = 0, address: str = "bc1qann") -> None:
        self.orders[number] = OrderRecord(
            asset="BTC", atoms=atoms, amount="as asked", network="BITCOIN", address=address, memo="", state=state, needs=0, day=1,
            requested_us=requested_us,
        )  # fmt: skip

    def withdrawn(self, account: int | None = None) -> list[Withdrawn]:
        orders = [Held(str(ANN), str(number), 1, order) for number, order in self.orders.items()]
        return withdrawals(orders, self.book, self.record, account)

    def given_back(self, number: int) -> None:
        """Before anybody was to send it."""
        self.book.payouts.append(Held(f"{ANN}.{number}", "", 1, PayoutRecord(state=RETURNED, since_us=800)))


@pytest.fixture
def world() -> Asked:
    return Asked()


def told_withdrawals(world: Asked, account: int | None = None) -> list[tuple[int, str, str, str, str, str]]:
    return [(each.id, each.asset, each.amount, each.state, each.ledger, each.reference) for each in world.withdrawn(account)]


def told_deposits(world: Asked, account: int | None = None) -> list[tuple[int, str, str, str, str]]:
    return [(each.holder, each.asset, each.amount, each.state, each.reference) for each in deposits(world.book, world.record, account)]


def test_a_withdrawal_is_told_with_its_state_here_and_in_the_ledger(world: Asked) -> None:
    assert told_withdrawals(world) == [
        (71, "BTC", "0.5", "settled", "settled", "out 1"),
        (72, "BTC", "1", "sending", "set aside", ""),
        (73, "BTC", "1", "returned", "returned", ""),
    ]
    first = world.withdrawn()[0]
    assert (first.holder, first.network, first.address, first.time_us) == (ANN, "BITCOIN", "bc1qann", 390)


def test_what_only_one_of_the_two_knows_is_told_too(world: Asked) -> None:
    world.order(74, FAILED, requested_us=500)
    world.record.requests[BOB, 75] = Movement(BOB, 75, USDT, 5 * ONE, 501)
    world.record.withdrawals[BOB, 76] = Movement(BOB, 76, USDT, ONE, 502)
    assert told_withdrawals(world)[3:] == [
        (74, "BTC", "1", "failed", "", ""),
        (75, "USDT", "5", "", "set aside", ""),
        (76, "USDT", "1", "", "gone", ""),
    ]


def test_what_the_program_says_that_sends_counts_more_than_an_order(world: Asked) -> None:
    """Gateways write orders."""
    world.order(71, "canceled", address="bc1qeve")
    assert told_withdrawals(world)[0] == (71, "BTC", "0.5", "settled", "settled", "out 1")
    assert world.withdrawn()[0].address == "bc1qann"


def test_one_that_was_given_back_before_it_was_sent_is_told_as_its_order_says(world: Asked) -> None:
    """Unless that says it goes on: then a gateway has written it."""
    for number, state in ((74, "refused"), (75, "approved")):
        world.order(number, state, requested_us=500 + number)
        world.given_back(number)
    assert [each[3] for each in told_withdrawals(world)[3:]] == ["refused", "returned"]
    assert world.withdrawn()[3].address == "bc1qann"


def test_an_account_is_listed_with_its_wallet_and_without_others(world: Asked) -> None:
    world.record.requests[ANN | WALLET_BIT, 75] = Movement(ANN | WALLET_BIT, 75, BTC, ONE, 501)
    world.record.withdrawals[BOB, 76] = Movement(BOB, 76, USDT, ONE, 502)
    world.record.deposits[ANN | WALLET_BIT, 9] = Movement(ANN | WALLET_BIT, 9, BTC, ONE, 600)
    assert [each[0] for each in told_withdrawals(world, ANN)] == [71, 72, 73, 75]
    assert [each[0] for each in told_withdrawals(world, BOB)] == [76]
    assert [each[0] for each in told_deposits(world, ANN)] == [ANN, ANN, ANN | WALLET_BIT]


def test_a_deposit_is_told_with_its_reference_and_what_became_of_it(world: Asked) -> None:
    world.record.deposits[BOB, 5] = Movement(BOB, 5, USDT, ONE, 600)
    del world.record.deposits[world.deposit("in 4", BOB, BTC, ONE, 700)]
    assert told_deposits(world) == [
        (ANN, "BTC", "2", "credited", "in 1"),
        (ANN, "USDT", "500", "credited", "in 2"),
        (BOB, "BTC", "7", "reversed", "in 3"),
        (BOB, "USDT", "1", "credited", ""),
        (BOB, "BTC", "1", "reported", "in 4"),
    ]


def test_the_oldest_come_first_whose_ever_they_are(world: Asked) -> None:
    world.record.withdrawals[BOB, 1] = Movement(BOB, 1, USDT, ONE, 1)
    world.record.deposits[BOB, 2] = Movement(BOB, 2, USDT, ONE, 2)
    assert [each[0] for each in told_withdrawals(world)] == [1, 71, 72, 73]
    assert [each[0] for each in told_deposits(world)] == [BOB, ANN, ANN, BOB]


def test_a_withdrawal_that_was_settled_by_nobody_of_the_console_s_is_seen(world: Asked) -> None:
    world.record.ends[ANN, 72] = End(rows.SETTLED, 900)
    assert told_withdrawals(world)[1] == (72, "BTC", "1", "sending", "settled", "")
