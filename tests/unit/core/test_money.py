"""Withdrawals that are requested and then end, reversals, adjustments and funding wallets: the rules, in the order of their checks."""

from __future__ import annotations

import pytest

from zerosum.core import codes, records
from zerosum.core.codes import FEES, OUTSIDE, WALLET_BIT, WITHDRAWALS
from zerosum.core.exchange import Exchange
from zerosum.core.records import command, kind_name, named, text_words
from zerosum.sim.machines import Machines

pytestmark = pytest.mark.both_builds

ANN, BOB, EVE, OLD = 16, 17, 18, 19  # Eve is suspended, Old closed
NOBODY = 20
FUNDS = 1_000
WALLET = ANN + WALLET_BIT
WHY = text_words("T-1", 2)
REQUEST, SETTLE, RETURN = records.REQUEST_WITHDRAWAL, records.SETTLE_WITHDRAWAL, records.RETURN_WITHDRAWAL
REASONS = {value: name for name, value in list(vars(codes).items())[list(vars(codes)).index("NO_REASON") :] if name.isupper()}


class World:
    """An exchange of one asset; `do` gives what a command is told: the names of its events, or the reason of a refusal."""

    def __init__(self) -> None:
        self.exchange = Exchange(reserve=0)
        self.last: list[dict[str, int]] = []
        self.do(records.LIST_ASSET, 0, 0, *text_words("A", 2))
        for account in (ANN, BOB, EVE, OLD):
            self.do(records.OPEN_ACCOUNT, account)
        for account in (ANN, BOB, EVE):
            self.do(records.DEPOSIT, account, 1, 0, FUNDS)
        self.do(records.SET_ACCOUNT_STATUS, EVE, codes.SUSPENDED)
        self.do(records.SET_ACCOUNT_STATUS, OLD, codes.CLOSED)

    def do(self, kind: int, *fields: int) -> str:
        data = command(kind, 1, *fields)
        assert self.exchange.advance(data, 0) == len(data)
        self.last = [named(event) for event in records.records(self.exchange.take_account_events())]
        self.exchange.take_market_events()
        self.exchange.check()
        refused = [event for event in self.last if event["kind"] == records.REFUSED]
        return REASONS[refused[0]["reason"]] if refused else " ".join(kind_name(event["kind"]) for event in self.last)

    def available(self, account: int) -> int:
        return self.exchange.balance(account, 0)[0]

    def status(self, account: int) -> int:
        return next(event["status"] for event in self.last if event["kind"] == records.ACCOUNT_CHANGED and event["account"] == account)


@pytest.fixture
def world() -> World:
    return World()


# ------------------------------------------------------------------ withdrawals


