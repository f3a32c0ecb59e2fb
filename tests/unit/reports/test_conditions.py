"""What needs somebody: each condition from the facts that make it, and none from a system that is well."""

from dataclasses import replace

import pytest

from worker.core.breaker import Quota, Stopped
from worker.providers.apns.kind import Apns
from worker.providers.webhook.kind import Webhook
from worker.reports.conditions import (
    MOST,
    AppFacts,
    Leader,
    Letters,
    ProviderFacts,
    RedisFacts,
    Snapshot,
    StreamFacts,
    Trimmed,
    WayFacts,
    find,
)

NOW = 1_795_880_095.0
DAY = 86_400
PROVIDER = ProviderFacts("chat", "apns", Apns.words)
WELL = Snapshot(
    NOW,
    apps=(AppFacts("chat"),),
    providers=(PROVIDER,),
    streams=(StreamFacts("carillon:events"),),
    redis=RedisFacts(1, 100),
    read_only=False,
    leader=Leader("host:7", NOW - 60, 4.0),
    letters=Letters(3),
    skews={"redis": 0.1, "postgres": -0.2},
)


def provider(**facts: object) -> Snapshot:
    return replace(WELL, providers=(replace(PROVIDER, **facts),))  # type: ignore[arg-type]


def stream(**facts: object) -> Snapshot:
    return replace(WELL, streams=(StreamFacts("carillon:events", **facts),))  # type: ignore[arg-type]


def stopped(reason: str, *, manual: bool = False) -> Snapshot:
    return provider(ways=[WayFacts("", Stopped(reason, NOW - 90, manual), waiting=7)])


PUSH_SERVICE = replace(PROVIDER, name="web", words=Apns.words._replace(origin="push service"))


def test_what_is_about_one_origin_names_it_in_words_and_stands_alone() -> None:
    ways = [
        WayFacts("a.example", Stopped("silent", NOW - 90), waiting=7),
        WayFacts("b.example", Stopped("silent", NOW - 30)),
    ]
    found = find(replace(WELL, providers=(replace(PUSH_SERVICE, ways=ways),)))
    assert [one.about for one in found] == [
        "provider chat/web, push service a.example",
        "provider chat/web, push service b.example",
    ]
    assert len({one.key for one in found}) == 2
    assert "7 batches wait" in found[0].text


@pytest.mark.parametrize(
    ("until", "said"),
    [
        pytest.param(NOW + 60, "nothing goes there until 2026-11-28T15:35:55.000Z", id="nothing goes"),
        pytest.param(NOW - 1, "it begins again, slowly", id="just over"),
    ],
)
def test_a_quota_is_a_warning_with_its_time_and_needs_nobody(until: float, said: str) -> None:
    way = WayFacts("", quota=Quota(NOW - 40, until, "status_429"), waiting=3)
    [one] = find(replace(WELL, providers=(replace(PUSH_SERVICE, ways=[way]),)))
    assert (one.name, one.severity, one.since, one.until) == ("provider_over_quota", "warning", NOW - 40, until)
    assert one.text.startswith("over its quota for 40 s (status_429); 3 batches wait: ")
    assert said in one.text and "--provider-rate" in one.text


