"""
Structured logs, written by a thread of their own, so that no slow, full or closed output ever holds up an order.

    log.info("order.placed", order_id=912) --> queue, bounded --> writer thread: mask secrets, format --> output
    logging.getLogger("uvicorn").error(...) ----^        |
                                                         +-- full: the line is dropped, and counted

Always true:
  - handing over a line never waits, and never raises
  - a line that could not be written is counted; once lines can be written again, one says how many are missing
  - what stands under the name of a secret, or looks like one in a text, is never written
  - what a client sends can't forge a line, move the cursor or color a terminal: characters that could are written as escapes
  - the output is held by a descriptor of its own: closing standard output, or opening a file in its place, changes nothing here
"""

from __future__ import annotations

import atexit
import fcntl
import json
import logging
import os
import re
import select
import sys
import textwrap
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, final

import orjson
import structlog

ERROR_LEVELS: Final = frozenset({"error", "critical"})
LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

_MASK: Final = "***"
_SENSITIVE: Final = r"secret|signature|password|passphrase|master_?key|private_?key|api_?key"
_SECRET_NAME: Final = re.compile(_SENSITIVE)
_SECRET_IN_TEXT: Final = re.compile(rf"((?:{_SENSITIVE.replace('_', '[-_ ]')})\w*[\"']?\s*[=:]\s*[\"']?)[^\s&\"',;}}\])]+", re.IGNORECASE)
_NESTING_MAX: Final = 8
# Controls (C0, C1 and DEL), Unicode's ends of lines, what turns the direction of writing, and halves of characters.
_UNPRINTED: Final = r"\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_CONTROL: Final = re.compile(rf"[{_UNPRINTED}]")
_CONTROL_IN_TRACEBACK: Final = re.compile(rf"(?!\n)[{_UNPRINTED}]")
_MARGIN: Final = "    "  # before each line of a traceback: none can be taken for a line of the log

_BATCH_LINES: Final = 256
_WRITE_BYTES: Final = select.PIPE_BUF  # what a pipe that is ready takes at once, and whole
_POLL_MS: Final = 100
_RETRY_S: Final = 0.1

_ExcInfo = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]


class Line(NamedTuple):
    """What was said, as it was handed over. Nothing is formatted yet."""

    time_ns: int
    level: str
    logger: str
    event: str
    fields: dict[str, Any]
    exception: _ExcInfo | None


