"""Every answer of APNs, and every way of getting none, has one outcome."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.backoff import LONGEST_DELAY
from worker.core.model import ACCEPTED, HELD_UP, Answer, NoAnswer, Response
from worker.core.outcome import (
    DELIVERED,
    IN_A_ROW,
    MAX_ATTEMPTS,
    Drop,
    OpenBreaker,
    Outcome,
    Retry,
    Unregister,
    guard,
    within_life,
)
from worker.providers.apns.outcome import decide_outcome
from worker.providers.apns.reasons import ACTIONS, Action, action_for

FACTS = Path(__file__).parent / "apns-errors.csv"
ROWS = list(csv.DictReader(FACTS.read_text(encoding="utf-8").splitlines()))
REGISTERED, SENT, EXPIRES = 1_000_000, 2_000_000, 2_000_000 + 3_600_000


def decide(response: Response, **changed: object) -> Outcome:
    facts: dict[str, object] = {"registered_at": REGISTERED, "sent_at": SENT, "attempt": 1}
    return decide_outcome(response, **(facts | changed))  # type: ignore[arg-type]


def ended(response: Response, *, attempt: int = 1, expires_at: int = EXPIRES) -> Outcome:
    outcome = decide(response, attempt=attempt)
    return within_life(outcome, now=SENT / 1000, attempt=attempt, expires_at=expires_at / 1000)


def test_the_table_holds_exactly_the_documented_answers() -> None:
    listed = {(int(r["status"]), r["reason"] or None): r["action"] for r in ROWS if r["status"] != "*"}
    assert {key: str(action) for key, action in ACTIONS.items()} == listed


@pytest.mark.parametrize("row", [r for r in ROWS if r["status"] == "*"], ids=lambda r: r["reason"])
def test_an_unlisted_answer_is_judged_by_its_status_class(row: dict[str, str]) -> None:
    status = 418 if "4xx" in row["reason"] else 599
    assert action_for(status, "NeverHeardOf") == row["action"]
    assert action_for(status, None) == row["action"]


DOCUMENTED = [pytest.param(r, id=f"{r['status']} {r['reason']}") for r in ROWS if r["status"] != "*"]

OUTCOMES: dict[str, Outcome] = {
    "SUCCESS": DELIVERED,
    "FIX_REQUEST": Drop("R", alarm=True),
    "DROP_ALARM": Drop("R", alarm=True),
    "DROP_SHRINK": Drop("R", alarm=True),
    "DELETE_CHANNEL_RECORD": Drop("R"),
    "FIX_CONFIG": OpenBreaker("R"),
    "DELETE_TOKEN_GUARDED": Unregister("R", not_after=SENT, guarded=True),
    "DELETE_TOKEN_IF_NOT_REREGISTERED": Unregister("R", not_after=SENT),
    "NEW_CONNECTION_RETRY": Retry(0.0, "R", "origin"),
    "REFRESH_JWT_NEW_CONNECTION_RETRY_ONCE": Retry(0.0, "R", "origin", refresh_token=True),
    "KEEP_JWT_DELAY_RECYCLE_CONNECTION": Retry(0.75, "R", "provider"),
    "RETRY_DELAY_THIS_TOKEN": Retry(0.75, "R", "device"),
    "RETRY_BACKOFF": Retry(0.75, "R", "provider"),
}


@pytest.mark.parametrize("row", DOCUMENTED)
def test_every_documented_answer_has_the_outcome_of_its_action(row: dict[str, str]) -> None:
    outcome = decide(Answer(int(row["status"]), row["reason"] or None))
    expected = OUTCOMES[row["action"]]
    of_channels = ("FeatureNotEnabled", "CannotCreateChannelConfig", "TopicMismatch")
    if row["reason"] in ("BadTopic", "MissingTopic", "TopicDisallowed", *of_channels):  # its other topics may work
        expected = OpenBreaker("R", "origin")
    assert type(outcome) is type(expected)
    assert repr(outcome) == repr(expected).replace("'R'", repr(row["reason"]))


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        pytest.param(Answer(410, None), Drop("status_410", alarm=True), id="410 with an unreadable body"),
        pytest.param(Answer(400, "Unregistered"), Drop("Unregistered", alarm=True), id="a reason under another status"),
        pytest.param(Answer(403, "Surprise"), Drop("Surprise", alarm=True), id="a new 4xx"),
        pytest.param(Answer(302, None), Drop("status_302", alarm=True), id="a redirect"),
        pytest.param(Answer(429, "Slower"), Retry(0.75, "Slower", "device"), id="a new 429"),
        pytest.param(Answer(502, None), Retry(0.75, "status_502", "provider"), id="a gateway without a body"),
    ],
)
def test_an_unlisted_answer_never_costs_a_token(answer: Answer, outcome: Outcome) -> None:
    assert decide(answer) == outcome


@pytest.mark.parametrize("reason", ["Unregistered", "ExpiredToken"])
@pytest.mark.parametrize(
    ("timestamp", "outcome"),
    [
        pytest.param(REGISTERED + 1, Unregister("?", REGISTERED + 1), id="answered after the registration"),
        pytest.param(REGISTERED, Unregister("?", REGISTERED), id="in the same millisecond"),
        pytest.param(REGISTERED - 1, Drop("reregistered", cause="?"), id="registered again since"),
        pytest.param(None, Unregister("?", SENT), id="no timestamp: the time of sending"),
    ],
)
def test_a_410_retires_only_what_was_registered_by_then(reason: str, timestamp: int | None, outcome: Outcome) -> None:
    assert repr(decide(Answer(410, reason, timestamp))) == repr(outcome).replace("?", reason)


@pytest.mark.parametrize("timestamp", [SENT + 1, 10**30])
def test_a_410_of_the_future_says_nothing_of_registrations_after_it(timestamp: int) -> None:
    assert decide(Answer(410, "Unregistered", timestamp)) == Unregister("Unregistered", SENT)


@pytest.mark.parametrize("timestamp", [-(10**30), -1, 0])
def test_a_410_with_an_absurd_time_is_one_without(timestamp: int) -> None:
    assert decide(Answer(410, "Unregistered", timestamp)) == Unregister("Unregistered", SENT)


def test_a_410_without_timestamp_spares_a_device_registered_after_the_sending() -> None:
    assert decide(Answer(410, "Unregistered"), registered_at=SENT + 1) == Drop("reregistered", cause="Unregistered")


@pytest.mark.parametrize(
    ("none", "outcome"),
    [
        pytest.param(
            NoAnswer("not_sent", "connect"),
            Retry(0.375, "connect", "origin", spends_attempt=False),
            id="not sent: soon, for nothing",
        ),
        pytest.param(
            NoAnswer("not_sent", "tls alert: certificate_expired"),
            OpenBreaker("tls alert: certificate_expired"),
            id="the server refuses our certificate",
        ),
        pytest.param(
            NoAnswer("not_sent", "tls alert: internal_error"),
            Retry(0.375, "tls alert: internal_error", spends_attempt=False, scope="origin"),
            id="the server has another trouble",
        ),
        pytest.param(
            NoAnswer("unwritable", "collapse id not allowed in a header"),
            Drop("collapse id not allowed in a header", alarm=True),
            id="unwritable: no try will be better",
        ),
        pytest.param(NoAnswer("unknown", "reset"), Retry(0.75, "reset", "origin"), id="unknown: costs a try"),
        pytest.param(
            NoAnswer("not_sent", "BadCertificateEnvironment"),
            OpenBreaker("BadCertificateEnvironment"),
            id="a GOAWAY that blames the certificate",
        ),
        pytest.param(
            NoAnswer("unknown", "Shutdown"),
            Retry(0.0, "Shutdown", "origin"),
            id="a GOAWAY because that server goes down",
        ),
        pytest.param(
            NoAnswer("unknown", "ExpiredProviderToken"),
            Retry(0.0, "ExpiredProviderToken", "origin", refresh_token=True),
            id="a GOAWAY that calls the provider token old",
        ),
        pytest.param(
            NoAnswer("unknown", "BadDeviceToken"),
            Retry(0.75, "BadDeviceToken", "origin"),
            id="a GOAWAY says nothing about one device",
        ),
    ],
)
def test_no_answer_is_tried_again_unless_the_provider_is_to_blame(none: NoAnswer, outcome: Outcome) -> None:
    assert decide(none) == outcome


def test_a_young_provider_token_called_expired_is_a_wrong_clock_and_opens_the_breaker() -> None:
    expired = Answer(403, "ExpiredProviderToken")
    assert decide(expired, token_age=20 * 60 - 1) == OpenBreaker("ExpiredProviderToken")
    assert decide(expired, token_age=20 * 60) == Retry(0.0, "ExpiredProviderToken", "origin", refresh_token=True)


def test_only_the_first_move_to_another_connection_is_at_once() -> None:
    shutdown = Answer(503, "Shutdown")
    assert decide(shutdown, attempt=1) == Retry(0.0, "Shutdown", "origin")
    assert decide(shutdown, attempt=2) == Retry(0.75, "Shutdown", "origin")


def test_a_device_s_cooldown_does_not_grow_with_one_notification_s_tries() -> None:
    """It grows with the device's own refusals in a row, which the store counts."""
    assert decide(Answer(429, "TooManyRequests"), attempt=5) == Retry(0.75, "TooManyRequests", "device")
    outcome = decide(Answer(429, "TooManyRequests", retry_after=300.0))
    assert outcome == Retry(300.0, "TooManyRequests", "device")


