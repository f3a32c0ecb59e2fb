"""Retry-After as servers write it."""

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.retry_after import LONGEST, seconds

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("0", 0.0),
        (" 17 ", 17.0),
        ("86400", 3_600.0),
        ("9" * 5000, LONGEST),
        (formatdate(NOW + 90, usegmt=True), 90.0),
        (formatdate(NOW - 90, usegmt=True), 0.0),
        (formatdate(NOW + 10 * LONGEST, usegmt=True), LONGEST),
        (None, None),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("Wed, 99 Foo 2026 00:00:00 GMT", None),
    ],
)
def test_a_number_or_a_date_within_bounds(value: str | None, wait: float | None) -> None:
    assert seconds(value, NOW) == wait


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d{1,5} [A-Z][a-z]{2} \d{1,6} \d{1,3}:\d\d:\d\d( [A-Z+-]\w{0,5})?"))
def test_whatever_stands_there_is_a_wait_or_nothing(value: str) -> None:
    wait = seconds(value, NOW)
    assert wait is None or 0 <= wait <= LONGEST
