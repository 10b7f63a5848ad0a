"""A system that gives no memory: said as such, and not blamed on the command that met it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

from tests.support.running import ZEROSUM

PORTS = ["--rest-port", "0", "--websocket-port", "0", "--operations-port", "0", "--admin-port", "0"]


def test_no_addresses_to_reserve_is_said_at_the_start_without_a_traceback(tmp_path: Path) -> None:
    command = [*ZEROSUM, "up", "--no-demo", "--data", str(tmp_path / "data"), *PORTS]
    result = subprocess.run(["sh", "-c", 'ulimit -v 3000000; exec "$@"', "sh", *command], capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert "the machines can't be made: the system gives no more memory" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_command_that_finds_no_memory_is_not_called_broken() -> None:
    """Quarantine would be the wrong way out: with more memory the same log goes on."""
    script = """
        import resource, sys
        from zerosum.core import records
        from zerosum.core.exchange import Exchange
        from zerosum.services.machine import Machine, OutOfMemory
        machine = Machine()
        machine.exchange = Exchange(reserve=0)
        commands = b"".join(records.command(records.OPEN_ACCOUNT, 0, account, 0, 0, 10) for account in range(16, 300_000))
        addresses = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (addresses + (8 << 20), resource.RLIM_INFINITY))
        try:
            for step in machine.steps(commands):
                pass
        except OutOfMemory as error:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            print(error)
    """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60)
    assert "of the log can't be applied: the system gives no more memory" in result.stdout, result.stderr
