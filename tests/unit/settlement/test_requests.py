"""How rows are put together into requests that every database takes."""

from __future__ import annotations

from itertools import chain

import pytest

from zerosum.settlement.cql.store import BYTES_MAX, PARTITIONS_MAX, ROWS_MAX, requests_of, size_of
from zerosum.settlement.cql.tables import CLIENT_IDS, Write


def rows(partition: int, count: int, text_bytes: int = 10) -> Write:
    return Write(CLIENT_IDS, [(partition, "x" * text_bytes, 1, number) for number in range(count)])


@pytest.mark.parametrize(
    "writes",
    [
        [],
        [rows(1, 1)],
        [rows(number, 1) for number in range(100)],
        [rows(1, 1_000), rows(2, 3), rows(3, 500)],
        [rows(1, 50, text_bytes=5_000)],
        [rows(number, 3, text_bytes=3_000) for number in range(20)],
    ],
)
def test_every_row_goes_out_once_in_order_and_no_request_is_too_large(writes: list[Write]) -> None:
    requests = list(requests_of(writes))
    assert [row for request in requests for write in request for row in write.rows] == [row for write in writes for row in write.rows]
    for request in requests:
        assert len(request) <= PARTITIONS_MAX
        found = list(chain.from_iterable(write.rows for write in request))
        assert 1 <= len(found) <= ROWS_MAX
        assert sum(map(size_of, found)) <= BYTES_MAX


def test_a_row_that_is_too_large_by_itself_goes_alone() -> None:
    large = rows(1, 2, text_bytes=2 * BYTES_MAX)
    assert [len(request[0].rows) for request in requests_of([rows(2, 5), large])] == [5, 1, 1]