def test_a_request_takes_the_money_and_its_end_says_where_it_goes(world: World) -> None:
    assert world.do(REQUEST, ANN, 7, 0, 300) == "TRANSFERRED"
    (event,) = world.last
    assert (event["command"], event["from_account"], event["to_account"]) == (REQUEST, ANN, WITHDRAWALS)
    assert world.do(REQUEST, ANN, 8, 0, 200) == "TRANSFERRED"
    assert [world.available(account) for account in (ANN, WITHDRAWALS, OUTSIDE)] == [500, 500, -3 * FUNDS]
    assert world.do(records.WITHDRAW, ANN, 9, 0, 501) == "INSUFFICIENT_BALANCE", "nothing else can spend it"
    assert world.do(SETTLE, ANN, 7) == "WITHDRAWAL_ENDED"
    (event,) = world.last
    assert {name: event[name] for name in ("transfer_id", "command", "asset", "atoms", "account", "to_account")} == {
        "transfer_id": 7, "command": SETTLE, "asset": 0, "atoms": 300, "account": ANN, "to_account": OUTSIDE,
    }  # fmt: skip
    assert (event["pending_atoms"], event["to_available_atoms"]) == (200, 300 - 3 * FUNDS)
    assert world.do(RETURN, ANN, 8) == "WITHDRAWAL_ENDED"
    (event,) = world.last
    assert (event["command"], event["account"], event["to_account"], event["to_available_atoms"]) == (RETURN, ANN, ANN, 700)
    assert [world.available(account) for account in (ANN, WITHDRAWALS, OUTSIDE)] == [700, 0, 300 - 3 * FUNDS]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ((ANN, 0, 0, 1), "BAD_AMOUNT"),
        ((ANN, 5, 0, 0), "BAD_AMOUNT"),
        ((ANN, 5, 0, codes.AMOUNT_MAX + 1), "BAD_AMOUNT"),
        ((ANN, 5, 9, FUNDS + 1), "UNKNOWN_ASSET"),
        ((ANN, 1, 0, FUNDS), "TRANSFER_ID_REUSED"),  # a deposit's
        ((NOBODY, 5, 0, 1), "UNKNOWN_ACCOUNT"),
        ((OUTSIDE, 5, 0, 1), "UNKNOWN_ACCOUNT"),
        ((WITHDRAWALS, 5, 0, 1), "UNKNOWN_ACCOUNT"),
        ((NOBODY + WALLET_BIT, 5, 0, 1), "UNKNOWN_ACCOUNT"),
        ((FEES + WALLET_BIT, 5, 0, 1), "UNKNOWN_ACCOUNT"),
        ((OLD, 5, 0, 1), "ACCOUNT_CLOSED"),
        ((OLD + WALLET_BIT, 5, 0, 1), "ACCOUNT_CLOSED"),
        ((EVE, 5, 0, FUNDS + 1), "ACCOUNT_SUSPENDED"),
        ((EVE + WALLET_BIT, 5, 0, 1), "ACCOUNT_SUSPENDED"),
        ((ANN, 5, 0, FUNDS + 1), "INSUFFICIENT_BALANCE"),
        ((WALLET, 5, 0, 1), "INSUFFICIENT_BALANCE"),
        ((FEES, 5, 0, 1), "INSUFFICIENT_BALANCE"),
    ],
)
def test_a_request_is_refused_for_what_a_withdrawal_is(world: World, fields: tuple[int, ...], reason: str) -> None:
    before = world.exchange.state_hash()
    assert world.do(REQUEST, *fields) == reason
    assert world.do(records.WITHDRAW, *fields) == reason
    assert world.exchange.state_hash() == before


def test_a_withdrawal_ends_once_and_its_id_is_never_free_again(world: World) -> None:
    assert world.do(SETTLE, ANN, 7) == world.do(RETURN, ANN, 7) == "UNKNOWN_MOVEMENT"
    for account in (ANN, BOB):
        world.do(REQUEST, account, 7, 0, 300)
    assert world.do(REQUEST, ANN, 7, 0, 300) == "TRANSFER_REPEATED"
    assert world.do(SETTLE, ANN, 7) == "WITHDRAWAL_ENDED"
    assert world.do(RETURN, BOB, 7) == "WITHDRAWAL_ENDED"
    assert world.do(SETTLE, ANN, 7) == world.do(RETURN, BOB, 7) == "TRANSFER_REPEATED"
    assert world.do(RETURN, ANN, 7) == world.do(SETTLE, BOB, 7) == "MOVEMENT_ENDED"
    for account in (ANN, BOB):
        assert world.do(REQUEST, account, 7, 0, 300) == "TRANSFER_REPEATED"
        assert world.do(REQUEST, account, 7, 0, 301) == world.do(records.WITHDRAW, account, 7, 0, 300) == "TRANSFER_ID_REUSED"
    assert world.do(SETTLE, ANN, 1) == "UNKNOWN_MOVEMENT", "a deposit's"
    world.do(records.WITHDRAW, ANN, 8, 0, 1)
    assert world.do(SETTLE, ANN, 8) == "UNKNOWN_MOVEMENT", "one that has gone out at once"


def test_what_comes_back_opens_a_closed_account_suspended(world: World) -> None:
    world.do(records.TRANSFER, ANN, 5, 0, FUNDS, WALLET)
    world.do(REQUEST, WALLET, 7, 0, FUNDS)
    assert world.do(records.SET_ACCOUNT_STATUS, ANN, codes.CLOSED) == "ACCOUNT_CHANGED", "what is on its way out is not its any more"
    assert world.do(RETURN, WALLET, 7) == "ACCOUNT_CHANGED WITHDRAWAL_ENDED"
    assert world.status(ANN) == codes.SUSPENDED
    assert world.available(WALLET) == FUNDS
    world.do(REQUEST, BOB, 7, 0, FUNDS)
    world.do(records.SET_ACCOUNT_STATUS, BOB, codes.SUSPENDED)
    assert world.do(RETURN, BOB, 7) == "WITHDRAWAL_ENDED"


