"""The workload of `zerosum bench settlement`: it trades, and it is settled whole."""

from __future__ import annotations

from itertools import islice

from zerosum.bench import settlement


def test_it_measures_orders_that_trade() -> None:
    result = settlement.measure(2_000, accounts=20, symbols=2, batch_commands=300)
    assert (result["orders"], result["accounts"], result["symbols"]) == (2_000, 20, 2)
    assert result["trades"] > 500
    assert result["orders_per_cpu_second"] > 0
    assert result["bytes_per_order"] > 100


def test_a_seed_gives_the_same_orders() -> None:
    one, same, other = (list(islice(settlement.orders(500, 20, 2, seed), 500)) for seed in (1, 1, 2))
    assert one == same != other
