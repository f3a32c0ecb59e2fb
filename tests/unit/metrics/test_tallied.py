"""The shared counters as Prometheus gets them."""

from worker.core.named_apps import Side
from worker.core.tally import ANSWER_BOUNDS, Histogram, Tally
from worker.database.named_apps import Counted
from worker.metrics.tallied import metrics, word

NAMED = Side(True)


def samples(totals, *, sides=None, kinds=None) -> dict[tuple[str, ...], float]:
    given = Counted(totals, dict.fromkeys(totals, NAMED) if sides is None else sides)
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in metrics(given, {7: "apns", 8: "web"} if kinds is None else kinds)
        for sample in family.samples
    }


def test_counters_have_their_families_and_sums_of_others_are_left_out() -> None:
    app = {"messages": 2, "considered": 9, "pushed": 4, "skipped.sender": 5, "skipped_message.skip_push": 1, "jobs": 6}
    app |= {"events.taken.message.new": 3, "events.refused.user.muted": 1, "devices.registered": 2, "folded": 1}
    provider = {"accepted": 3, "dropped": 2, "dropped.expired": 2, "retired": 1, "retired.Unregistered": 1}
    provider |= {
        "retry": 4,
        "retry.connect: refused": 4,
        "parked": 1,
        "parked.silent": 1,
        "limited": 5,
        "limited.app": 5,
    }
    assert samples({"demo": {0: app, 7: provider}}) == {
        ("carillon_messages_expanded_total", "demo"): 2,
        ("carillon_members_total", "demo", "pushed", ""): 4,
        ("carillon_members_total", "demo", "skipped", "sender"): 5,
        ("carillon_messages_skipped_total", "demo", "skip_push"): 1,
        ("carillon_notifications_made_total", "demo"): 6,
        ("carillon_events_total", "demo", "message.new", "taken"): 3,
        ("carillon_events_total", "demo", "user.muted", "refused"): 1,
        ("carillon_device_changes_total", "demo", "registered"): 2,
        ("carillon_occurrences_total", "demo", "folded"): 1,
        ("carillon_notifications_total", "demo", "apns", "accepted", ""): 3,
        ("carillon_notifications_total", "demo", "apns", "dropped", "expired"): 2,
        ("carillon_notifications_total", "demo", "apns", "retired", "Unregistered"): 1,
        ("carillon_notification_retries_total", "demo", "apns", "connect"): 4,
        ("carillon_notifications_held_back_total", "demo", "apns", "silent"): 1,
        ("carillon_notifications_limited_total", "demo", "apns", "app"): 5,
    }


def test_apps_without_a_name_are_counted_together() -> None:
    totals = {"a": {0: {"jobs": 5.0}}, "b": {0: {"jobs": 3.0}}, "c": {0: {"jobs": 9.0}}, "": {0: {"jobs": 1.0}}}
    sides = {"a": NAMED, "b": Side(False), "": Side(False)}
    found = samples(totals, sides=sides)
    name = "carillon_notifications_made_total"
    assert found == {(name, "a"): 5, (name, "other"): 4}, "c has no side yet"


def test_histograms_are_classic_ones_of_all_apps_by_kind_and_lane() -> None:
    of = Histogram({}, 0.0)
    for seconds in (0.0004, 0.0095, 0.0096, 99.0):
        of.add(ANSWER_BOUNDS, seconds)
    named = Tally("t", 7, "urgent", {}, of).named()
    found = samples({"a": {7: named}, "b": {7: named, 9: named}}, sides={"a": NAMED, "b": Side(False)})
    name, labels = "carillon_provider_answer_seconds", ("apns", "urgent")
    assert found[f"{name}_bucket", *labels, "0.001"] == 2
    assert found[f"{name}_bucket", *labels, "0.0075"] == 2
    assert found[f"{name}_bucket", *labels, "0.01"] == 6
    assert found[f"{name}_bucket", *labels, "30.0"] == 6
    assert found[f"{name}_bucket", *labels, "+Inf"] == found[f"{name}_count", *labels] == 8
    assert round(found[f"{name}_sum", *labels], 3) == round(2 * 99.0195, 3)


def test_a_reason_is_a_word_or_other() -> None:
    assert [word(text) for text in ("BadDeviceToken", "status_404", "", "connect: refused by 10.0.0.1")] == [
        *("BadDeviceToken", "status_404", "", "connect"),
    ]
    assert [word(text) for text in ("Straße", "a" * 41, "a\nb", 'a"b', "eyJhbGciOi==")] == ["other"] * 5