def test_fees_can_be_asked_for_too(world: World) -> None:
    world.do(records.ADJUST, ANN, 5, 0, 10, FEES, *WHY)
    assert world.do(REQUEST, FEES, 1, 0, 10) == "TRANSFERRED"
    assert world.do(RETURN, FEES, 1) == "WITHDRAWAL_ENDED"
    assert world.available(FEES) == 10


# ------------------------------------------------------------------ reversals


def test_a_deposit_is_reversed_whole_and_once(world: World) -> None:
    assert world.do(records.REVERSE_DEPOSIT, ANN, 0) == world.do(records.REVERSE_DEPOSIT, NOBODY, 1) == "UNKNOWN_MOVEMENT"
    world.do(records.WITHDRAW, ANN, 2, 0, 1)
    assert world.do(records.REVERSE_DEPOSIT, ANN, 2) == "UNKNOWN_MOVEMENT"
    assert world.do(records.REVERSE_DEPOSIT, ANN, 1) == "INSUFFICIENT_BALANCE"
    world.do(records.DEPOSIT, ANN, 3, 0, 1)
    assert world.do(records.REVERSE_DEPOSIT, ANN, 1) == "TRANSFERRED"
    (event,) = world.last
    assert (event["command"], event["from_account"], event["to_account"], event["atoms"]) == (
        records.REVERSE_DEPOSIT, ANN, OUTSIDE, FUNDS,
    )  # fmt: skip
    assert world.do(records.REVERSE_DEPOSIT, ANN, 1) == "TRANSFER_REPEATED"
    assert world.do(records.DEPOSIT, ANN, 1, 0, FUNDS) == "TRANSFER_REPEATED", "its id is not free again"
    assert world.do(records.REVERSE_DEPOSIT, EVE, 1) == "TRANSFERRED", "also of a suspended account"


# ------------------------------------------------------------------ adjustments


@pytest.mark.parametrize(
    ("account", "to"), [(ANN, BOB), (EVE, FEES), (ANN, WALLET), (EVE, EVE + WALLET_BIT)], ids=["users", "fees", "wallet", "suspended"]
)
def test_an_adjustment_moves_money_with_its_reason(world: World, account: int, to: int) -> None:
    before = world.available(account), world.available(to)
    assert world.do(records.ADJUST, account, 5, 0, 10, to, *WHY).endswith("ADJUSTED")
    event = world.last[-1]
    assert (event["from_account"], event["to_account"], event["reason_1"], event["reason_2"]) == (account, to, *WHY)
    assert (event["from_available_atoms"], event["to_available_atoms"]) == (before[0] - 10, before[1] + 10)
    assert world.do(records.ADJUST, account, 5, 0, 10, to, *text_words("another", 2)) == "TRANSFER_REPEATED"
    assert world.do(records.ADJUST, account, 5, 0, 10, NOBODY, *WHY) == "TRANSFER_ID_REUSED"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ((ANN, 5, 0, 0, ANN, 0, 0), "BAD_AMOUNT"),
        ((ANN, 5, 9, 1, ANN, 0, 0), "UNKNOWN_ASSET"),
        ((ANN, 1, 0, 1, ANN, 0, 0), "TRANSFER_ID_REUSED"),
        ((NOBODY, 5, 0, 1, NOBODY, 0, 0), "BAD_REASON"),
        ((NOBODY, 5, 0, 1, NOBODY, 0, WHY[0]), "BAD_REASON"),
        ((NOBODY, 5, 0, 1, NOBODY, *text_words("a\x7f", 2)), "BAD_REASON"),
        ((NOBODY, 5, 0, 1, NOBODY, 0x62_00_61, 0), "BAD_REASON"),  # something behind its end
        ((NOBODY, 5, 0, 1, NOBODY, -1, -1), "BAD_REASON"),
        ((NOBODY, 5, 0, 1, NOBODY, *WHY), "UNKNOWN_ACCOUNT"),
        ((OUTSIDE, 5, 0, 1, ANN, *WHY), "UNKNOWN_ACCOUNT"),
        ((WITHDRAWALS, 5, 0, 1, ANN, *WHY), "UNKNOWN_ACCOUNT"),
        ((OLD, 5, 0, 1, OLD, *WHY), "ACCOUNT_CLOSED"),
        ((ANN, 5, 0, FUNDS + 1, ANN, *WHY), "BAD_ACCOUNT"),
        ((ANN, 5, 0, FUNDS + 1, NOBODY, *WHY), "INSUFFICIENT_BALANCE"),
        ((ANN, 5, 0, 1, NOBODY, *WHY), "UNKNOWN_ACCOUNT"),
        ((ANN, 5, 0, 1, OUTSIDE, *WHY), "UNKNOWN_ACCOUNT"),
        ((ANN, 5, 0, 1, codes.CLEARING, *WHY), "UNKNOWN_ACCOUNT"),
        ((ANN, 5, 0, 1, WITHDRAWALS, *WHY), "UNKNOWN_ACCOUNT"),
        ((ANN, 5, 0, 1, OLD + WALLET_BIT, *WHY), "ACCOUNT_CLOSED"),
    ],
)
def test_an_adjustment_is_refused_in_the_documented_order(world: World, fields: tuple[int, ...], reason: str) -> None:
    before = world.exchange.state_hash()
    assert world.do(records.ADJUST, *fields) == reason
    assert world.exchange.state_hash() == before


