"""
The processes of a deployment while a load runs: that all live on, what they have in memory, what CPU they take.
"""

from __future__ import annotations

import asyncio
import statistics
from dataclasses import dataclass, field
from typing import Final, final

from zerosum.bench.gateway_process import usage
from zerosum.devcluster.deployment import DevDeployment

SAMPLE_S: Final = 0.5


@dataclass(slots=True)
class Process:
    """`resident_bytes`: sampled from the beginning to the end."""

    name: str
    pid: int
    cpu_began_s: float
    cpu_s: float = 0.0
    resident_bytes: list[int] = field(default_factory=list)

    def growth_bytes_per_s(self) -> float:
        """In the second half: by then what is reserved once has been."""
        later = self.resident_bytes[len(self.resident_bytes) // 2 :]
        if len(later) < 2:
            return 0.0
        return statistics.linear_regression([SAMPLE_S * at for at in range(len(later))], later).slope


@final
class Watch:
    def __init__(self, deployment: DevDeployment) -> None:
        self.processes = [Process(each.name, each.pid, usage(each.pid).cpu_s) for each in deployment.processes]
        self._deployment = deployment

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            for process in self.processes:
                process.resident_bytes.append(usage(process.pid).resident_bytes)
            await asyncio.sleep(SAMPLE_S)

    def end(self) -> None:
        for process in self.processes:
            process.cpu_s = usage(process.pid).cpu_s - process.cpu_began_s

    def ended(self) -> list[str]:
        """The names of those that did not live on."""
        now = {each.name: each.pid for each in self._deployment.processes if each.is_running}
        return [process.name for process in self.processes if now.get(process.name) != process.pid]