def test_what_never_was_sent_waits_longer_each_time_though_it_costs_no_try() -> None:
    delays = [decide(NoAnswer("not_sent", "connect"), unsent=n) for n in range(14)]
    waits = [d.delay for d in delays if isinstance(d, Retry) and not d.spends_attempt]
    assert waits == sorted(waits)
    assert len(waits) == 14
    assert waits[-1] == LONGEST_DELAY * 0.75


def test_what_waits_for_one_before_it_says_nothing_of_the_way_to_the_provider() -> None:
    assert decide(HELD_UP) == Retry(0.375, HELD_UP.cause, "notification", spends_attempt=False)


@pytest.mark.parametrize("what", ["topic", "provider token"])
def test_a_field_that_all_of_a_provider_s_requests_share_stops_the_provider(what: str) -> None:
    assert decide(NoAnswer("unwritable", f"{what} not allowed in a header")) == OpenBreaker(
        f"{what} not allowed in a header"
    )


def test_retry_after_is_a_least_delay() -> None:
    assert decide(Answer(503, "ServiceUnavailable", retry_after=120.0)) == Retry(
        120.0, "ServiceUnavailable", "provider"
    )
    assert decide(Answer(503, "ServiceUnavailable", retry_after=-5.0)) == Retry(0.75, "ServiceUnavailable", "provider")