@final
class LogWriter:
    """The queue, and the thread that empties it. Made by `configure`."""

    def __init__(self, fd: int | None, render: Callable[[Line], bytes], lines_max: int) -> None:
        """`fd` is the writer's own, to be closed by it. None: there is no output, and every line is dropped."""
        self.errors = 0  # lines of level error or worse, since the start
        self._fd = fd
        self._render = render
        self._lines_max = lines_max
        self._start()

    def _start(self) -> None:
        self._queue: SimpleQueue[Line | None] = SimpleQueue()  # None ends the thread
        self._lines_refused = 0  # the queue was full
        self._lines_lost = 0  # by the output
        self._lines_reported = 0
        self._line_torn = False
        self._deadline: float | None = None  # when to give up an output that is slow; None: never
        self._thread = threading.Thread(target=self._run, name="log writer", daemon=True)
        self._thread.start()

    @property
    def lines_dropped(self) -> int:
        """Since the start."""
        return self._lines_refused + self._lines_lost

    def put(self, line: Line) -> None:
        """Hand over. For any thread, also within a signal handler."""
        if line.level in ERROR_LEVELS:
            self.errors += 1
        if self._queue.qsize() < self._lines_max:
            self._queue.put(line)
        else:
            self._lines_refused += 1

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what is there, if the output takes it within `timeout_s`, and nothing after that."""
        self._deadline = time.monotonic() + timeout_s
        self._queue.put(None)
        self._thread.join(timeout_s + 1.0)
        if self._fd is not None and not self._thread.is_alive():
            os.close(self._fd)
            self._fd = None

    def restart(self) -> None:
        """In a process just forked, which has no copy of the thread. What is in the queue is for the parent to write."""
        self._start()

    # -- the thread

    def _run(self) -> None:
        ends = False
        while not ends:
            batch = [self._queue.get()]
            while len(batch) < _BATCH_LINES and not self._queue.empty():  # nobody else takes from it
                batch.append(self._queue.get())
            self._write([self._rendered(line) for line in batch if line is not None])
            ends = None in batch

    def _rendered(self, line: Line) -> bytes:
        try:
            return self._render(line)
        except Exception as error:  # noqa: BLE001  # whatever a field's repr raises: one bad line must not end the log
            return self._render(Line(line.time_ns, "error", line.logger, "log.line_unreadable", {"error": type(error).__name__}, None))

    def _write(self, lines: list[bytes]) -> None:
        """Lines go out whole, as many at once as a pipe takes: another process may write to the same one."""
        at = 0
        while at < len(lines):
            part = lines[at]
            count = 1
            while at + count < len(lines) and len(part) + len(lines[at + count]) <= _WRITE_BYTES:
                part += lines[at + count]
                count += 1
            at += count
            dropped = self.lines_dropped
            if dropped != self._lines_reported:
                part = self._missing(dropped - self._lines_reported) + part
            if self._line_torn:
                part = b"\n" + part
            rest = self._unwritten(part)
            if len(rest) < len(part):
                self._line_torn = part[-len(rest) - 1 :][:1] != b"\n"
            lost = rest.count(b"\n")
            if lost <= count:
                self._lines_reported = dropped
            self._lines_lost += min(lost, count)
            if rest and self._deadline is None:
                time.sleep(_RETRY_S)  # no use in trying again at once

    def _missing(self, count: int) -> bytes:
        return self._render(Line(time.time_ns(), "warning", "log", "log.lines_dropped", {"lines": count}, None))

    def _unwritten(self, data: bytes) -> bytes:
        """Write it; what the output did not take. Waits for an output that is slow, but not past the deadline."""
        if self._fd is None:
            return data
        done = 0
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        try:
            while done < len(data):
                overdue = self._deadline is not None and time.monotonic() > self._deadline
                if poll.poll(0 if overdue else _POLL_MS):
                    done += os.write(self._fd, data[done : done + _WRITE_BYTES])
                elif overdue:
                    break
        except OSError:  # it is full, or its reader has gone
            pass
        return data[done:]


@final
class _Handover:
    """What structlog calls a logger: takes the line from its processors."""

    def __init__(self, writer: LogWriter, *name: str) -> None:
        self._put = writer.put
        self.name = name[0] if name else ""

    def put(self, line: Line) -> None:
        self._put(line)

    debug = info = warning = error = critical = exception = put


def _as_line(logger: Any, method: str, event_dict: MutableMapping[str, Any]) -> tuple[tuple[Line], dict[str, Any]]:
    """structlog's processor: what must be looked at before the call returns is the time, and the exception being handled."""
    exc_info = event_dict.pop("exc_info", None)
    event = event_dict.pop("event", "")
    if exc_info is True:
        exc_info = sys.exc_info()
    elif isinstance(exc_info, BaseException):
        exc_info = (type(exc_info), exc_info, exc_info.__traceback__)
    level = "error" if method == "exception" else method
    return (Line(time.time_ns(), level, logger.name, str(event), dict(event_dict), exc_info or None),), {}


