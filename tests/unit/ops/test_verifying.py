"""Watching services from outside: what is found in order, and what is not."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from zerosum.cli.verify import addresses_of, seconds_of
from zerosum.errors import ConfigError
from zerosum.ops.verifying import Finding, Watched, findings, sums_of

METRICS = {"zerosum_resident_bytes": 100e6, 'zerosum_copy_behind_messages{copy="a"}': 0, 'zerosum_copy_behind_messages{copy="b"}': 0}


class Operations:
    """A service's listener for operations, that says what a test wants."""

    def __init__(self) -> None:
        self.checks = {"serves": "ok"}
        self.metrics = dict(METRICS)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(handler) -> None:  # noqa: N805
                is_ready = set(self.checks.values()) == {"ok"}
                if handler.path == "/readyz":
                    text = json.dumps({"ready": is_ready, "checks": self.checks})
                else:
                    text = "# TYPE x gauge\n" + "".join(f"{name} {value}\n" for name, value in self.metrics.items())
                handler.send_response(200 if is_ready or handler.path != "/readyz" else 503)
                handler.end_headers()
                handler.wfile.write(text.encode())

            def log_message(handler, *arguments: object) -> None:  # noqa: N805
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def operations() -> Iterator[Operations]:
    found = Operations()
    thread = threading.Thread(target=found.server.serve_forever)
    thread.start()
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()


def failing(watched: Watched, behind_max: int = 10) -> list[Finding]:
    return [each for each in findings([watched], behind_max) if not each.holds]


def looked(operations: Operations, looks: int, meanwhile: Callable[[int], None] = lambda look: None) -> Watched:
    watched = Watched(operations.address)
    for look in range(looks):
        meanwhile(look)
        watched.look()
    return watched


def test_all_is_well(operations: Operations) -> None:
    assert failing(looked(operations, 10)) == []


def test_one_look_says_nothing_of_what_rises(operations: Operations) -> None:
    operations.metrics["zerosum_log_errors_total"] = 500
    assert [each.check for each in findings([looked(operations, 1)], 0)] == ["every service answers, and is ready", "no backlog"]


def test_a_process_that_was_started_again_between_two_looks_is_found(operations: Operations) -> None:
    def restart(look: int) -> None:
        operations.metrics["process_start_time_seconds"] = 1_000 + (look > 1)
        operations.metrics["zerosum_log_errors_total"] = 7 if look < 2 else 3

    found = failing(looked(operations, 4, restart))
    assert [each.detail for each in found] == [f"{operations.address} was started again", f"{operations.address}: 3"]


def test_a_service_of_a_folder_that_does_not_serve_is_named(tmp_path: Path) -> None:
    for name in ("gateway1", "ubscore1"):
        (tmp_path / f"{name}.log").touch()
    (tmp_path / "gateway1.ready").write_text('{"operations": 7}')
    with pytest.raises(ConfigError, match="ubscore1 does not serve: the end of "):
        addresses_of([], tmp_path)
    (tmp_path / "ubscore1.ready").write_text('{"operations": 8}')
    assert addresses_of([], tmp_path) == ["127.0.0.1:7", "127.0.0.1:8"]


def test_a_service_that_is_not_ready_is_named_with_why(operations: Operations) -> None:
    operations.checks["kafka"] = "no broker has answered for 7 s"
    (found,) = failing(looked(operations, 2))
    assert found.detail.startswith(f"{operations.address} is not ready: kafka: no broker has answered for 7 s")


def test_a_service_that_does_not_answer_is_named() -> None:
    watched = Watched("127.0.0.1:1")
    watched.look()
    assert "127.0.0.1:1 does not answer" in failing(watched)[0].detail


@pytest.mark.parametrize(
    ("metric", "check"),
    [
        ("zerosum_log_errors_total", "no errors in the logs"),
        ('zerosum_copy_restarts_total{copy="ubscore.0"}', "no copy started again"),
        ("zerosum_foreign_records_total", "no record from who may not send"),
    ],
)
def test_what_rose_meanwhile_is_found_and_what_was_before_is_not(operations: Operations, metric: str, check: str) -> None:
    operations.metrics[metric] = 5
    assert failing(looked(operations, 2)) == []
    (found,) = failing(looked(operations, 2, lambda look: operations.metrics.update({metric: 5 + look})))
    assert (found.check, found.detail) == (check, f"{operations.address}: 1")


def test_a_backlog_is_that_of_all_copies(operations: Operations) -> None:
    operations.metrics['zerosum_copy_behind_messages{copy="a"}'] = 6
    assert failing(looked(operations, 1)) == []
    operations.metrics['zerosum_copy_behind_messages{copy="b"}'] = 6
    assert [each.check for each in failing(looked(operations, 1))] == ["no backlog"]


def test_memory_that_grows_is_found_and_memory_that_settles_is_not(operations: Operations) -> None:
    def grows(look: int) -> None:
        operations.metrics["zerosum_resident_bytes"] = 100e6 + 5e6 * look

    def settles(look: int) -> None:
        operations.metrics["zerosum_resident_bytes"] = 200e6 if look > 2 else 100e6

    assert [each.check for each in failing(looked(operations, 20, grows))] == ["memory is flat"]
    assert failing(looked(operations, 20, settles)) == []


def test_metrics_are_summed_over_their_labels() -> None:
    assert sums_of('# HELP a b\na{x="1"} 2\na{x="2"} 3\nb 1.5\n') == {"a": 5.0, "b": 1.5}


def test_trades_settled_are_told(operations: Operations) -> None:
    watched = looked(operations, 3, lambda look: operations.metrics.update(zerosum_settled_trades_total=10 * look))
    assert list(findings([watched], 0))[-1].detail == "20 since the first look"


@pytest.mark.parametrize(("text", "seconds"), [("0s", 0.0), ("90s", 90.0), ("30m", 1800.0), ("1.5h", 5400.0)])
def test_times_are_read(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "m", "-1s", "1d"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="such as 30m"):
        seconds_of(text)


@pytest.mark.parametrize(
    ("services", "words"), [([], "name the services"), (["localhost"], "is no host:port"), (["http://a:1"], "is no host:port")]
)
def test_services_that_can_t_be_asked_are_refused(services: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        addresses_of(services, None)