@pytest.mark.parametrize(
    ("response", "cause"),
    [
        pytest.param(Answer(500, "InternalServerError"), "InternalServerError", id="after an answer"),
        pytest.param(NoAnswer("not_sent", "connect"), "connect", id="after none"),
    ],
)
def test_a_retry_that_would_be_due_after_the_expiry_is_a_drop(response: Response, cause: str) -> None:
    assert ended(response, expires_at=SENT + 100) == Drop("expired", cause=cause)


def test_the_number_of_tries_is_an_end() -> None:
    again = Answer(500, "InternalServerError")
    assert isinstance(ended(again, attempt=MAX_ATTEMPTS - 1), Retry)
    assert ended(again, attempt=MAX_ATTEMPTS) == Drop("too_many_attempts", cause="InternalServerError")


def test_a_try_that_reached_nobody_does_not_count_towards_the_end() -> None:
    assert isinstance(ended(NoAnswer("not_sent", "connect"), attempt=MAX_ATTEMPTS + 5), Retry)


def test_an_accepted_notification_is_delivered_however_late() -> None:
    assert ended(ACCEPTED, attempt=MAX_ATTEMPTS + 1, expires_at=0) is DELIVERED


@pytest.mark.parametrize(
    ("refused", "answered", "trips"),
    [
        pytest.param(19, 19, False, id="too few answers to judge"),
        pytest.param(20, 20, True, id="all of enough"),
        pytest.param(20, 100, False, id="exactly a fifth"),
        pytest.param(21, 100, True, id="above a fifth"),
        pytest.param(0, 0, False, id="nothing sent"),
    ],
)
def test_a_share_of_refused_tokens_above_a_fifth_blames_the_provider(refused: int, answered: int, trips: bool) -> None:
    assert guard(refused, answered) is trips


def test_refusals_in_a_row_blame_it_however_many_answers_before_were_good() -> None:
    assert guard(IN_A_ROW, 400, IN_A_ROW)
    assert not guard(IN_A_ROW - 1, 400, IN_A_ROW - 1)


@given(
    response=st.one_of(
        st.builds(
            Answer,
            st.integers(100, 599),
            st.one_of(st.none(), st.sampled_from([r["reason"] for r in ROWS]), st.text(max_size=5)),
            st.one_of(st.none(), st.integers(0, 2**53)),
            st.one_of(st.none(), st.floats(-10, 1e9)),
        ),
        st.builds(NoAnswer, st.sampled_from(["not_sent", "unknown"]), st.sampled_from([r["reason"] for r in ROWS])),
    ),
    attempt=st.integers(1, 50),
)
def test_only_the_listed_answers_about_a_token_can_retire_it(response: Response, attempt: int) -> None:
    outcome = ended(response, attempt=attempt)
    if isinstance(outcome, Unregister):
        assert isinstance(response, Answer)
        assert "DELETE_TOKEN" in action_for(response.status, response.reason)
    if isinstance(outcome, Retry):
        assert SENT + outcome.delay * 1000 < EXPIRES
    assert action_for(200, "anything") is Action.SUCCESS