@final
class _StdlibHandler(logging.Handler):
    """The same for libraries that use the standard library's logging."""

    def __init__(self, writer: LogWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            event = record.getMessage()
        except (TypeError, ValueError):  # its arguments do not fit its format
            event = str(record.msg)
        nanoseconds = int(record.created * 1e9)
        self._writer.put(Line(nanoseconds, record.levelname.lower(), record.name, event, {}, record.exc_info))


def masked(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A copy without secrets: neither under a name that says so, at any depth, nor as `name=value` within a text."""
    return {str(name): _MASK if _is_secret(str(name)) else _masked_value(value, _NESTING_MAX) for name, value in fields.items()}


def _is_secret(name: str) -> bool:
    return _SECRET_NAME.search(name.lower().replace("-", "_").replace(" ", "_")) is not None


def _masked_value(value: Any, levels: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return _masked_text(value)
    if levels == 0:
        return "..."
    if isinstance(value, Mapping):
        return {str(key): _MASK if _is_secret(str(key)) else _masked_value(item, levels - 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset | deque):
        return [_masked_value(item, levels - 1) for item in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return _masked_text(bytes(value).decode("utf-8", "backslashreplace"))
    return _masked_text(str(value))


def _masked_text(text: str) -> str:
    if "=" not in text and ":" not in text:  # most texts: the search costs more than all the rest of a line
        return text
    return _SECRET_IN_TEXT.sub(rf"\1{_MASK}", text)


def _escape(found: re.Match[str]) -> str:
    """As JSON writes it: \\u001b."""
    return f"\\u{ord(found[0]):04x}"


def _shown(value: Any) -> Any:
    """For people: the same with nothing that a terminal would do something at."""
    if isinstance(value, str):
        return _CONTROL.sub(_escape, value)
    if isinstance(value, dict):
        return {_shown(name): _shown(item) for name, item in value.items()}
    return [_shown(item) for item in value] if isinstance(value, list) else value


def _traceback_text(exception: _ExcInfo) -> str:
    return _masked_text("".join(traceback.format_exception(*exception)).rstrip())


def render_json(line: Line) -> bytes:
    """One line of JSON, with its newline."""
    shown: dict[str, Any] = {
        "time": datetime.fromtimestamp(line.time_ns / 1e9, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "level": line.level,
        "logger": line.logger,
        "event": _masked_text(line.event),
    }
    # A field cannot take the place of what every line has.
    shown |= {f"{name}_" if name in shown else name: value for name, value in masked(line.fields).items()}
    if line.exception is not None:
        shown["exception"] = _traceback_text(line.exception)
    try:
        text = orjson.dumps(shown)
    except TypeError:  # an integer past 64 bits, a lone surrogate
        text = json.dumps(shown, separators=(",", ":")).encode()
    if not text.isascii() or b"\x7f" in text:  # all else that is escaped here, JSON has escaped
        text = _CONTROL.sub(_escape, text.decode()).encode()
    return text + b"\n"


def console_renderer(*, colors: bool) -> Callable[[Line], bytes]:
    """For people: one line, and a traceback below it."""
    console = structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=28)

    def render(line: Line) -> bytes:
        shown: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(line.time_ns / 1e9).astimezone().strftime("%H:%M:%S.%f")[:-3],
            "level": line.level,
            "logger": line.logger,
            "event": _shown(_masked_text(line.event)),
        }
        shown |= {f"{name}_" if name in shown else name: value for name, value in _shown(masked(line.fields)).items()}
        if line.exception is not None:
            text = _CONTROL_IN_TRACEBACK.sub(_escape, _traceback_text(line.exception))
            shown["exception"] = textwrap.indent(text, _MARGIN, lambda line: True)
        return str(console(None, line.level, shown)).encode("utf-8", "backslashreplace") + b"\n"

    return render


def configure(
    *,
    level: str = "info",
    format: Literal["auto", "json", "console"] = "auto",  # noqa: A002  # the setting's name
    lines_max: int = 10_000,
    fd: int = 1,
) -> LogWriter:
    """
    Send all logs of this process, structlog's and the standard library's, to the descriptor `fd`, one of its standard ones.

    To be called before any file is opened. "auto" is for people on a terminal, JSON elsewhere. `lines_max` is how many lines wait at most.
    At the process's end what waits is written, if the output takes it within two seconds; `close` does that at once.
    """
    own_fd = _own_descriptor(fd)
    on_terminal = own_fd is not None and os.isatty(own_fd)
    render = console_renderer(colors=on_terminal) if format == "console" or (format == "auto" and on_terminal) else render_json
    writer = LogWriter(own_fd, render, lines_max)
    structlog.configure(
        processors=[_as_line],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *name: _Handover(writer, *name),
        cache_logger_on_first_use=True,
    )
    logging.captureWarnings(True)
    root = logging.getLogger()
    root.handlers = [_StdlibHandler(writer)]
    root.setLevel(max(LEVELS[level], logging.WARNING))  # libraries speak of what we say ourselves
    # A process that is forked has no writer thread; one that is spawned configures its own.
    os.register_at_fork(after_in_child=writer.restart)
    atexit.register(writer.close)
    return writer


def _own_descriptor(fd: int) -> int | None:
    """
    A copy of `fd` that nobody else knows; None when there is no such output.

    A process may be started without standard descriptors. Then the next file opened takes their place, such as a segment of the durable
    log, and whoever prints would print into it. So they are first given to the null device.
    """
    had_output = True
    for standard in (0, 1, 2):
        try:
            os.fstat(standard)
        except OSError:
            had_output = had_output and standard != fd
            os.open(os.devnull, os.O_RDWR)  # the lowest free descriptor, which is this one
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) if had_output else None
