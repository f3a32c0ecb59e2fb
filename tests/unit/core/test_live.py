"""What is for this moment only is tried again sooner than a message."""

import pytest

from worker.core.batch import Sending
from worker.core.live import is_live, retried
from worker.core.outcome import Retry


@pytest.mark.parametrize(("tries", "delay"), [(1, 0.0), (2, 1.0), (3, 2.0), (4, 4.0), (5, 8.0), (6, 16.0), (9, 16.0)])
def test_the_first_retry_is_at_once(tries: int, delay: float) -> None:
    assert retried(Retry(60.0, "ServiceUnavailable", "provider"), tries).delay == delay


@pytest.mark.parametrize(
    "retry",
    [Retry(60.0, "TooManyRequests", "device"), Retry(60.0, "quota", "provider", cooldown=True)],
    ids=["its device", "a quota"],
)
def test_what_waits_for_something_else_waits_as_every_other(retry: Retry) -> None:
    assert retried(retry, 1) == retry


def test_a_provider_that_names_a_time_gets_it() -> None:
    assert retried(Retry(60.0, "busy", "provider"), 1, least=5.0).delay == 5.0


def test_a_message_of_such_a_kind_is_no_call() -> None:
    call = Sending("1-1", "e1", "{}", "", 1, "c", kind="call")
    message = Sending("1-1", "e1", "{}", "", 1, "c", kind="call", channel="general")
    assert (is_live(call), is_live(message)) == (True, False)
