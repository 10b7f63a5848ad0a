"""What belongs to which shard and engine."""

from __future__ import annotations

import pytest

from zerosum.core import records
from zerosum.core.codes import BUY, FIRST_USER, LIMIT
from zerosum.services.cluster.topology import Topology


@pytest.mark.parametrize("kind", [records.PLACE, records.CANCEL_REPLACE])
@pytest.mark.parametrize("symbol", [0, 1, 5, 255, 70_000])
def test_an_order_is_its_symbol_s_engine_s_and_its_account_s_shard_s(kind: int, symbol: int) -> None:
    topology = Topology(3, 7)
    command = records.command(kind, 0, FIRST_USER + 2, records.terms(symbol, BUY, LIMIT))
    assert topology.partition_of_order(command) == symbol % 7
    assert topology.shard_of_command(command) == (FIRST_USER + 2) % 3
