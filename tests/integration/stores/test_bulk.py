"""Rows are sent and found many at once, and what is asked at the same time in one round trip."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from worker.database import bulk
from worker.database.postgres import Connection, Pool

TWICE = "SELECT n * 2 FROM unnest(%b::bigint[]) AS k (n) ORDER BY n"


class Counted:
    """A pool that counts how often somebody asks Postgres."""

    def __init__(self, pool: Pool) -> None:
        self._pool, self.asked = pool, 0

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        self.asked += 1
        with self._pool.connection() as db:
            yield db


def doubled(*numbers: int, times: int = 1) -> bulk.Reading[list[int]]:
    found = list(numbers)
    for _ in range(times):
        rows = yield bulk.Query(TWICE, [(n,) for n in found])
        found = [n for (n,) in rows]
    return found


@pytest.mark.parametrize(
    ("readings", "found", "asked"),
    [
        pytest.param([], [], 0, id="none"),
        pytest.param([((1, 2), 1)], [[2, 4]], 1, id="one"),
        pytest.param([((1,), 1), ((5, 7), 1)], [[2], [10, 14]], 1, id="two at the same time"),
        pytest.param([((1,), 3), ((5,), 1), ((), 2)], [[8], [10], []], 3, id="one goes on, one has no keys"),
        pytest.param([((1,), 0), ((), 1)], [[1], []], 0, id="nothing to ask"),
    ],
)
def test_readings_find_what_they_find_alone_in_as_many_round_trips_as_the_longest(pool, readings, found, asked):
    counted: Any = Counted(pool)
    assert bulk.together(counted, [doubled(*numbers, times=times) for numbers, times in readings]) == found
    assert counted.asked == asked


def test_integers_of_every_size_arrive_as_they_were_sent(pool):
    numbers = [-(1 << 63), -1, 0, 1, 1 << 31, (1 << 63) - 1]
    rows = bulk.read(
        pool, "SELECT n, t FROM unnest(%b::bigint[], %b::text[]) AS k (n, t)", [(n, str(n)) for n in numbers]
    )
    assert rows == [(n, str(n)) for n in numbers]
    assert bulk.read(pool, "SELECT count(*) FROM unnest(%b::int[]) AS k (n)", [(1,), (2,)]) == [(2,)]


def test_texts_of_every_kind_arrive_as_they_were_sent(pool):
    texts = ["", '"', "\\", '\\"', "{a,b}", ",", "NULL", " x ", "é → 🛎", "\t\n\r", "'; --", "\\000", "x" * 100_000]
    for some in (texts, [""], ["NULL"]):
        query = "SELECT t, n FROM unnest(%b::text[]) WITH ORDINALITY AS k (t, n) ORDER BY n"
        assert bulk.read(pool, query, [(text,) for text in some]) == [(text, n) for n, text in enumerate(some, 1)]


@pytest.mark.parametrize("texts", [["a\0b", "c"], ["\0"], ["\0", ""]])
def test_a_text_with_a_nul_is_refused(pool, texts):
    with pytest.raises(psycopg.DataError):
        bulk.read(pool, "SELECT t FROM unnest(%b::text[]) AS k (t)", [(text,) for text in texts])
