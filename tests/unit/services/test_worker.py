"""A thread that does jobs for an event loop."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from zerosum.services.worker import ThreadWorker


async def test_jobs_are_done_in_order_away_from_the_loop_and_told_of_in_it() -> None:
    worker = ThreadWorker("test")
    loop_thread = threading.current_thread()
    did: list[tuple[int, threading.Thread]] = []
    told: list[tuple[Any, BaseException | None, threading.Thread]] = []
    for number in range(20):

        def job(number: int = number) -> int:
            did.append((number, threading.current_thread()))
            if number == 3:
                raise ValueError(number)
            return number

        worker.post(job, lambda result, error: told.append((result, error, threading.current_thread())))
    await worker.close()
    await asyncio.sleep(0)
    assert [number for number, _ in did] == list(range(20))
    assert {thread for _, thread in did} != {loop_thread}
    assert len({thread for _, thread in did}) == 1
    assert [result for result, _, _ in told] == [number if number != 3 else None for number in range(20)]
    assert [str(error) for _, error, _ in told if error is not None] == ["3"]
    assert {thread for _, _, thread in told} == {loop_thread}


async def test_a_worker_that_was_given_nothing_starts_no_thread() -> None:
    before = threading.active_count()
    worker = ThreadWorker("test")
    await worker.close()
    assert threading.active_count() == before
