"""A device's outcomes in words."""

import pytest

from worker.core.breaker import Quota, Stopped
from worker.reports.delivery_report import Facts, Part, Tried, Via, delayed_in, device_line, headline, report
from worker.reports.words import instant

AT = 1_795_880_095.5
WHEN = "2026-11-28T15:34:55.500Z"
APNS, WEBHOOK = Via("apns", "key"), Via("hook", "webhook")
STOPPED = Via("apns", "key", Stopped("unreachable", AT))


@pytest.mark.parametrize(
    ("outcomes", "way", "following", "said"),
    [
        pytest.param([], APNS, None, "on its way", id="nothing yet"),
        pytest.param([], None, AT, f"waits until {WHEN}", id="put off before its first try"),
        pytest.param(
            [],
            STOPPED,
            AT,
            f"waits: its provider 'apns' is stopped since {WHEN} (unreachable)",
            id="held back from the start",
        ),
        pytest.param(["accepted"], APNS, None, f"accepted by APNs, {WHEN}", id="accepted"),
        pytest.param(["accepted"], WEBHOOK, None, f"accepted by its webhook, {WHEN}", id="by a webhook"),
        pytest.param(
            ["retired.gone"],
            WEBHOOK,
            None,
            f"refused by its webhook (gone); the device is retired, {WHEN}",
            id="refused",
        ),
        pytest.param(
            ["dropped.left"], APNS, None, f"given up: they had left the channel by then (left), {WHEN}", id="left"
        ),
        pytest.param(
            ["dropped.PayloadTooLarge"],
            APNS,
            None,
            f"given up (PayloadTooLarge); the device stays, {WHEN}",
            id="dropped",
        ),
        pytest.param(
            ["retry.Shutdown"], APNS, AT, f"refused for now (Shutdown), will be tried again at {WHEN}", id="tried again"
        ),
        pytest.param(
            ["limited.push_rate"], APNS, AT, f"waits for a rate of the app (push_rate) until {WHEN}", id="a rate"
        ),
        pytest.param(
            ["retry.connect: refused"],
            STOPPED,
            AT,
            f"waits: its provider 'apns' is stopped since {WHEN} (unreachable)",
            id="held back after a try",
        ),
        pytest.param(
            ["retry.status_429"],
            Via("web", "key", quota=Quota(AT, AT, "status_429"), origin="push.example"),
            AT,
            f"waits for the push type's quota until {WHEN} (status_429)",
            id="its origin is over a quota",
        ),
        pytest.param(
            [],
            Via("web", "key", Stopped("silent", AT), origin="push.example"),
            None,
            f"waits: push type push.example of its provider 'web' is stopped since {WHEN} (silent)",
            id="its origin is stopped",
        ),
        pytest.param(["parked.status_404"], APNS, None, "waits for its provider (status_404)", id="which flows by now"),
        pytest.param(
            [*["retry.connect: refused"] * 17, "retry.Shutdown", "accepted"],
            APNS,
            None,
            f"accepted by APNs, {WHEN}, after 18 earlier tries (connect: refused: 17 times, Shutdown)",
            id="many tries are counted",
        ),
    ],
)
def test_the_outcomes_of_a_device_are_one_line(
    outcomes: list[str], way: Via | None, following: float | None, said: str
) -> None:
    assert device_line([Tried(outcome, AT) for outcome in outcomes], way, following) == said


def test_the_parts_of_an_event_make_one_report_and_a_final_outcome_is_the_last() -> None:
    parts = [
        Part(
            "page:0",
            AT,
            {"considered": 3, "pushed": ["han"], "skipped": {"muted_sender": ["luke"]}, "rest": {"no_device": 1}},
        ),
        Part("batch:b", AT, {"accepted": [["han", 7]]}),
        Part("batch:a", AT, {"retry.Shutdown": [["han", 7]]}),
    ]
    made = report(parts)
    assert made.considered == 3
    assert [one.outcome for one in made.pushed["han"][7]] == ["retry.Shutdown", "accepted"]
    assert made.by_reason() == {"muted_sender": ["luke"]}
    assert made.counted == {"no_device": 1}


def test_who_is_delayed_is_decided_by_a_second_look() -> None:
    page = Part(
        "page:0", AT, {"considered": 1, "pushed": ["r2"], "delayed": ["han", "luke"], "until": AT, "present": "active"}
    )
    made = report([page])
    assert {user: of.words for user, of in made.only("han").delayed.items()} == {
        "han": f"delayed until {WHEN}, was active"
    }
    assert headline(Facts([page]), made) == "1 of 3 was to be notified: 3 waits"
    looked = Part("look:0.0", AT, {"considered": 2, "pushed": ["han"], "skipped": {"read": ["luke"]}})
    made = report([page, looked])
    assert (made.considered, made.delayed, made.skipped, sorted(made.pushed)) == (
        3,
        {},
        {"luke": "read"},
        ["han", "r2"],
    )


def test_a_time_is_written_as_a_clock_shows_it() -> None:
    assert instant(AT) == WHEN


def test_who_waits_to_be_shown_several_messages_in_one_is_delayed_until_then() -> None:
    account = {"delayed": ["han", "luke"], "until": 0, "present": "active", "folding": {"luke": 60}}
    assert {user: of.words for user, of in delayed_in(account).items()} == {
        "han": f"delayed until {instant(0)}, was active",
        "luke": f"delayed until {instant(60)}, to be one of several",
    }
