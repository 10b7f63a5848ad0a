"""What belongs to which shard and engine."""

from __future__ import annotations

import pytest

from zerosum.core import records
from zerosum.core.codes import BUY, FEES, FIRST_USER, LIMIT, WALLET_BIT
from zerosum.services.cluster.topology import Topology


@pytest.mark.parametrize("kind", [records.PLACE, records.CANCEL_REPLACE])
@pytest.mark.parametrize("symbol", [0, 1, 5, 255, 70_000])
def test_an_order_is_its_symbol_s_engine_s_and_its_account_s_shard_s(kind: int, symbol: int) -> None:
    topology = Topology(3, 7)
    command = records.command(kind, 0, FIRST_USER + 2, records.terms(symbol, BUY, LIMIT))
    assert topology.partition_of_order(command) == symbol % 7
    assert topology.shard_of_command(command) == (FIRST_USER + 2) % 3


ANN = FIRST_USER + 2
MOVES = [
    kind for kind, (_, fields) in records.COMMANDS.items() if fields[:1] == ("account",) and kind not in (records.TRANSFER, records.ADJUST)
]


@pytest.mark.parametrize("kind", MOVES)
def test_what_is_of_an_account_is_its_shard_s_and_of_its_wallet_too(kind: int) -> None:
    topology = Topology(4, 1)
    for account in (ANN, ANN | WALLET_BIT):
        assert topology.shard_of_command(records.command(kind, 0, account)) == ANN % 4
    assert topology.shard_of_command(records.command(kind, 0, FEES)) == 0


@pytest.mark.parametrize(("kind", "more"), [(records.TRANSFER, ()), (records.ADJUST, (ord("T"), ord("U")))])
def test_what_moves_between_two_is_the_payer_s_shard_s_and_of_fees_the_receiver_s(kind: int, more: tuple[int, ...]) -> None:
    topology = Topology(4, 1)
    for payer, receiver, shard in (
        (ANN, ANN + 1, ANN % 4), (ANN | WALLET_BIT, ANN + 1, ANN % 4), (FEES, ANN, ANN % 4), (FEES, ANN | WALLET_BIT, ANN % 4),
        (ANN, FEES, ANN % 4),
    ):  # fmt: skip
        assert topology.shard_of_command(records.command(kind, 0, payer, 1, 0, 5, receiver, *more)) == shard
