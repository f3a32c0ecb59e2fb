"""The reply to the author of a device event."""

from datetime import UTC, datetime

import pytest

from producers.errors import EventError
from worker.core.admission import over_rate
from worker.core.ownership import Superseded, instant, microseconds
from worker.core.refusal import Refusal, refusal_of
from worker.pipeline.registrations import answer

AT = datetime(2026, 11, 21, 20, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("refusal", "reply"),
    [
        pytest.param(
            refusal_of(EventError("device.token: must not be empty")),
            {"code": "refused", "field": "device.token", "error": "device.token: must not be empty"},
            id="a field is wrong",
        ),
        pytest.param(
            Refusal("cannot be stored: DataError"),
            {"code": "refused", "field": None, "error": "cannot be stored: DataError"},
            id="a bug of ours, which is in no field",
        ),
        pytest.param(
            over_rate("demo", 200, 10_000),
            {
                "code": "rate_limit",
                "field": None,
                "error": "rate limit: app 'demo' takes 200 registrations a second and 10,000 at once; try again later",
            },
            id="over the app's rate",
        ),
    ],
)
def test_the_reply_to_a_refusal_has_its_code_and_field(refusal, reply):
    assert answer(refusal) == {"ok": False} | reply


def test_what_is_newer_comes_before_any_refusal():
    newer = Superseded(microseconds(AT), "device: newer")
    assert answer(over_rate("demo", 1, 1), newer) == {
        "ok": False,
        "code": "superseded",
        "at": instant(microseconds(AT)),
        "error": "device: newer",
    }
