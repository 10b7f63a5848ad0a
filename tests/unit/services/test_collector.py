"""How long the garbage collector stops a process, by how much it looks at."""

from __future__ import annotations

import subprocess
import sys
import textwrap


def test_what_lives_long_is_not_gone_through_again_and_again() -> None:
    """Orders rest by the hundred thousand; each full pass over them stops everything for as long as it takes."""
    script = """
        import gc
        from zerosum.services.collector import keep_collections_short
        before = [[number] for number in range(100_000)]
        keep_collections_short()
        assert gc.get_freeze_count() > 100_000
        passes = []
        gc.callbacks.append(lambda phase, info: passes.append(info["generation"]) if phase == "stop" else None)
        after = [[number] for number in range(1_000_000)]
        print(max(passes), len(passes) > 100)
        del after
        for _ in range(50_000):
            cycle = []
            cycle.append(cycle)
        del cycle
        print(gc.get_stats()[0]["collected"] > 40_000)
    """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60)
    assert result.stdout.split() == ["1", "True", "True"], result.stderr
