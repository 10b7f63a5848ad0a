"""
Counters, gauges and histograms that cost an addition, and their exposition for Prometheus.

    role --> registry.counter(...) --> counter.value += 1        on the hot path
    scrape --> registry.exposition() --> text                    the only place where labels and strings are made

Always true:
  - a metric is made once, when its role starts, and only its value changes
  - a metric is written by one thread: `+=` is not atomic
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final, Generic, TypeVar, final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

LATENCY_BOUNDS_US: Final = (50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 5_000_000)

_NO_LABELS: Final[Mapping[str, str]] = {}


@final
class Counter:
    """Only ever grows: `counter.value += 1`."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


@final
class Gauge:
    """Is what it was set to last: `gauge.value = 7`."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0


@final
class Histogram:
    """How many values fell where: each counts in the first bucket whose bound is not below it."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[int]) -> None:
        assert list(bounds) == sorted(set(bounds)), "bounds ascend"
        self.bounds: Final = tuple(bounds)
        self.counts: Final = [0] * (len(bounds) + 1)  # the last one is for what is above all bounds
        self.sum = 0

    def observe(self, value: int) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


_Labels = tuple[tuple[str, str], ...]
_MetricOf = TypeVar("_MetricOf")


@final
class _Family(Generic[_MetricOf]):
    """All metrics of one kind and name, which differ in their labels."""

    def __init__(self, help_text: str, *, unit: float = 1.0) -> None:
        self.help_text = help_text
        self.unit = unit  # of a histogram: what one of its integers is worth
        self.metrics: dict[_Labels, _MetricOf] = {}

    def add(self, labels: Mapping[str, str], metric: _MetricOf) -> None:
        key = tuple(labels.items())
        assert key not in self.metrics, "a metric is made once"
        assert not self.metrics or self.label_names() == list(labels), "metrics of one name have the same labels"
        self.metrics[key] = metric

    def label_names(self) -> list[str]:
        return [name for name, _ in next(iter(self.metrics))]

    def labeled(self) -> Iterator[tuple[list[str], _MetricOf]]:
        for labels, metric in self.metrics.items():
            yield [value for _, value in labels], metric


@final
class Metrics(Collector):
    """All metrics of a process. Names follow Prometheus' conventions: base units last, counters end in _total."""

    def __init__(self) -> None:
        self._counters: dict[str, _Family[Callable[[], float]]] = {}
        self._gauges: dict[str, _Family[Callable[[], float]]] = {}
        self._histograms: dict[str, _Family[Histogram]] = {}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def counter(self, name: str, help_text: str, labels: Mapping[str, str] = _NO_LABELS) -> Counter:
        counter = Counter()
        self.read_counter(name, help_text, lambda: counter.value, labels)
        return counter

    def gauge(self, name: str, help_text: str, labels: Mapping[str, str] = _NO_LABELS) -> Gauge:
        gauge = Gauge()
        self.read_gauge(name, help_text, lambda: gauge.value, labels)
        return gauge

    def read_counter(self, name: str, help_text: str, read: Callable[[], int], labels: Mapping[str, str] = _NO_LABELS) -> None:
        """A counter that is kept elsewhere, and read when it is asked for."""
        assert name.endswith("_total"), "a counter's name ends in _total"
        self._family(self._counters, name, _Family(help_text)).add(labels, read)

    def read_gauge(self, name: str, help_text: str, read: Callable[[], float], labels: Mapping[str, str] = _NO_LABELS) -> None:
        """A gauge that is kept elsewhere, and read when it is asked for."""
        assert not name.endswith("_total"), "only a counter's name ends in _total"
        self._family(self._gauges, name, _Family(help_text)).add(labels, read)

    def histogram(
        self, name: str, help_text: str, bounds: Sequence[int], labels: Mapping[str, str] = _NO_LABELS, *, unit: float = 1.0
    ) -> Histogram:
        """`unit` is what one is worth in the unit of the name: 1e-6 where microseconds are observed and the name ends in _seconds."""
        histogram = Histogram(bounds)
        self._family(self._histograms, name, _Family(help_text, unit=unit)).add(labels, histogram)
        return histogram

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """Text and content type, in the newest format that the header `accept` names."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def collect(self) -> Iterator[Metric]:
        """For prometheus-client."""
        for name, readers in self._counters.items():
            counters = CounterMetricFamily(name, readers.help_text, labels=readers.label_names())
            for values, read in readers.labeled():
                counters.add_metric(values, read())
            yield counters
        for name, readers in self._gauges.items():
            gauges = GaugeMetricFamily(name, readers.help_text, labels=readers.label_names())
            for values, read in readers.labeled():
                gauges.add_metric(values, read())
            yield gauges
        for name, family in self._histograms.items():
            histograms = HistogramMetricFamily(name, family.help_text, labels=family.label_names())
            for values, histogram in family.labeled():
                histograms.add_metric(values, _buckets(histogram, family.unit), histogram.sum * family.unit)
            yield histograms

    def _family(self, families: dict[str, _Family[_MetricOf]], name: str, new: _Family[_MetricOf]) -> _Family[_MetricOf]:
        """The one of this name: `new`, if there is none."""
        others: list[Mapping[str, object]] = [kind for kind in (self._counters, self._gauges, self._histograms) if kind is not families]
        assert not any(name in kind for kind in others), "metrics of one name are of one kind"
        family = families.setdefault(name, new)
        assert (family.help_text, family.unit) == (new.help_text, new.unit), "metrics of one name have one help text and unit"
        return family


def _buckets(histogram: Histogram, unit: float) -> list[tuple[str, float]]:
    """Bounds, and how many values were at or below each."""
    bounds = [f"{bound * unit:.9g}" for bound in histogram.bounds]
    return list(zip([*bounds, "+Inf"], accumulate(histogram.counts), strict=True))