# ------------------------------------------------------------------ wallets


def test_a_wallet_is_opened_when_money_first_goes_there(world: World) -> None:
    for account, why in ((OLD, "ACCOUNT_CLOSED"), (NOBODY, "UNKNOWN_ACCOUNT"), (FEES, "UNKNOWN_ACCOUNT")):
        assert world.do(records.TRANSFER, ANN, 5, 0, 10, account + WALLET_BIT) == why
    assert world.do(records.TRANSFER, ANN, 5, 0, FUNDS + 1, WALLET) == "INSUFFICIENT_BALANCE"
    assert world.do(records.TRANSFER, ANN, 5, 0, 10, WALLET) == "ACCOUNT_CHANGED TRANSFERRED"
    assert world.status(WALLET) == codes.WALLET
    assert world.do(records.TRANSFER, WALLET, 5, 0, 4, ANN) == "TRANSFERRED"
    assert world.do(records.DEPOSIT, BOB + WALLET_BIT, 1, 0, 5) == "ACCOUNT_CHANGED TRANSFERRED"
    assert world.do(records.TRANSFER, WALLET, 6, 0, 6, BOB + WALLET_BIT) == "TRANSFERRED"
    assert world.do(records.TRANSFER, WALLET, 7, 0, 6, WALLET) == "BAD_ACCOUNT"
    assert (world.available(WALLET), world.available(BOB + WALLET_BIT)) == (0, 11)


def test_nothing_but_money_is_a_wallet_s(world: World) -> None:
    world.do(records.TRANSFER, ANN, 5, 0, 10, WALLET)
    world.do(records.LIST_ASSET, 1, 0, *text_words("B", 2))
    bounds = (1, 1000, 1, 1000, 0, 0, 0, 0, 0, 0, 0, 0)
    world.do(records.LIST_SYMBOL, 0, 1, 0, 1, 0, 1, 0, *bounds, *text_words("BA", 3))
    assert world.do(records.PLACE, WALLET, records.terms(0, codes.BUY, codes.LIMIT), 1, 1) == "UNKNOWN_ACCOUNT"
    for kind in (records.CANCEL, records.CANCEL_ALL, records.REDUCE, records.MOVE, records.CANCEL_REPLACE):
        assert world.do(kind, WALLET, 0) == "UNKNOWN_ACCOUNT"
    assert world.do(records.OPEN_ACCOUNT, WALLET) == "BAD_ACCOUNT"
    assert world.do(records.SET_ACCOUNT_FEES, WALLET, 1, 1) == "UNKNOWN_ACCOUNT"
    assert world.do(records.SET_ACCOUNT_STATUS, WALLET, codes.ACTIVE) == "UNKNOWN_ACCOUNT"


def test_an_account_s_status_is_its_wallet_s(world: World) -> None:
    world.do(records.TRANSFER, ANN, 5, 0, FUNDS, WALLET)
    assert world.do(records.SET_ACCOUNT_STATUS, ANN, codes.CLOSED) == "ACCOUNT_NOT_EMPTY"
    world.do(records.SET_ACCOUNT_STATUS, ANN, codes.SUSPENDED)
    for kind in (records.WITHDRAW, REQUEST):
        assert world.do(kind, WALLET, 6, 0, 1) == "ACCOUNT_SUSPENDED"
    assert world.do(records.TRANSFER, WALLET, 6, 0, 1, ANN) == "ACCOUNT_SUSPENDED"
    assert world.do(records.TRANSFER, BOB, 6, 0, 1, WALLET) == "TRANSFERRED", "money may come in"
    world.do(records.SET_ACCOUNT_STATUS, ANN, codes.ACTIVE)
    world.do(records.WITHDRAW, WALLET, 7, 0, FUNDS + 1)
    assert world.do(records.SET_ACCOUNT_STATUS, ANN, codes.CLOSED) == "ACCOUNT_CHANGED"
    assert world.do(records.TRANSFER, BOB, 8, 0, 1, WALLET) == world.do(records.DEPOSIT, WALLET, 8, 0, 1) == "ACCOUNT_CLOSED"


