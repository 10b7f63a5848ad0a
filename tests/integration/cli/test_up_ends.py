"""However `zerosum up` is started and ended: its outputs may be closed, full or unread, and it still serves and stops cleanly."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Cli
from tests.support.running import ZEROSUM, running, zerosum
from zerosum.services.datadir import DataDir
from zerosum.services.opening import open_log

PORTS = ["--rest-port", "0", "--websocket-port", "0", "--operations-port", "0", "--admin-port", "0"]


def started(data: Path, redirection: str, *options: str, before: str = "", **popen: object) -> subprocess.Popen[bytes]:
    """By a shell, which closes and opens descriptors and does what goes `before` as users have it done."""
    ready = data.with_name("ready")
    command = [*ZEROSUM, "up", "--data", str(data), "--ready-file", str(ready), *PORTS, *options]
    shell = subprocess.Popen(["sh", "-c", f'{before} exec "$@" {redirection}', "sh", *command], **popen)  # type: ignore[call-overload]
    deadline = time.monotonic() + 60
    while not ready.exists():
        assert shell.poll() is None, f"it ended with {shell.returncode}"
        assert time.monotonic() < deadline, "it is not ready"
        time.sleep(0.02)
    assert isinstance(shell, subprocess.Popen)
    return shell


def stopped_cleanly(data: Path) -> bool:
    with open_log(DataDir(data)) as log:
        return log.recovery.clean


@pytest.mark.parametrize(
    "redirection",
    [">&- 2>&-", "2>&-", ">&-", "<&- >&- 2>&-", ">/dev/full 2>/dev/full", ">/dev/null 2>/dev/full"],
)
def test_a_closed_or_full_output_does_not_matter(redirection: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    process = started(data, redirection)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert stopped_cleanly(data)


@pytest.mark.parametrize("reader", ["is gone", "reads nothing"])
def test_a_pipe_whose_reader_is_gone_or_reads_nothing_does_not_matter(reader: str, tmp_path: Path) -> None:
    """As in `zerosum up 2>&1 | tee`, when Ctrl-C has ended tee."""
    data = tmp_path / "data"
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    if reader == "reads nothing":  # and the pipe is full
        for size in (4096, 1):
            while True:
                try:
                    os.write(writing, bytes(size))
                except BlockingIOError:
                    break
    os.set_blocking(writing, True)
    process = started(data, "", "--no-demo", stdout=writing, stderr=writing)
    os.close(writing)
    if reader == "is gone":
        os.close(reading)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert stopped_cleanly(data)
    if reader == "reads nothing":
        os.close(reading)


@pytest.mark.parametrize("how", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_what_goes_to_the_whole_group_is_a_clean_stop(tmp_path: Path, how: signal.Signals) -> None:
    """The end of the terminal, Ctrl-C, a supervisor's stop: the exchange stops its follower and bots, they do not just end."""
    data = tmp_path / "data"
    with (tmp_path / "said").open("wb") as said:
        process = started(data, "", start_new_session=True, stdout=subprocess.DEVNULL, stderr=said)
        os.killpg(process.pid, how)
        assert process.wait(60) == 0
    assert "have ended" not in (tmp_path / "said").read_text()
    assert "attention" not in (tmp_path / "said").read_text()
    assert stopped_cleanly(data)
    assert any((data / "snapshots").iterdir()), "the follower took its last snapshot"


def test_nohup_is_respected(tmp_path: Path) -> None:
    data = tmp_path / "data"
    process = started(data, "", "--no-demo", before="trap '' HUP;", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def test_the_secret_is_shown_on_a_terminal(tmp_path: Path) -> None:
    data = tmp_path / "data"
    master, slave = pty.openpty()
    process = started(data, "", stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    process.send_signal(signal.SIGINT)
    said = b""
    while True:
        try:
            part = os.read(master, 4096)
        except OSError:  # the terminal's other end is closed
            break
        said += part
    os.close(master)
    assert process.wait(60) == 0
    key = json.loads((data / "demo.json").read_text())["demo"]
    assert key["secret"] in said.decode()
    assert "stopped cleanly" in said.decode()


def test_a_ready_file_is_there_while_it_serves(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(data, "--no-demo") as exchange:
        ready = data.with_name("data.ready")
        assert json.loads(ready.read_text())["pid"] == exchange.process.pid
        port = exchange.ports["rest"]
        zerosum("up", "--data", str(tmp_path / "other"), "--rest-port", str(port), "--ready-file", str(ready), expect=1)
        assert json.loads(ready.read_text())["pid"] == exchange.process.pid, "one that can't start leaves it alone"
        assert exchange.stop() == 0
        assert not ready.exists()


@pytest.mark.parametrize("place", ["nope/ready", "."])
def test_a_ready_file_that_can_t_be_is_refused_before_anything_is_made(place: str, tmp_path: Path, cli: Cli) -> None:
    said = cli("up", "--data", tmp_path / "data", *PORTS, "--ready-file", tmp_path / place)
    assert said.code == 1
    assert "must be a file in a folder that is there and writable" in said.err
    assert not (tmp_path / "data").exists()


def test_a_taken_port_leaves_no_data_directory_behind(tmp_path: Path, cli: Cli) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        said = cli("up", "--data", tmp_path / "data", *PORTS, "--rest-port", port)
    assert said.code == 1
    assert f"127.0.0.1:{port} cannot be listened on: Address already in use" in said.err
    assert (
        "If another exchange runs there, give this one ports of its own: --rest-port, --websocket-port, --operations-port, --admin-port"
        in said.err
    )
    assert not (tmp_path / "data").exists()


def test_a_directory_whose_exchange_runs_is_told(tmp_path: Path, cli: Cli) -> None:
    with running(tmp_path / "data", "--no-demo") as exchange:
        said = cli("up", "--data", tmp_path / "data", "--rest-port", exchange.ports["rest"])
    assert said.code == 1
    assert said.err.startswith(f"LogInUse: {tmp_path / 'data' / 'log'}: in use by process {exchange.process.pid}.")


def test_an_option_that_does_not_fit_another_setting_is_told(tmp_path: Path, cli: Cli) -> None:
    said = cli("up", "--data", tmp_path / "data", "--rest-port", 8701)
    assert (said.code, "websocket.port is 8701, and so is rest.port" in said.err) == (1, True)


def test_a_data_directory_that_can_t_be_made_is_told(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "file").write_text("x")
    for path, why in (("file", "there is a file of that name"), ("file/data", "Not a directory")):
        said = cli("up", "--data", tmp_path / path, *PORTS)
        assert (said.code, f"the data directory {tmp_path / path} can't be made: {why}" in said.err) == (1, True)
