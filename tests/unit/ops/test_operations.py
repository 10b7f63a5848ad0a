"""Metrics, health, and the listener that shows them."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.transport.support import Client, memory_peak, until
from zerosum.net.listener import bind
from zerosum.ops import operations
from zerosum.ops.health import LoopDelay, Readiness
from zerosum.ops.metrics import LATENCY_BOUNDS_US, Histogram, Metrics
from zerosum.ops.operations import OperationsServer


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """What Prometheus would take from the exposition, but for the process's own metrics."""
    text, _ = metrics.exposition()
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            if not sample.name.startswith("process_"):
                found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return found


@asynccontextmanager
async def serving(readiness: Readiness | None = None, metrics: Metrics | None = None) -> AsyncIterator[httpx.AsyncClient]:
    listener = bind("127.0.0.1", 0, setting="operations")
    server = OperationsServer(listener, readiness or Readiness(), metrics or Metrics())
    port = listener.getsockname()[1]
    await server.start()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            yield client
    finally:
        await server.stop()


# -- metrics


def test_metrics_are_exposed_as_they_stand() -> None:
    metrics = Metrics()
    placed = metrics.counter("zerosum_orders_total", "Orders.", {"outcome": "placed"})
    rejected = metrics.counter("zerosum_orders_total", "Orders.", {"outcome": "rejected"})
    depth = metrics.gauge("zerosum_depth", "Depth.")
    kept_elsewhere = [3]
    metrics.read_counter("zerosum_elsewhere_total", "Kept elsewhere.", lambda: kept_elsewhere[0])
    metrics.read_gauge("zerosum_half", "Half.", lambda: 0.5)
    placed.value += 2
    rejected.value += 1
    depth.value = 7
    kept_elsewhere[0] = 4
    assert samples(metrics) == {
        ("zerosum_orders_total", (("outcome", "placed"),)): 2,
        ("zerosum_orders_total", (("outcome", "rejected"),)): 1,
        ("zerosum_depth", ()): 7,
        ("zerosum_elsewhere_total", ()): 4,
        ("zerosum_half", ()): 0.5,
    }
    placed.value += 1
    assert samples(metrics)["zerosum_orders_total", (("outcome", "placed"),)] == 3


def test_a_histogram_counts_each_value_in_every_bucket_that_holds_it() -> None:
    metrics = Metrics()
    histogram = metrics.histogram("zerosum_request_seconds", "Requests.", (100, 1_000, 10_000), {"api": "rest"}, unit=1e-6)
    metrics.histogram("zerosum_request_seconds", "Requests.", (100, 1_000, 10_000), {"api": "websocket"}, unit=1e-6)
    for value in (1, 100, 101, 1_000, 10_001, 5_000_000):
        histogram.observe(value)
    found = samples(metrics)
    rest = ("api", "rest")
    buckets = {bound: found["zerosum_request_seconds_bucket", (rest, ("le", bound))] for bound in ("0.0001", "0.001", "0.01", "+Inf")}
    assert buckets == {"0.0001": 2, "0.001": 4, "0.01": 4, "+Inf": 6}
    assert found["zerosum_request_seconds_count", (rest,)] == 6
    assert found["zerosum_request_seconds_sum", (rest,)] == pytest.approx(5.011203)
    assert found["zerosum_request_seconds_count", (("api", "websocket"),)] == 0


@pytest.mark.parametrize("bounds", [(1, 1), (2, 1)])
def test_bounds_ascend(bounds: tuple[int, ...]) -> None:
    with pytest.raises(AssertionError, match="bounds ascend"):
        Histogram(bounds)


def test_a_metric_is_made_once_and_is_of_one_kind() -> None:
    metrics = Metrics()
    metrics.counter("zerosum_a_total", "A.", {"x": "1"})
    metrics.gauge("zerosum_b", "B.")
    metrics.histogram("zerosum_c_seconds", "C.", (1,), {"x": "1"}, unit=1e-6)
    with pytest.raises(AssertionError, match="made once"):
        metrics.counter("zerosum_a_total", "A.", {"x": "1"})
    with pytest.raises(AssertionError, match="same labels"):
        metrics.counter("zerosum_a_total", "A.", {"y": "1"})
    with pytest.raises(AssertionError, match="one help text"):
        metrics.counter("zerosum_a_total", "Another.", {"x": "2"})
    with pytest.raises(AssertionError, match="one kind"):
        metrics.histogram("zerosum_b", "B.", (1,))
    with pytest.raises(AssertionError, match="one help text and unit"):
        metrics.histogram("zerosum_c_seconds", "C.", (1,), {"x": "2"})
    with pytest.raises(AssertionError, match="ends in _total"):
        metrics.counter("zerosum_d", "D.")
    with pytest.raises(AssertionError, match="ends in _total"):
        metrics.gauge("zerosum_e_total", "E.")


def test_the_process_is_measured_too() -> None:
    text, content_type = Metrics().exposition()
    assert b"process_resident_memory_bytes" in text
    assert b"process_open_fds" in text
    assert content_type.startswith("text/plain")


# -- health


def test_a_report_says_what_each_check_says() -> None:
    readiness = Readiness()
    behind = ["12 behind"]
    readiness.add("log", lambda: None)
    readiness.add("follower", lambda: behind[0])
    assert readiness.report() == {"log": None, "follower": "12 behind"}
    with pytest.raises(AssertionError, match="its own name"):
        readiness.add("log", lambda: None)


