"""
What the exchange says of itself to whoever operates it: is it ready, and how much of what does it do.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from zerosum.ops.health import Readiness
from zerosum.ops.metrics import Metrics
from zerosum.services.embedded import Embedded

LOOP_BUCKETS_US = (100, 1_000, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000)


def add_checks(readiness: Readiness, embedded: Embedded) -> None:
    shard = embedded.shard
    readiness.add("disk", lambda: "the disk is full: no order is taken" if shard.disk_is_full else None)
    readiness.add("exchange", lambda: f"stopped: {shard.stopped.result()!r}" if shard.stopped.done() else None)
    readiness.add("settlement", lambda: f"{shard.unsettled} commands behind" if shard.is_behind else None)
    readiness.add("clock", lambda: shard.clock_fault() or None)
    readiness.add("keys", embedded.identities.ring.unreadable)


def add_metrics(metrics: Metrics, embedded: Embedded) -> None:
    shard = embedded.shard
    metrics.read_counter("zerosum_commands_applied_total", "Commands applied.", lambda: shard.machine.sequence)
    metrics.read_counter("zerosum_groups_total", "Groups made durable with one sync each.", lambda: shard.groups)
    metrics.read_gauge("zerosum_commands_under_way", "Commands submitted and not yet applied.", lambda: shard.under_way)
    metrics.read_gauge("zerosum_settlement_lag_commands", "Commands applied and not yet settled.", lambda: shard.unsettled)
    metrics.read_counter("zerosum_follower_restarts_total", "How often the follower was started again.", lambda: embedded.follower.restarts)
    metrics.read_gauge("zerosum_log_not_pruned", "1 while the archive fails and the log grows.", lambda: int(embedded.pruning.fault != ""))
    metrics.read_gauge("zerosum_open_orders", "Open orders.", lambda: int(shard.machine.exchange.matching.orders.live))
    metrics.read_gauge("zerosum_rest_connections", "REST connections.", lambda: embedded.rest.connections)
    metrics.read_gauge("zerosum_websocket_connections", "WebSocket connections.", lambda: embedded.websocket.connections)
    metrics.read_gauge("zerosum_resident_bytes", "Memory in use.", resident_bytes)


def resident_bytes() -> int:
    if sys.platform != "linux":
        return 0
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
