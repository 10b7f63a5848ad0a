"""
What holds for every test run.

  - It tests what it says: the run is refused unless the core is the build that ZEROSUM_PURE announces, made from the sources in src/.
  - No test is skipped or expected to fail: either one counts as a failure.
  - Only tests that ask for `shared_dir` may be left out, when that folder is not there; the summary says how many. With CI=true the folder
    must be there. ZEROSUM_SHARED names it (from the root of the repository; ../shared unless told).
"""

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from zerosum.build import CORE_DIR, core_build, source_sha256

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT / os.environ.get("ZEROSUM_SHARED", "../shared")
PURE = os.environ.get("ZEROSUM_PURE") == "1"
CI = os.environ.get("CI") == "true"

LEFT_OUT = pytest.StashKey[int]()
TOLD_AT_THE_END = "told at the end"  # a test's property that the summary prints

# Other work on the machine must not fail a property.
settings.register_profile("zerosum", settings(), deadline=None)
settings.load_profile("zerosum")


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of recorded runs that lies beside the repository."""
    return SHARED


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Async tests run on the event loop that the services use."""
    return "asyncio", {"use_uvloop": True}


def build_problem() -> str | None:
    """Why this run would not test what it says, if it would not."""
    build = core_build()
    if build.source_sha256 != source_sha256(ROOT / "src/zerosum/core"):
        return f"the core in {CORE_DIR} is not the one in src/: run `make setup`, or `make pure` for the plain build"
    if PURE and (build.compiled or build.built_from_sha256):
        return f"ZEROSUM_PURE=1, but the core in {CORE_DIR} is compiled: run `make pure`, and set PYTHONPATH=build/pure"
    if not PURE and (build.stale or not build.compiled):
        return "the compiled core is stale or missing: run `make setup`"
    return None


def pytest_configure(config: pytest.Config) -> None:
    problem = build_problem()
    if problem is None and CI and not SHARED.is_dir():
        problem = f"with CI=true the shared folder must be there, and {SHARED} is not: ZEROSUM_SHARED names it"
    if problem is not None:
        raise pytest.UsageError(problem)


def pytest_report_header() -> str:
    return f"core: {'plain Python' if PURE else 'compiled'}"


@pytest.hookimpl(trylast=True)  # after -m and -k: those it takes out are not left out by us
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if SHARED.is_dir():
        return
    left_out = [item for item in items if "shared_dir" in getattr(item, "fixturenames", ())]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)
    config.stash[LEFT_OUT] = len(left_out)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped or hasattr(report, "wasxfail"):
        report.__dict__.pop("wasxfail", None)
        report.outcome = "failed"
        report.longrepr = f"skipped or expected to fail, which counts as a failure: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped:
        report.outcome = "failed"
        report.longrepr = f"a skipped module counts as a failure: {report.longrepr}"
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    workeroutput = getattr(session.config, "workeroutput", None)  # in a worker of pytest-xdist
    if workeroutput is not None:
        workeroutput["left_out"] = session.config.stash.get(LEFT_OUT, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    # A worker that crashed has no output. Each one collects all tests, so one worker's count is the run's.
    workeroutput = getattr(node, "workeroutput", None) or {}
    node.config.stash[LEFT_OUT] = max(workeroutput.get("left_out", 0), node.config.stash.get(LEFT_OUT, 0))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    left_out = config.stash.get(LEFT_OUT, 0)
    if left_out:
        terminalreporter.write_line(f"left out: {left_out} tests that need the shared folder, and {SHARED} is not there (ZEROSUM_SHARED)")
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == TOLD_AT_THE_END and report.when == "call":
                    terminalreporter.write_line(str(value))