async def test_the_delay_of_the_loop_is_measured() -> None:
    delays_us: list[int] = []
    delay = LoopDelay(delays_us.append)
    await asyncio.sleep(0.6)
    assert len(delays_us) == 2
    time.sleep(0.4)  # noqa: ASYNC251  # that is what is to be noticed
    await asyncio.sleep(0.02)
    delay.stop()
    assert 100_000 < delays_us[2] < 2_000_000
    await asyncio.sleep(0.3)
    assert len(delays_us) == 3


# -- the listener


async def test_the_loop_says_that_it_is_alive() -> None:
    async with serving() as client:
        response = await client.get("/healthz")
        assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_ready_is_when_every_check_says_so() -> None:
    readiness = Readiness()
    why: list[str | None] = [None]
    readiness.add("log", lambda: None)
    readiness.add("follower", lambda: why[0])
    async with serving(readiness) as client:
        response = await client.get("/readyz")
        assert (response.status_code, response.json()) == (200, {"ready": True, "checks": {"log": "ok", "follower": "ok"}})
        why[0] = "12 records behind"
        response = await client.get("/readyz")
        assert (response.status_code, response.json()) == (503, {"ready": False, "checks": {"log": "ok", "follower": "12 records behind"}})
        assert (await client.get("/healthz")).status_code == 200


@pytest.mark.parametrize(
    ("accept", "content_type"), [("", "text/plain"), ("application/openmetrics-text;version=1.0.0", "application/openmetrics-text")]
)
async def test_metrics_are_shown_in_the_format_that_is_asked_for(accept: str, content_type: str) -> None:
    metrics = Metrics()
    metrics.counter("zerosum_a_total", "A.").value += 5
    metrics.histogram("zerosum_b_seconds", "B.", LATENCY_BOUNDS_US, unit=1e-6).observe(70)
    async with serving(metrics=metrics) as client:
        response = await client.get("/metrics", headers={"Accept": accept})
    assert response.status_code == 200
    assert response.headers["content-type"].startswith(content_type)
    assert "zerosum_a_total 5.0\n" in response.text
    assert 'zerosum_b_seconds_bucket{le="0.0001"} 1.0\n' in response.text


async def test_other_pages_are_404_and_name_those_there_are() -> None:
    async with serving() as client:
        response = await client.get("/")
        assert (response.status_code, response.json()["pages"]) == (404, ["/healthz", "/readyz", "/metrics"])


# -- its bounds


@asynccontextmanager
async def bounded(**bounds: Any) -> AsyncIterator[tuple[OperationsServer, int]]:
    """The server and its port."""
    listener = bind("127.0.0.1", 0, setting="operations")
    server = OperationsServer(listener, Readiness(), Metrics(), replace(operations.BOUNDS, **bounds))
    await server.start()
    try:
        yield server, listener.getsockname()[1]
    finally:
        await server.stop()


HEALTHZ = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"


async def test_a_probe_gets_through_when_every_connection_is_held() -> None:
    async with bounded() as (server, port), AsyncExitStack() as stack:
        held = [await stack.enter_async_context(Client.connect(port)) for _ in range(operations.CONNECTIONS_MAX + 10)]
        for client in held[10:]:
            await client.send(b"GET /healthz HT")
        await until(lambda: server.http_counters.connections_evicted == 10)
        for _ in range(3):
            async with Client.connect(port) as probe:
                await probe.send(HEALTHZ)
                assert await probe.response() == (200, b'{"status":"ok"}')
        assert all([await client.is_closed() for client in held[:11]])
        assert server.connections <= operations.CONNECTIONS_MAX


async def test_an_endless_header_takes_no_memory() -> None:
    async with bounded() as (server, port), Client.connect(port) as client:
        with memory_peak() as peak:
            await client.flood(b"GET /healthz HTTP/1.1\r\nA: ", b"x" * 65_536, 200)
            await until(lambda: not server.connections)
        assert peak() < 4 << 20


@pytest.mark.parametrize(
    ("status", "sent"),
    [
        (400, b"nonsense\r\n\r\n"),
        (413, b"POST /healthz HTTP/1.1\r\nContent-Length: 1\r\n\r\n"),
        (413, b"POST /healthz HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx"),
        (414, b"GET /" + b"x" * 2_000),
        (431, b"GET /healthz HTTP/1.1\r\nA: " + b"x" * 300_000),
        (431, b"GET /healthz HTTP/1.1\r\n" + b"A: b\r\n" * 100),
        (408, b"GET /healthz HTTP/1.1\r\nA: "),
    ],
)
async def test_what_breaks_a_bound_is_refused(status: int, sent: bytes) -> None:
    async with bounded(request_timeout_s=0.3) as (server, port), Client.connect(port) as client:
        client.writer.write(sent)
        assert (await client.response())[0] == status
        assert server.http_counters.requests_refused == 1


async def test_whoever_says_nothing_or_nothing_more_is_closed() -> None:
    async with (
        bounded(request_timeout_s=0.2, keep_alive_s=0.2) as (_, port),
        Client.connect(port) as silent,
        Client.connect(port) as idle,
    ):
        await idle.send(HEALTHZ)
        assert (await idle.response())[0] == 200
        assert await silent.is_closed(1.0)
        assert await idle.is_closed(1.0)