def test_an_account_that_no_wallet_is_beside_is_as_before(world: World) -> None:
    """The bit is one of an id, not a mask: what lies past the wallets' ids is nobody's."""
    for account in (WALLET_BIT, WALLET_BIT + codes.FIRST_USER - 1, 2 * WALLET_BIT + ANN, 3 * WALLET_BIT + ANN, -ANN):
        assert world.do(records.DEPOSIT, account, 5, 0, 1) == "UNKNOWN_ACCOUNT"
        assert world.do(records.TRANSFER, ANN, 5, 0, 1, account) == "UNKNOWN_ACCOUNT"


# ------------------------------------------------------------------ across shards

SHARDS = 3  # the bit alone, modulo 3, would be another shard


def told(machines: Machines, kind: int, *fields: int) -> list[tuple[int, str, int]]:
    """Shard, event and reason."""
    machines.submit(command(kind, 1, *fields))
    machines.settle()
    machines.check()
    streams, _ = machines.take_events()
    events = [(shard, named(event)) for shard, data in enumerate(streams) for event in records.records(data)]
    return [(shard, kind_name(event["kind"]), event.get("reason", 0)) for shard, event in events]


@pytest.fixture
def machines() -> Machines:
    """Accounts 18, 19, 20 of shards 0, 1, 2, and 21 of shard 0."""
    machines = Machines(SHARDS, 1, 0)
    told(machines, records.LIST_ASSET, 0, 0, *text_words("A", 2))
    for account in (18, 19, 20, 21):
        told(machines, records.OPEN_ACCOUNT, account)
        told(machines, records.DEPOSIT, account, 1, 0, FUNDS)
    return machines


def test_a_wallet_is_on_its_account_s_shard(machines: Machines) -> None:
    for shard, account in enumerate((18, 19, 20)):
        wallet = account + WALLET_BIT
        assert told(machines, records.TRANSFER, account, 5, 0, 10, wallet) == [(shard, "ACCOUNT_CHANGED", 0), (shard, "TRANSFERRED", 0)]
        assert told(machines, REQUEST, wallet, 6, 0, 10) == [(shard, "TRANSFERRED", 0)]
        assert told(machines, SETTLE, wallet, 6) == [(shard, "WITHDRAWAL_ENDED", 0)]


def test_money_goes_to_a_wallet_of_another_shard_and_comes_back_where_it_can_t(machines: Machines) -> None:
    to = 19 + WALLET_BIT
    assert told(machines, records.TRANSFER, 18, 5, 0, 10, to) == [
        (0, "TRANSFER_SENT", 0), (1, "ACCOUNT_CHANGED", 0), (1, "TRANSFER_ARRIVED", 0),
    ]  # fmt: skip
    assert told(machines, records.TRANSFER, to, 5, 0, 10, 20 + WALLET_BIT)[-1] == (2, "TRANSFER_ARRIVED", 0)
    told(machines, records.WITHDRAW, 19, 6, 0, FUNDS)
    told(machines, records.SET_ACCOUNT_STATUS, 19, codes.CLOSED)
    back = told(machines, records.TRANSFER, 20 + WALLET_BIT, 7, 0, 10, to)
    assert back == [(2, "TRANSFER_SENT", 0), (2, "TRANSFER_RETURNED", codes.ACCOUNT_CLOSED)]


def test_an_adjustment_is_between_accounts_of_one_shard(machines: Machines) -> None:
    assert told(machines, records.ADJUST, 18, 5, 0, 10, 21, *WHY) == [(0, "ADJUSTED", 0)]
    for to in (19, 19 + WALLET_BIT, 2000):
        assert told(machines, records.ADJUST, 18, 6, 0, 10, to, *WHY) == [(0, "REFUSED", codes.WRONG_SHARD)]
    assert told(machines, records.ADJUST, 18, 6, 0, 10, 24, *WHY) == [(0, "REFUSED", codes.UNKNOWN_ACCOUNT)], "of this shard, and nobody's"