@pytest.mark.parametrize(
    ("snapshot", "name", "severity", "said"),
    [
        pytest.param(
            stopped("InvalidProviderToken"),
            "provider_stopped",
            "error",
            "its answers say that something is wrong with it (InvalidProviderToken); 7 batches wait: check this machine's clock",
            id="stopped by its answers",
        ),
        pytest.param(
            stopped("new key", manual=True),
            "provider_paused",
            "error",
            "paused by hand for 90 s: new key; 7 batches wait: carillon provider resume apns --app chat",
            id="paused",
        ),
        pytest.param(stopped("unreachable"), "provider_unreachable", "error", "cannot be reached", id="unreachable"),
        pytest.param(
            stopped("unreachable: connect"), "provider_unreachable", "error", "(unreachable: connect)", id="and how"
        ),
        pytest.param(stopped("silent"), "provider_silent", "error", "does not answer", id="silent"),
        pytest.param(stopped("unusable_credential"), "credential_unusable", "error", "store it again", id="unusable"),
        pytest.param(
            provider(words=Webhook.words, ways=[WayFacts("", Stopped("status_404", NOW))]),
            "provider_stopped",
            "error",
            "correct what is behind its URL",
            id="a webhook has no key and no topic",
        ),
        pytest.param(
            provider(ends=NOW - 3 * DAY), "credential_ended", "error", "ended 3 days ago", id="certificate ended"
        ),
        pytest.param(
            provider(ends=NOW + 9 * DAY), "credential_ending", "warning", "good for 9 days only", id="ends soon"
        ),
        pytest.param(
            provider(unreadable_by="w2"), "credential_unreadable", "error", "worker on w2", id="a worker's keys"
        ),
        pytest.param(
            replace(WELL, devices_unreadable_by="w2"),
            "device_secret_unreadable",
            "error",
            "worker on w2",
            id="of devices",
        ),
        pytest.param(provider(readable=False), "credential_unreadable", "error", "CARILLON_SECRET_KEYS", id="our keys"),
        pytest.param(replace(WELL, providers=()), "app_without_provider", "warning", "--app chat", id="no provider"),
        pytest.param(
            replace(WELL, apps=(AppFacts("chat", push_enabled=False, traffic=True),)),
            "app_switched_off",
            "warning",
            "pushes are off, and messages come",
            id="off with traffic",
        ),
        pytest.param(stream(oldest=61.0, waiting=5), "intake_not_moving", "error", "5 entries wait", id="intake stuck"),
        pytest.param(
            replace(WELL, leader=Leader("host:7", NOW - 60, -19.0)),
            "no_leader",
            "error",
            "host:7 did until 19 s ago",
            id="no leader",
        ),
        pytest.param(
            replace(stream(oldest=1.0), leader=Leader("", 0, -1e9)),
            "no_leader",
            "error",
            "nobody ever did",
            id="no leader yet",
        ),
        pytest.param(stream(ahead=3600.0), "stream_ahead_of_clock", "warning", "3,600 s ahead", id="ids ahead"),
        pytest.param(
            replace(WELL, trimmed=(Trimmed("carillon:events:chat", "chat", 280, NOW - 60),)),
            "entries_trimmed",
            "error",
            "280 entries",
            id="trimmed",
        ),
        pytest.param(replace(WELL, read_only=True), "postgres_read_only", "error", "name the primary", id="a replica"),
        pytest.param(replace(WELL, redis=RedisFacts(70, 100)), "redis_filling", "warning", "70 %", id="filling"),
        pytest.param(replace(WELL, redis=RedisFacts(80, 100)), "redis_filling", "error", "are refused:", id="full"),
        pytest.param(
            replace(WELL, redis=RedisFacts(1, 100, "allkeys-lru")),
            "redis_eviction",
            "error",
            "noeviction",
            id="evicting",
        ),
        pytest.param(
            replace(WELL, redis=RedisFacts(append_only=False)),
            "redis_persistence",
            "warning",
            "appendonly yes",
            id="no AOF",
        ),
        pytest.param(replace(WELL, skews={"redis": 9.0}), "clock_of_redis", "warning", "9.0 s ahead", id="a clock"),
        pytest.param(
            replace(WELL, letters=Letters(9, 2, "chat", "at: …")),
            "dead_letters",
            "warning",
            "9 in all, 2 of them in the last hour: carillon dead-letters list, most of them of app chat: at: …",
            id="dead letters",
        ),
    ],
)
def test_what_needs_somebody_is_found_and_nothing_else(snapshot: Snapshot, name: str, severity: str, said: str) -> None:
    [found] = find(snapshot)
    assert (found.name, found.severity) == (name, severity)
    assert said in found.text


@pytest.mark.parametrize(
    "snapshot",
    [
        pytest.param(WELL, id="all is well"),
        pytest.param(Snapshot(NOW), id="nothing could be read"),
        pytest.param(stream(oldest=3.0, waiting=5, still=9000.0), id="a first entry after a long silence"),
        pytest.param(stream(oldest=3000.0, waiting=5, still=0.5), id="a backlog that is taken"),
        pytest.param(replace(WELL, leader=Leader("", 0, -1e9)), id="a system that was just made"),
        pytest.param(replace(WELL, leader=Leader("host:7", NOW - 60, -2.0)), id="a worker that takes over"),
        pytest.param(
            replace(WELL, trimmed=(Trimmed("carillon:events", None, 3, NOW - 2 * DAY),)), id="what was trimmed long ago"
        ),
        pytest.param(replace(WELL, apps=(AppFacts("chat", push_enabled=False),)), id="an app that is off and silent"),
        pytest.param(replace(WELL, redis=RedisFacts(1, 0, "allkeys-lru")), id="a policy without a limit"),
        pytest.param(provider(ends=NOW + 31 * DAY, readable=True), id="a certificate that is good"),
    ],
)
def test_nothing_is_made_up(snapshot: Snapshot) -> None:
    assert find(snapshot) == []


def test_a_worker_that_cannot_decrypt_says_why_its_provider_is_stopped() -> None:
    [found] = find(provider(ways=[WayFacts("", Stopped("unusable_credential", NOW))], unreadable_by="w2"))
    assert found.name == "credential_unreadable"


def test_thousands_of_the_same_are_counted() -> None:
    found = find(replace(WELL, apps=tuple(AppFacts(f"a{n}") for n in range(10_000)), providers=(PROVIDER,)))
    assert len(found) == MOST + 1
    assert "9,950 more" in found[-1].text


def test_errors_come_first_and_names_are_quoted_for_a_shell() -> None:
    app, name = "o'app", "a b"
    one = ProviderFacts(app, name, Apns.words, [WayFacts("", Stopped("x", NOW, manual=True))])
    found = find(replace(WELL, apps=(AppFacts(app), AppFacts("none")), providers=(one,)))
    assert [c.severity for c in found] == ["error", "warning"]
    assert """carillon provider resume 'a b' --app 'o'"'"'app'""" in found[0].text
    assert found[0].about == "provider o'app/a b"
