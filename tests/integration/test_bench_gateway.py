"""`zerosum bench gateway` and `zerosum soak`, each for a few seconds: real processes, and numbers that can be read."""

from __future__ import annotations

import json

import typer
from typer.testing import CliRunner

from zerosum.bench.gateway_mix import HASHED, SHA256, mix_sha256, wanted
from zerosum.cli.bench_gateway import gateway
from zerosum.cli.soak import soak_command

BENCH = typer.Typer()
BENCH.command()(gateway)
SOAK = typer.Typer()
SOAK.command()(soak_command)


def test_the_mix_is_the_same_everywhere() -> None:
    """Rates of two machines can be compared only if they were asked for the same."""
    assert HASHED == 100_000
    assert mix_sha256() == SHA256


def test_a_cancel_names_an_order_that_was_placed_long_before() -> None:
    placed: dict[str, int] = {}
    cancels = 0
    for number, request in zip(range(20_000), wanted(), strict=False):
        if request.is_cancel:
            cancels += 1
            assert number - placed.pop(request.params["origClientOrderId"]) > 2_000
        else:
            assert placed.setdefault(request.params["newClientOrderId"], number) == number, "client ids are used once"
    assert cancels > 4_000


def test_both_doors_are_measured() -> None:
    options = ["--seconds", "3", "--burst-seconds", "0.5", "--burst-rate", "4000", "--latency-seconds", "1", "--latency-rate", "200"]
    result = CliRunner().invoke(BENCH, [*options, "--json"])

    assert result.exit_code == 0, (result.output, result.exception)
    measured = json.loads(result.stdout)
    assert measured["mix_sha256"] == SHA256
    for door in ("http", "websocket"):
        found = measured[door]
        assert found["orders_per_second"] > 0
        assert found["burst"]["answered"] == 2_000
        assert found["latency"]["answered"] == 200
        assert 0 < found["latency_ms_p50"] <= found["latency_ms_p99"] <= found["latency_ms_p99_9"]
        for phase in ("sustained", "burst", "latency"):
            assert set(found[phase]["answers"]) <= {"200", "-2010", "-2011"}
            assert found[phase]["cpu_us_per_order"].keys() == {"exchange", "follower", "load"}


def test_a_soak_tells_how_memory_went_and_fails_if_it_is_not_flat() -> None:
    """No process shrinks by a gigabyte an order, so with that as the bound none is flat."""
    result = CliRunner().invoke(SOAK, ["--minutes", "0.1", "--rate", "300", "--flat-bytes", "-1e9", "--json"])
    assert result.exit_code == 1, (result.output, result.exception)
    seen = json.loads(result.stdout)
    assert seen["orders"] >= 1_500
    assert seen["refused"] == 0
    assert all(part["samples"] >= 5 and part["first_bytes"] > 10_000_000 and not part["is_flat"] for part in seen["memory"].values())
