"""What needs somebody: each condition from the facts that make it, and none from a system that is well."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from worker.core.breaker import Quota, Stopped
from worker.providers.apns.kind import Apns
from worker.providers.webhook.kind import Webhook
from worker.reports import conditions
from worker.reports.conditions import MOST, NAMES, facts, find
from worker.reports.snapshot import (
    AppFacts,
    LaneFacts,
    Leader,
    Letters,
    OutboxFacts,
    ProviderFacts,
    RedisFacts,
    Snapshot,
    StreamFacts,
    Trimmed,
    WayFacts,
    WorkerFacts,
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
    leaders=[Leader("host:7", NOW - 60, 4.0)],
    letters=Letters(3),
    skews={"redis": 0.1, "postgres": -0.2},
    lanes=(LaneFacts("urgent"), LaneFacts("bulk")),
    workers=(WorkerFacts("a@w1", ("urgent",), 2.0), WorkerFacts("b@w1", ("bulk",), 2.0)),
    beat=True,
    outbox=OutboxFacts(),
    host="w1",
)


def provider(**facts: object) -> Snapshot:
    return replace(WELL, providers=(replace(PROVIDER, **facts),))  # type: ignore[arg-type]


def stream(**facts: object) -> Snapshot:
    return replace(WELL, streams=(StreamFacts("carillon:events", **facts),))  # type: ignore[arg-type]


def stopped(reason: str, *, manual: bool = False, loss: float | None = None) -> Snapshot:
    return provider(ways=[WayFacts("", Stopped(reason, NOW - 90, manual), waiting=7, first_loss=loss)])


def lane(oldest: float, app: str | None = None, *, worked: bool = True) -> Snapshot:
    workers = WELL.workers if worked else (WELL.workers or ())[:1]
    return replace(WELL, lanes=(LaneFacts("bulk", 40_112, 3, oldest, app),), workers=workers)


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
    assert found[0].waiting == 7


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
    assert one.text.startswith("it is over its quota (status_429), and goes on by itself: it needs nobody")
    assert one.figures == said and one.waiting == 3 and "--provider-rate" in one.text


@pytest.mark.parametrize(
    ("snapshot", "name", "severity", "said"),
    [
        pytest.param(
            stopped("InvalidProviderToken"),
            "provider_stopped",
            "critical",
            "its answers say that something is wrong with it (InvalidProviderToken), and its pushes are held back: check this",
            id="stopped by its answers",
        ),
        pytest.param(
            stopped("new key", manual=True, loss=NOW + 700),
            "provider_paused",
            "warning",
            "paused by hand (new key), and its pushes are held back: let it flow again: carillon provider resume apns --app chat",
            id="paused",
        ),
        pytest.param(
            stopped("new key", manual=True, loss=NOW + 590),
            "provider_paused",
            "critical",
            "paused by hand (new key)",
            id="paused, and the first loss is ten minutes away",
        ),
        pytest.param(stopped("unreachable"), "provider_unreachable", "critical", "cannot be reached", id="unreachable"),
        pytest.param(
            stopped("unreachable: connect"), "provider_unreachable", "critical", "(unreachable: connect)", id="and how"
        ),
        pytest.param(stopped("silent"), "provider_silent", "critical", "does not answer", id="silent"),
        pytest.param(
            stopped("unusable_credential"), "credential_unusable", "critical", "store it again", id="unusable"
        ),
        pytest.param(
            provider(words=Webhook.words, ways=[WayFacts("", Stopped("status_404", NOW))]),
            "provider_stopped",
            "critical",
            "correct what is behind its URL",
            id="a webhook has no key and no topic",
        ),
        pytest.param(
            provider(ends=NOW - 3 * DAY),
            "credential_ended",
            "critical",
            "ended at 2026-11-25T15:34:55Z",
            id="certificate ended",
        ),
        pytest.param(
            provider(ends=NOW + 9 * DAY), "credential_ending", "warning", "ends at 2026-12-07T15:34:55Z", id="ends soon"
        ),
        pytest.param(
            provider(ends=NOW + 2 * DAY),
            "credential_ending",
            "critical",
            "ends at 2026-11-30T15:34:55Z",
            id="within days",
        ),
        pytest.param(
            provider(unreadable_by="w2"), "credential_unreadable", "critical", "worker on w2", id="a worker's keys"
        ),
        pytest.param(
            replace(WELL, devices_unreadable_by="w2"),
            "device_secret_unreadable",
            "critical",
            "worker on w2",
            id="of devices",
        ),
        pytest.param(
            provider(readable=False), "credential_unreadable", "critical", "CARILLON_SECRET_KEYS", id="our keys"
        ),
        pytest.param(replace(WELL, providers=()), "app_without_provider", "warning", "--app chat", id="no provider"),
        pytest.param(
            replace(WELL, apps=(AppFacts("chat", push_enabled=False, traffic=True),)),
            "app_switched_off",
            "warning",
            "switch them on: carillon app set chat --push",
            id="off with traffic",
        ),
        pytest.param(
            stream(oldest=61.0, waiting=5),
            "intake_not_moving",
            "critical",
            "entries wait on carillon:events, and none is taken",
            id="intake stuck",
        ),
        pytest.param(
            replace(WELL, leaders=[Leader("host:7", NOW - 60, -19.0)]),
            "no_leader",
            "critical",
            "host:7 was the last",
            id="no leader",
        ),
        pytest.param(
            replace(stream(oldest=1.0), leaders=[Leader("", 0, -1e9)]),
            "no_leader",
            "critical",
            "nobody ever did",
            id="no leader yet",
        ),
        pytest.param(
            stream(ahead=3600.0), "stream_ahead_of_clock", "warning", "is ahead of Redis' clock", id="ids ahead"
        ),
        pytest.param(
            replace(WELL, trimmed=(Trimmed("carillon:events:chat", "chat", 280, NOW - 60),)),
            "entries_trimmed",
            "critical",
            "entries of carillon:events:chat were gone before they were done",
            id="trimmed",
        ),
        pytest.param(
            replace(WELL, read_only=True), "postgres_read_only", "critical", "name the primary", id="a replica"
        ),
        pytest.param(
            replace(WELL, redis=RedisFacts(70, 100)),
            "redis_filling",
            "warning",
            "are refused from 80 % on",
            id="filling",
        ),
        pytest.param(replace(WELL, redis=RedisFacts(80, 100)), "redis_filling", "critical", "are refused:", id="full"),
        pytest.param(
            replace(WELL, redis=RedisFacts(1, 100, "allkeys-lru")),
            "redis_eviction",
            "critical",
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
        pytest.param(
            replace(WELL, redis=RedisFacts(replicas=2)),
            "redis_replicas",
            "warning",
            "min-replicas-to-write 1",
            id="replicas that no write needs",
        ),
        pytest.param(
            replace(WELL, skews={"redis": 9.0}), "clock_of_redis", "warning", "ahead of this machine's", id="a clock"
        ),
        pytest.param(
            replace(WELL, skews={"redis": 71.0, "postgres": 71.2}),
            "clock_of_worker",
            "critical",
            "the clock of w1 is behind that of the engines",
            id="our own clock",
        ),
        pytest.param(
            replace(WELL, workers=(*(WELL.workers or ()), WorkerFacts("c@w2", ("bulk",), 1.0, -9.0))),
            "clock_of_worker",
            "warning",
            "the clock of w2 is behind that of Redis",
            id="the clock of a worker",
        ),
        pytest.param(
            replace(WELL, letters=Letters(9, 2, "chat", "at: …", messages=199)),
            "dead_letters",
            "warning",
            "carillon dead-letters list",
            id="dead letters",
        ),
        pytest.param(
            replace(WELL, letters=Letters(9, 2, "chat", "at: …", messages=200)),
            "dead_letters",
            "notice",
            "carillon dead-letters list",
            id="few dead letters",
        ),
        pytest.param(
            replace(WELL, late={"digests": 300.0, "reminders": 299.0}),
            "due_late",
            "warning",
            "digests are late",
            id="digests that are late",
        ),
        pytest.param(lane(61.0), "backlog_old", "warning", "work of the bulk lane waits too long", id="a backlog"),
        pytest.param(
            lane(301.0, "chat"), "backlog_old", "critical", "all of it is of app chat", id="a backlog of an app"
        ),
        pytest.param(
            stream(oldest=3000.0, waiting=5, still=0.5),
            "backlog_old",
            "critical",
            "wait too long",
            id="a stream taken late",
        ),
        pytest.param(
            lane(16.0, worked=False), "no_workers", "critical", "start carillon worker --lane bulk", id="no worker"
        ),
        pytest.param(
            replace(lane(16.0), workers=(WorkerFacts("b@w1", ("bulk",), 16.0),)),
            "no_workers",
            "critical",
            "no worker of the bulk lane",
            id="a worker that is silent",
        ),
        pytest.param(
            replace(WELL, unapplied=["0022_incidents"]), "schema_behind", "critical", "carillon migrate", id="schema"
        ),
        pytest.param(
            replace(WELL, workers=[WorkerFacts("a@b", ["urgent"], broker="Connection refused"), WorkerFacts("c@d")]),
            "broker_away",
            "critical",
            "look at its server and at CARILLON_BROKER_URL; everything goes on once it is back",
            id="broker",
        ),
        pytest.param(replace(WELL, beat=False), "beat_away", "notice", "start or restart carillon beat", id="beat"),
        pytest.param(
            replace(WELL, outbox=OutboxFacts(7, 61.0)), "outbox_behind", "warning", "outbox relay", id="outbox"
        ),
        pytest.param(replace(WELL, redis_fault="refused"), "redis_away", "critical", "(refused)", id="Redis away"),
        pytest.param(
            replace(WELL, fleet_fault="frozen"),
            "redis_away",
            "critical",
            "looks for conditions alone (frozen)",
            id="the fleet's server away",
        ),
        pytest.param(
            replace(WELL, postgres_fault="refused"), "postgres_away", "critical", "(refused)", id="Postgres away"
        ),
        pytest.param(
            replace(WELL, silent={3: "no answer within 1 s", 1: "refused"}),
            "partition_away",
            "critical",
            "the server of partitions 1, 3 does not answer, so nothing of the apps there is published and sent (refused)",
            id="partitions away",
        ),
        pytest.param(
            replace(WELL, silent={2: "refused"}),
            "partition_away",
            "critical",
            "of partition 2 does",
            id="partition away",
        ),
        pytest.param(replace(WELL, unwatched=41.0), "not_watched", "critical", "no process looks", id="nobody looks"),
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
        pytest.param(stream(oldest=59.0, waiting=5, still=0.5), id="a backlog that is taken"),
        pytest.param(lane(59.0), id="work that waits for a worker"),
        pytest.param(lane(14.0, worked=False), id="work for a worker that begins"),
        pytest.param(replace(WELL, outbox=OutboxFacts(900, 59.0)), id="an outbox that is read"),
        pytest.param(replace(WELL, leaders=[Leader("", 0, -1e9)]), id="a system that was just made"),
        pytest.param(replace(WELL, leaders=[Leader("host:7", NOW - 60, -2.0)]), id="a worker that takes over"),
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
    assert found[-1].figures == "9,950 more"


def test_the_worst_come_first_and_names_are_quoted_for_a_shell() -> None:
    app, name = "o'app", "a b"
    one = ProviderFacts(app, name, Apns.words, [WayFacts("", Stopped("x", NOW, manual=True), first_loss=NOW)])
    found = find(replace(WELL, apps=(AppFacts(app), AppFacts("none")), providers=(one,), beat=False))
    assert [c.severity for c in found] == ["critical", "warning", "notice"]
    assert """carillon provider resume 'a b' --app 'o'"'"'app'""" in found[0].text
    assert found[0].about == "provider o'app/a b"


def spread(home_oldest: float | None, leader: Leader, **channel: Any) -> Snapshot:
    """A spread app whose home is partition 1, with a channel in partition 0."""
    there = StreamFacts("carillon:{p0}:events:chat", "chat", oldest=30.0, still=30.0, partition=0, home=1)
    home = StreamFacts("carillon:{p1}:events:chat", "chat", oldest=home_oldest, still=home_oldest, partition=1)
    leaders = [Leader("host:7", NOW - 60, 4.0, partition=0), leader]
    return replace(WELL, streams=(replace(there, **channel), home), leaders=leaders)


LED = Leader("host:8", NOW - 60, 4.0, partition=1)


@pytest.mark.parametrize(
    ("snapshot", "names"),
    [
        pytest.param(spread(5.0, LED), ["home_behind"], id="the home is slow"),
        pytest.param(spread(30.0, LED), ["home_behind", "intake_not_moving"], id="the home stands still"),
        pytest.param(spread(None, replace(LED, left=-60.0)), ["home_behind", "no_leader"], id="nobody leads it"),
        pytest.param(spread(None, LED), ["intake_not_moving"], id="it is not the home"),
        pytest.param(spread(5.0, LED, oldest=5.0), [], id="not for long"),
        pytest.param(spread(5.0, LED, still=1.0), [], id="it moves"),
    ],
)
def test_messages_that_wait_for_their_app_s_home_name_it(snapshot: Snapshot, names: list[str]) -> None:
    found = find(snapshot)
    assert sorted(one.name for one in found) == names
    for one in found:
        if one.name == "home_behind":
            assert (one.app, one.place) == ("chat", "partition 0")
            assert "partition 1, its home," in one.text


def test_every_name_is_listed_and_explained() -> None:
    source = Path(conditions.__file__).read_text()
    made = set(re.findall(r'Condition\(\s*"(\w+)"', source)) | set(re.findall(r'_of\(\s*one, "(\w+)"', source))
    made |= {name for name, _ in conditions._OF_REASON.values()} | {
        "provider_paused",
        "clock_of_redis",
        "clock_of_postgres",
    }
    assert made | {"clock_of_worker"} == set(NAMES)
    page = (Path(__file__).parents[3] / "docs" / "reference" / "conditions.md").read_text()
    cells = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    assert sorted(re.findall(r"`(\w+)`", " ".join(cells))) == sorted(NAMES)


STUCK = stream(oldest=400.0, waiting=5)


@pytest.mark.parametrize(
    ("cause", "name"),
    [
        pytest.param({"read_only": True}, "postgres_read_only", id="Postgres is read-only"),
        pytest.param({"postgres_fault": "refused"}, "postgres_away", id="Postgres is away"),
        pytest.param({"redis_fault": "refused"}, "redis_away", id="Redis is away"),
        pytest.param({"redis": RedisFacts(100, 100)}, "redis_filling", id="Redis is full"),
    ],
)
def test_what_only_follows_from_an_engine_is_left_out(cause: dict[str, object], name: str) -> None:
    stuck = replace(STUCK, lanes=lane(400.0).lanes, leaders=[Leader("host:7", NOW - 60, -19.0)], workers=())
    assert {one.name for one in find(stuck)} == {"no_leader", "no_workers"}
    assert [one.name for one in find(replace(stuck, **cause))] == [name]  # type: ignore[arg-type]


def test_that_no_tick_of_beat_arrives_follows_from_a_full_redis() -> None:
    assert [one.name for one in find(replace(WELL, beat=False))] == ["beat_away"]
    assert [one.name for one in find(replace(WELL, beat=False, redis=RedisFacts(100, 100)))] == ["redis_filling"]


def test_a_certificate_that_ended_and_stopped_its_provider_is_one_condition() -> None:
    [one] = find(provider(ends=NOW - 60, ways=[WayFacts("", Stopped("certificate_expired", NOW - 50), waiting=7)]))
    assert (one.name, one.waiting, one.since) == ("credential_ended", 7, NOW - 50)


def test_the_sentence_stays_and_the_facts_change() -> None:
    [before] = find(replace(stopped("silent", loss=NOW + 3600)))
    [after] = find(replace(stopped("silent", loss=NOW - 60), now=NOW + 3600))
    assert before.text == after.text and before.key == after.key
    assert facts(before, NOW) == (
        "since 2026-11-28T15:33:25Z, for 1 min 30 s; 7 notifications wait; the first is lost at 2026-11-28T16:34:55Z"
    )
    assert facts(after, NOW + 3600).endswith(
        "for 1 h 01 min; 7 notifications wait; some are lost since 2026-11-28T15:33:55Z"
    )
