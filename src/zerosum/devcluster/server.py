"""
One Java process of a server.

    Program (jars, options, main class) --> Server --start--> java ... --is_ready()--> serves       its output: <folder>/log

Java starts three times as fast with an archive of the classes that it loads. The first clean stop writes it into the cache.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, final

from zerosum.devcluster import jars
from zerosum.devcluster.process import Process, ServerFailed

SHORT_LIVED: Final = ("-XX:TieredStopAtLevel=1",)
"""For Java: to compile quickly, and not well. What it compiles otherwise pays for itself after some half a minute of load."""
READY_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Java:
    """A server's jars, and how Java is to run them."""

    library: Path
    options: tuple[str, ...] = SHORT_LIVED


@dataclass(frozen=True, slots=True)
class Program:
    """What Java is told: `options`, the same for all servers of a kind, then its `own`; `arguments` come behind the main class."""

    name: str
    jars: Path
    options: tuple[str, ...]
    own: tuple[str, ...]
    main_class: str
    arguments: tuple[str, ...] = ()


@final
class Server(Process):
    """`port`: what clients reach it at. `answers`: whether it serves, asked from outside."""

    def __init__(self, name: str, program: Program, folder: Path, port: int, answers: Callable[[], bool]) -> None:
        super().__init__(name, folder / "log")
        self.port = port
        self._program = program
        self._answers = answers
        self._archive: Path | None = None  # of classes, written when it ends

    def start(self) -> None:
        try:
            self.run(self._command())
        except FileNotFoundError as error:
            raise ServerFailed("Java is needed to run the servers: install it (on Debian openjdk-17-jre-headless).") from error

    def _command(self) -> list[str]:
        program = self._program
        archive = jars.cache() / "classes" / f"{program.name}-{archive_key(program)}.jsa"
        archive.parent.mkdir(parents=True, exist_ok=True)
        if archive.exists():
            self._archive = None
            classes = [f"-XX:SharedArchiveFile={archive}"]
        else:
            self._archive = archive
            classes = [f"-XX:ArchiveClassesAtExit={self._draft_of(archive)}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"]
        return [
            "java", *classes, *program.options, *program.own, "-cp", jars.class_path(program.jars), program.main_class, *program.arguments,
        ]  # fmt: skip

    def is_ready(self) -> bool:
        return self._answers()

    def wait(self, limit_s: float = READY_S) -> None:
        super().wait(limit_s)

    def stop(self) -> None:
        super().stop()
        if self._archive is not None and self._draft_of(self._archive).exists():
            self._draft_of(self._archive).rename(self._archive)

    def _draft_of(self, archive: Path) -> Path:
        """Where it is written: several servers may be at it."""
        return archive.with_name(f"{archive.name}.{self.port}")


def archive_key(program: Program) -> str:
    """Of what an archive of classes is good for."""
    said = "\n".join((java_version(), jars.class_path(program.jars), *program.options))
    return hashlib.sha256(said.encode()).hexdigest()[:12]


@cache
def java_version() -> str:
    try:
        return subprocess.run(["java", "-version"], capture_output=True, text=True, check=True).stderr
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        raise ServerFailed("Java is needed to run the servers: install it (on Debian openjdk-17-jre-headless).") from error
