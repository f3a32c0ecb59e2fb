"""Lines that an outage would repeat."""

import logging

import pytest

from config.seldom import SECONDS, Seldom


def test_a_line_is_logged_once_in_a_while_with_the_number_of_those_left_out(caplog: pytest.LogCaptureFixture) -> None:
    now = [1000.0]
    seldom = Seldom(logging.getLogger("worker.tests"), clock=lambda: now[0])
    for _ in range(4):
        seldom.warning("put off, %s is away", "redis", extra={"task": "tick"})
    seldom.warning("put off, %s is away", "redis", about="another")
    now[0] += SECONDS
    seldom.warning("put off, %s is away", "redis")
    text = "put off, redis is away"
    assert [(one.getMessage(), vars(one).get("more")) for one in caplog.records] == [
        (text, None),
        (text, None),
        (text, 3),
    ]
    assert vars(caplog.records[0])["task"] == "tick"
    assert caplog.records[0].funcName == "test_a_line_is_logged_once_in_a_while_with_the_number_of_those_left_out"


def test_another_exception_is_another_line_and_has_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    seldom = Seldom(logging.getLogger("worker.tests"))
    for fault in (ValueError("a"), ValueError("b"), KeyError("c")):
        try:
            raise fault
        except (ValueError, KeyError):
            seldom.exception("tick failed")
    assert [one.exc_info and one.exc_info[0] for one in caplog.records] == [ValueError, KeyError]
