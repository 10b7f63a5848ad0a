"""
Watches the services of a deployment for a while, from outside, and says whether they keep well.

    each service's listener for operations --/readyz, /metrics, every few seconds--> Watched --> verdicts

Nothing is asked but what a monitoring system asks, so this may run beside trading.
"""

from __future__ import annotations

import json
import statistics
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, final

from prometheus_client.parser import text_string_to_metric_families

ASK_S: Final = 5.0
GROWTH_SHARE_MAX: Final = 0.05  # of memory, from the second quarter to the last
GROWTH_FREE_BYTES: Final = 16 << 20  # that prove nothing
SAMPLES_MIN: Final = 8  # below which memory shows no trend

STARTED: Final = "process_start_time_seconds"
RESIDENT: Final = "zerosum_resident_bytes"
BEHIND: Final = "zerosum_copy_behind_messages"
ERRORS: Final = "zerosum_log_errors_total"
RESTARTS: Final = "zerosum_copy_restarts_total"
FOREIGN: Final = "zerosum_foreign_records_total"
TRADES: Final = "zerosum_settled_trades_total"


class Finding(NamedTuple):
    check: str
    holds: bool
    detail: str


@final
@dataclass(slots=True)
class Watched:
    """A service: what was seen of it. `address`: host:port of its listener for operations."""

    address: str
    looks: int = 0
    faults: list[str] = field(default_factory=list)  # of looks at which it was not well, each with why
    first: dict[str, float] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)
    resident_bytes: list[float] = field(default_factory=list)

    def look(self) -> None:
        self.looks += 1
        try:
            report = self._asked_json("readyz")
            found = sums_of(self._asked("metrics"))
        except (OSError, ValueError) as error:
            self.faults.append(f"{self.address} does not answer: {error}")
            return
        if not report["ready"]:
            wrong = ", ".join(f"{name}: {why}" for name, why in report["checks"].items() if why != "ok")
            self.faults.append(f"{self.address} is not ready: {wrong}")
        if self.last and found.get(STARTED) != self.last.get(STARTED):
            self.faults.append(f"{self.address} was started again")
        self.first = self.first or found
        self.last = found
        self.resident_bytes.append(found.get(RESIDENT, 0.0))

    def grown_by(self, name: str) -> float:
        """A counter since the first look, or since the process began, if that was later."""
        is_another = self.last.get(STARTED) != self.first.get(STARTED)
        return self.last.get(name, 0.0) - (0.0 if is_another else self.first.get(name, 0.0))

    def _asked_json(self, page: str) -> dict[str, Any]:
        try:
            text = self._asked(page)
        except urllib.error.HTTPError as error:  # not ready: it says why
            text = error.read().decode()
        found: dict[str, Any] = json.loads(text)
        return found

    def _asked(self, page: str) -> str:
        with urllib.request.urlopen(f"http://{self.address}/{page}", timeout=ASK_S) as answer:
            text: str = answer.read().decode()
        return text


def sums_of(text: str) -> dict[str, float]:
    """By metric, over its labels."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0.0) + float(sample.value)
    return found


def findings(services: list[Watched], behind_max: int) -> Iterator[Finding]:
    """Of one look, or of several. `behind_max`: messages that all copies together may be behind at the end."""
    looks = sum(each.looks for each in services)
    yield finding("every service answers, and is ready", [fault for each in services for fault in each.faults], f"{looks:,} looks")
    behind = sum(each.last.get(BEHIND, 0.0) for each in services)
    yield finding("no backlog", [f"{behind:,.0f} messages"] if behind > behind_max else [], f"{behind:,.0f} messages behind at the end")
    if looks <= len(services):
        return  # of what rises since the first look, one look shows nothing
    for name, what in (
        (ERRORS, "no errors in the logs"),
        (RESTARTS, "no copy started again"),
        (FOREIGN, "no record from who may not send"),
    ):
        wrong = [f"{each.address}: {each.grown_by(name):,.0f}" for each in services if each.grown_by(name)]
        yield finding(what, wrong, "none since the first look")
    yield finding("memory is flat", [line for each in services if (line := growth_of(each))], memory_of(services))
    yield Finding("trades settled", True, f"{sum(each.grown_by(TRADES) for each in services):,.0f} since the first look")


def growth_of(service: Watched) -> str:
    samples = service.resident_bytes
    if len(samples) < SAMPLES_MIN:
        return ""
    quarter = len(samples) // 4
    before, after = statistics.median(samples[quarter : 2 * quarter]), statistics.median(samples[-quarter:])
    if after - before <= max(GROWTH_FREE_BYTES, GROWTH_SHARE_MAX * before):
        return ""
    return f"{service.address}: from {before / 1e6:,.0f} to {after / 1e6:,.0f} MB"


def memory_of(services: list[Watched]) -> str:
    return f"{sum(each.resident_bytes[-1] for each in services if each.resident_bytes) / 1e6:,.0f} MB in all"


def finding(check: str, wrong: list[str], right: str) -> Finding:
    more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
    return Finding(check, not wrong, "; ".join(wrong[:3]) + more if wrong else right)
