"""
The log: what a line holds, what it must not hold, and that no output, however bad, holds up the process that speaks.

Outputs are real: pipes that nobody reads, pipes whose reader has gone, /dev/full, no output at all.
"""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from zerosum.ops.logging import Line, LogWriter, console_renderer, masked, render_json

NOW_NS = 1_700_000_000_123_456_000


def line(event: str = "order.placed", **fields: Any) -> Line:
    return Line(NOW_NS, "info", "gateway.rest", event, fields, None)


def run(script: str, *, stdout: int, redirection: str = "", timeout_s: float = 20.0) -> subprocess.CompletedProcess[str]:
    """A process that logs, started by a shell; stderr is ours to read."""
    program = "import structlog, time\nfrom zerosum.ops.logging import configure\n" + textwrap.dedent(script)
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-c", program],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=timeout_s,
    )


def said_by(script: str) -> list[dict[str, Any]]:
    """The lines that a process writes to a pipe that is read."""
    result = run(script, stdout=subprocess.PIPE)
    assert result.returncode == 0, result.stderr
    return [json.loads(text) for text in result.stdout.splitlines()]


class Pipe:
    """A pipe, read when the test says so."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self.got = b""

    def read_until(self, condition: Callable[[bytes], bool], timeout_s: float = 5.0) -> None:
        deadline = time.monotonic() + timeout_s
        os.set_blocking(self.reader, False)
        while not condition(self.got):
            assert time.monotonic() < deadline, self.got[-300:]
            if select.select([self.reader], [], [], 0.05)[0]:  # asking without a pause would keep the writer's thread from running
                self.got += os.read(self.reader, 1 << 16)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.got.splitlines()]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    for fd in (pipe.reader, pipe.writer):
        with suppress(OSError):
            os.close(fd)


def until(condition: Callable[[], object], timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# -- what a line holds


def test_a_line_is_json_with_its_fields() -> None:
    assert json.loads(render_json(line(order_id=912, total_us=790, rate=0.5, symbol=None, filled=True))) == {
        "time": "2023-11-14T22:13:20.123456Z",
        "level": "info",
        "logger": "gateway.rest",
        "event": "order.placed",
        "order_id": 912,
        "total_us": 790,
        "rate": 0.5,
        "symbol": None,
        "filled": True,
    }


class Unreadable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1 << 70, 1 << 70),
        (b"abc\xff", "abc\\xff"),
        ({"a": [1, ("x", {2})]}, {"a": [1, ["x", [2]]]}),
        ({3: 4}, {"3": 4}),
        (ValueError("why"), "why"),
        ("a\nb", "a\nb"),
        ("\ud800", "\ud800"),
    ],
)
def test_any_value_can_be_written_and_stays_on_its_line(value: object, written: object) -> None:
    text = render_json(line(it=value))
    assert text.count(b"\n") == 1
    assert json.loads(text)["it"] == written


def test_a_field_does_not_take_the_place_of_what_every_line_has() -> None:
    text = json.loads(render_json(line(time="x", level="y", logger="z")))
    assert (text["level"], text["level_"], text["logger_"], text["time_"]) == ("info", "y", "z", "x")


def test_a_value_within_itself_is_cut_off() -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    assert b"..." in render_json(line(loop=loop))


def test_a_line_that_cannot_be_read_does_not_end_the_log(pipe: Pipe) -> None:
    writer = LogWriter(pipe.writer, render_json, 100)
    writer.put(line("a", it=Unreadable()))
    writer.put(line("b"))
    pipe.read_until(lambda got: got.count(b"\n") == 2)
    assert [text["event"] for text in pipe.lines()] == ["log.line_unreadable", "b"]
    writer.close()


def test_loggers_of_both_kinds_are_heard_from_the_level_on() -> None:
    lines = said_by("""
        import logging, warnings
        configure(level="info")
        log = structlog.get_logger("gateway.rest")
        log.debug("not said")
        log.info("order.placed", order_id=912)
        log.bind(symbol="BTCUSDT").warning("late", by_us=7)
        try:
            1 / 0
        except ZeroDivisionError:
            log.exception("failed", signature="f00f")
        logging.getLogger("uvicorn.error").error("a %s b", 5)
        logging.getLogger("uvicorn.error").info("not said")
        logging.getLogger("uvicorn.error").error("bad %d", "arguments")
        warnings.warn("old")
    """)
    assert [(text["logger"], text["level"], text["event"]) for text in lines[:5]] == [
        ("gateway.rest", "info", "order.placed"),
        ("gateway.rest", "warning", "late"),
        ("gateway.rest", "error", "failed"),
        ("uvicorn.error", "error", "a 5 b"),
        ("uvicorn.error", "error", "bad %d"),
    ]
    assert (lines[0]["order_id"], lines[1]["symbol"], lines[1]["by_us"], lines[2]["signature"]) == (912, "BTCUSDT", 7, "***")
    assert lines[2]["exception"].endswith("ZeroDivisionError: division by zero")
    assert (lines[5]["logger"], len(lines)) == ("py.warnings", 6)


# -- what it must not hold


@pytest.mark.parametrize(
    "name",
    [
        "secret",
        "api_secret",
        "SecretKey",
        "signature",
        "Signature",
        "password",
        "db_password",
        "passphrase",
        "master_key",
        "masterKey",
        "MASTER KEY",
        "private-key",
        "X-MBX-APIKEY",
        "x_mbx_apikey",
        "apiKey",
        "api_key",
    ],
)
def test_what_stands_under_the_name_of_a_secret_is_masked(name: str) -> None:
    assert masked({name: "f00f", "deep": [{"er": ({name: b"f00f"},)}]}) == {name: "***", "deep": [{"er": [{name: "***"}]}]}
    assert "f00f" not in render_json(line(**{name: "f00f"})).decode()


@pytest.mark.parametrize(
    "text",
    [
        "GET /api/v3/account?timestamp=1&signature=f00f HTTP/1.1",
        "signature=f00f&x=1",
        '{"apiKey":"f00f","x":1}',
        "{'secret': 'f00f'}",
        "X-MBX-APIKEY: f00f",
        "password = f00f",
        "ZEROSUM_MASTER_KEY=f00f",
    ],
)
def test_what_looks_like_a_secret_within_a_text_is_masked(text: str) -> None:
    error = ValueError(text)
    for said in (
        line(text),
        line("x", url=text),
        line("x", url=text.encode()),
        Line(NOW_NS, "error", "l", "x", {}, (ValueError, error, None)),
    ):
        for render in (render_json, console_renderer(colors=False)):
            written = render(said).decode()
            assert "f00f" not in written
            assert "***" in written


def test_what_is_no_secret_is_left_as_it_is() -> None:
    fields = {"order_id": 1, "key": "k", "designation": "d", "url": "/api/v3/order?symbol=BTCUSDT&price=1", "text": "a secret is kept"}
    assert masked(fields) == fields


# -- bad outputs


def put_in_no_time(writer: LogWriter, count: int) -> None:
    """Handing over takes no longer than if the output were good."""
    slowest_s = 0.0
    for number in range(count):
        began = time.perf_counter()
        writer.put(line(number=number, text="x" * 200))
        slowest_s = max(slowest_s, time.perf_counter() - began)
    assert slowest_s < 0.5


def test_a_pipe_that_nobody_reads_costs_lines_and_nothing_else(pipe: Pipe) -> None:
    writer = LogWriter(pipe.writer, render_json, 500)
    put_in_no_time(writer, 20_000)
    assert 18_000 < writer.lines_dropped < 20_000
    dropped = writer.lines_dropped
    pipe.read_until(lambda got: got.count(b'"number"') == 20_000 - dropped)
    writer.put(line("after"))
    pipe.read_until(lambda got: b'"after"' in got)
    lines = pipe.lines()
    reports = [text for text in lines if text["event"] == "log.lines_dropped"]
    assert sum(report["lines"] for report in reports) == dropped == writer.lines_dropped
    assert reports[0]["level"] == "warning"
    assert len(lines) - len(reports) == 20_001 - dropped
    numbers = [text["number"] for text in lines if text["event"] == "order.placed"]
    assert numbers == sorted(numbers)
    writer.close()


def test_a_full_disk_costs_lines_and_nothing_else() -> None:
    writer = LogWriter(os.open("/dev/full", os.O_WRONLY), render_json, 500)
    put_in_no_time(writer, 5_000)
    until(lambda: writer.lines_dropped > 4_000)
    began = time.monotonic()
    writer.close()
    assert time.monotonic() - began < 2.0
    assert writer.lines_dropped == 5_000


def test_a_reader_that_has_gone_costs_lines_and_nothing_else(pipe: Pipe) -> None:
    os.close(pipe.reader)
    writer = LogWriter(pipe.writer, render_json, 500)
    put_in_no_time(writer, 5_000)
    writer.close()
    assert writer.lines_dropped == 5_000


def test_without_an_output_lines_are_counted() -> None:
    writer = LogWriter(None, render_json, 500)
    put_in_no_time(writer, 100)
    writer.close()
    assert writer.lines_dropped == 100


def test_once_there_is_room_again_the_log_goes_on_and_says_what_is_missing(tmp_path: Any) -> None:
    """A real full disk that is made room on would need a mount; a limit on the file's size refuses writes in the same way, in the middle of
    a line."""
    script = f"""
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        writer = configure(format="json")
        log = structlog.get_logger("x")
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        for number in range(50):
            log.info("before", number=number)
        while not writer.lines_dropped:
            time.sleep(0.01)
        time.sleep(0.3)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        log.info("after")
        writer.close()
        with open({str(tmp_path / "dropped")!r}, "w") as file:
            file.write(str(writer.lines_dropped))
    """
    path = tmp_path / "log"
    with path.open("wb") as file:
        result = run(script, stdout=file.fileno())
    assert result.returncode == 0, result.stderr
    dropped = int((tmp_path / "dropped").read_text())
    lines = []
    torn = 0
    for text in path.read_text().splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            torn += 1
    assert torn == 1
    assert lines[-1]["event"] == "after"
    assert sum(text["lines"] for text in lines if text["event"] == "log.lines_dropped") == dropped > 0
    assert sum(text["event"] == "before" for text in lines) == 50 - dropped


@pytest.mark.parametrize("ending", ["", "raise SystemExit(3)", "1 / 0"])
def test_what_was_said_last_is_written_when_the_process_ends(ending: str) -> None:
    result = run(
        f"""
        configure(format="json")
        for number in range(3000):
            structlog.get_logger("x").info("said", number=number)
        {ending}
        """,
        stdout=subprocess.PIPE,
    )
    assert [json.loads(text)["number"] for text in result.stdout.splitlines()] == list(range(3000))


def test_the_end_of_a_process_does_not_wait_for_a_pipe_that_nobody_reads(pipe: Pipe) -> None:
    began = time.monotonic()
    result = run(
        """
        configure(format="json")
        for number in range(5000):
            structlog.get_logger("x").info("said", text="x" * 200)
        """,
        stdout=pipe.writer,
    )
    assert result.returncode == 0, result.stderr
    assert time.monotonic() - began < 8.0


def test_an_event_loop_turns_on_while_nobody_reads(pipe: Pipe) -> None:
    result = run(
        """
        import asyncio, os, sys
        configure(format="json", lines_max=100)
        log = structlog.get_logger("x")
        async def main():
            loop = asyncio.get_running_loop()
            longest = 0.0
            for _ in range(200):
                began = loop.time()
                for _ in range(50):
                    log.info("said", text="x" * 500)
                await asyncio.sleep(0)
                longest = max(longest, loop.time() - began)
            sys.stderr.write(str(longest))
            os._exit(0)
        asyncio.run(main())
        """,
        stdout=pipe.writer,
    )
    assert float(result.stderr) < 0.5


def test_a_process_started_without_standard_output_does_not_log_into_the_next_file_it_opens(tmp_path: Any) -> None:
    """That file would be the durable log."""
    path = tmp_path / "segment"
    script = f"""
        import os, sys
        writer = configure(format="json")
        fd = os.open({str(path)!r}, os.O_CREAT | os.O_RDWR)
        structlog.get_logger("x").info("said")
        os.write(1, b"printed")
        writer.close()
        sys.stderr.write(f"{{fd > 2}} {{writer.lines_dropped}}")
    """
    result = run(script, stdout=subprocess.DEVNULL, redirection=">&-")
    assert result.stderr == "True 1"
    assert path.read_bytes() == b""


def test_closing_standard_output_later_changes_nothing(tmp_path: Any) -> None:
    path = tmp_path / "segment"
    lines = said_by(f"""
        import os
        configure(format="json")
        os.close(1)
        fd = os.open({str(path)!r}, os.O_CREAT | os.O_RDWR)
        assert fd == 1
        structlog.get_logger("x").info("said")
    """)
    assert [text["event"] for text in lines] == ["said"]
    assert path.read_bytes() == b""


def test_a_forked_process_logs_too_and_repeats_nothing() -> None:
    lines = said_by("""
        import os, sys, warnings
        warnings.simplefilter("ignore")
        configure(format="json")
        log = structlog.get_logger("x")
        for number in range(500):
            log.info("parent", number=number)
        child = os.fork()
        if child == 0:
            log.info("child")
            sys.exit(0)
        os.waitpid(child, 0)
        log.info("parent", number=500)
    """)
    assert [text["event"] for text in lines].count("child") == 1
    assert [text["number"] for text in lines if text["event"] == "parent"] == list(range(501))


def test_whole_lines_of_two_processes_share_a_pipe() -> None:
    """The exchange and its follower write to one output."""
    lines = said_by("""
        import os, sys, warnings
        warnings.simplefilter("ignore")
        configure(format="json")
        os.fork()
        for number in range(2000):
            structlog.get_logger("x").info("said", text="x" * (number % 700))
    """)
    assert len(lines) == 4000


def test_on_a_terminal_it_is_for_people() -> None:
    ours, theirs = pty.openpty()
    result = run("configure()\nstructlog.get_logger('x').info('order.placed', order_id=912)", stdout=theirs)
    assert result.returncode == 0, result.stderr
    os.close(theirs)
    said = os.read(ours, 10_000).decode()
    os.close(ours)
    assert "order.placed" in said
    assert "\x1b[" in said
    assert not said.startswith("{")


@pytest.mark.parametrize(("format_", "start"), [("auto", "{"), ("json", "{"), ("console", "")])
def test_elsewhere_it_is_as_the_setting_says(format_: str, start: str) -> None:
    result = run(f"configure(format={format_!r})\nstructlog.get_logger('x').info('order.placed')", stdout=subprocess.PIPE)
    assert result.stdout.startswith("{") == (start == "{")
    assert "order.placed" in result.stdout
    assert "\x1b" not in result.stdout


def test_a_line_may_be_handed_over_within_a_signal_handler() -> None:
    """The handler may run while the very same thread is handing over another line."""
    lines = said_by(f"""
        import signal
        configure(format="json", lines_max=10**6)
        log = structlog.get_logger("x")
        signal.signal(signal.SIGALRM, lambda *_: log.info("from the handler"))
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        for number in range(20000):
            log.info("said", number=number)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        assert {int(signal.SIGALRM)}
    """)
    events = [text["event"] for text in lines]
    assert (events.count("said"), events.count("from the handler") > 0) == (20000, True)


def test_lines_of_many_threads_all_arrive(pipe: Pipe) -> None:
    writer = LogWriter(os.dup(pipe.writer), render_json, 10**6)
    threads = [threading.Thread(target=put_in_no_time, args=(writer, 1_000)) for _ in range(4)]
    for thread in threads:
        thread.start()
    pipe.read_until(lambda got: got.count(b"\n") == 4_000)
    for thread in threads:
        thread.join()
    writer.close()
    assert writer.lines_dropped == 0
