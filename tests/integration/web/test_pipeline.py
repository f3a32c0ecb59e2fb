"""Browsers of all four push services over the whole pipeline, at a simulator that verifies who sends and decrypts what comes."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from producers import events as ev
from tests.integration.pipeline.harness import START, Pipeline, message, stamp, token
from worker.core.model import Provider
from worker.core.way import way_of
from worker.providers.web.client import WebClient
from worker.providers.web.endpoint import SERVICES, host_of
from worker.providers.web.settings import WebSettings
from worker.providers.web.vapid import new_key_pair
from worker.simulator import Answer, Rule, Script, SimulatorThread
from worker.simulator import WebSettings as SimulatorSettings
from worker.simulator.web.subscriptions import Wish, make

KEYS = new_key_pair()
NAMES = ("google", "mozilla", "apple", "microsoft")


@pytest.fixture
def simulator() -> Iterator[SimulatorThread]:
    with SimulatorThread(SimulatorSettings(seed=7, control_port=0)) as made:
        yield made


@pytest.fixture
def pipeline(postgres_url: str, redis_url: str, simulator: SimulatorThread) -> Iterator[Pipeline]:
    """The app `demo` with an APNs and a Web Push, somewhat behind the real time: push services look at their clocks."""
    made = Pipeline(postgres_url, redis_url)
    made.now = time.time() - 100
    there: dict[str, Any] = {"host": "127.0.0.1", "port": simulator.port, "ca": simulator.ca_pem}
    settings = WebSettings(
        "mailto:push@example.com", KEYS.public, KEYS.private, "https://chat.example.com/{channel}", **there
    )
    made.web = made.registry.save_provider(Provider(0, "demo", "web", "production", settings))  # type: ignore[attr-defined]
    made.clients["web"] = WebClient(unseal=made.registry.device_secrets.unseal, hosts=SERVICES)
    yield made
    made.clients["web"].close()
    made.close()


def now(pipeline: Pipeline) -> float:
    """Seconds since the harness's own time."""
    return pipeline.now - START.timestamp()


def publish(pipeline: Pipeline, text: str = "hello", id: str = "e1") -> None:
    pipeline.publish(message(text=text, id=id, seconds=now(pipeline)))


def subscription(service: str, number: int = 0, key: str | None = KEYS.public) -> dict[str, Any]:
    [made] = make(7, Wish(service, first=number, key=key))
    return made


def register(pipeline: Pipeline, browsers: dict[str, dict[str, Any]]) -> None:
    pipeline.publish(
        ev.MemberAdded(**stamp(now(pipeline)), channel=ev.ChannelId(id="general"), users=["leia", *browsers])
    )
    for user, one in browsers.items():
        keys = ev.SubscriptionKeys(**one["keys"])
        given = ev.Subscription(endpoint=one["endpoint"], keys=keys)
        pipeline.publish(
            ev.DeviceRegistered(**stamp(now(pipeline)), user=user, device=ev.Device(subscription=given, platform="web"))
        )


def active(pipeline: Pipeline) -> list[str]:
    with pipeline.pool.connection() as db:
        rows = db.execute("SELECT user_id FROM carillon.devices WHERE active ORDER BY user_id").fetchall()
    return [user for (user,) in rows]


def test_one_message_reaches_an_iphone_and_browsers_of_all_services(
    pipeline: Pipeline, simulator: SimulatorThread
) -> None:
    register(pipeline, {name: subscription(name, number) for number, name in enumerate(NAMES)})
    iphone = ev.Device(token=token("google"), platform="ios")
    pipeline.publish(ev.DeviceRegistered(**stamp(now(pipeline)), user="google", device=iphone))
    publish(pipeline)
    assert [one.token for one in pipeline.run()] == [token("google")]
    assert simulator.refused == []
    assert {entry.service for entry in simulator.accepted} == set(NAMES)
    for entry in simulator.accepted:
        shown = json.loads(entry.payload)
        assert shown["notification"]["body"] == "hello"
        assert shown["notification"]["navigate"] == "https://chat.example.com/general"
        assert shown["app_badge"] == 1
        assert entry.urgency == "high" and entry.ttl > 3_000
    assert pipeline.journal.counts("demo")["accepted"] == 5


def test_a_subscription_that_has_ended_is_retired_and_no_other(pipeline: Pipeline, simulator: SimulatorThread) -> None:
    browsers = {name: subscription(name, number) for number, name in enumerate(NAMES)}
    simulator.set_tokens(
        {one["endpoint"]: Answer("NotRegistered") for one in (browsers["google"], browsers["mozilla"])}
    )
    register(pipeline, browsers)
    publish(pipeline)
    pipeline.run()
    assert active(pipeline) == ["apple", "microsoft"]


def test_what_one_service_says_of_the_sender_stops_that_one_alone(
    pipeline: Pipeline, simulator: SimulatorThread
) -> None:
    browsers = {name: subscription(name, number) for number, name in enumerate(NAMES)}
    simulator.set_tokens({browsers["apple"]["endpoint"]: Answer("BadSubject")})
    register(pipeline, browsers)
    publish(pipeline)
    pipeline.run()
    assert {entry.service for entry in simulator.accepted} == {"google", "mozilla", "microsoft"}
    web: Provider = pipeline.web  # type: ignore[attr-defined]
    ways = {name: way_of(web.id, host_of(one["endpoint"])) for name, one in browsers.items()}
    stopped = {name: pipeline.breaker.stopped(way) for name, way in ways.items()}
    assert [name for name, found in stopped.items() if found] == ["apple"]
    assert active(pipeline) == sorted(NAMES)


def test_a_subscription_of_another_key_goes_where_most_are_well(pipeline: Pipeline, simulator: SimulatorThread) -> None:
    browsers = {f"new{n:02}": subscription("google", n) for n in range(25)}
    register(pipeline, browsers | {"old": subscription("google", 25, new_key_pair().public)})
    publish(pipeline)
    pipeline.run()
    assert len(simulator.accepted) == 25
    assert active(pipeline) == sorted([*browsers, "old"])
    pipeline.confirm()
    assert active(pipeline) == sorted(browsers)


@pytest.mark.parametrize("many", [pytest.param(n, id=f"{n} browsers") for n in (1, 3, 11)])
def test_a_push_service_that_calls_our_key_wrong_for_a_moment_costs_no_browser_and_no_push(
    pipeline: Pipeline, simulator: SimulatorThread, many: int
) -> None:
    browsers = {f"user{n:02}": subscription("google", n) for n in range(many)}
    register(pipeline, browsers)
    simulator.set_script(Script(rules=(Rule(answer=Answer("VapidKeyMismatch")),)))
    publish(pipeline)
    pipeline.run()
    simulator.set_script(Script())
    pipeline.confirm()
    assert active(pipeline) == sorted(browsers)
    assert len(simulator.accepted) == many


def test_a_wrong_key_of_ours_retires_nobody(pipeline: Pipeline, simulator: SimulatorThread) -> None:
    other = new_key_pair().public
    browsers = {f"user{n:02}": subscription("google", n, other) for n in range(30)}
    register(pipeline, browsers)
    publish(pipeline)
    pipeline.run()
    assert simulator.accepted == []
    assert active(pipeline) == sorted(browsers)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        pytest.param({"endpoint": "https://169.254.169.254/latest"}, "device.subscription.endpoint", id="an address"),
        pytest.param({"endpoint": "https://evil.example/a"}, "device.subscription.endpoint", id="another host"),
        pytest.param(
            {"endpoint": "https://fcm.googleapis.com/fcm/send/a…"}, "device.subscription.endpoint", id="cut off"
        ),
        pytest.param({"keys": {"p256dh": "BAAA", "auth": "AAAA"}}, "device.subscription.keys.p256dh", id="a short key"),
    ],
)
def test_a_hostile_or_broken_subscription_is_refused_by_its_field_and_stored_nowhere(
    pipeline: Pipeline, change: dict[str, Any], field: str
) -> None:
    register(pipeline, {"han": subscription("google") | change})
    pipeline.run()
    [letter] = pipeline.ledger.dead_letters()
    assert letter.letter.error.startswith(f"{field}: ")
    assert active(pipeline) == []


def test_a_badge_that_was_cleared_is_no_push_to_a_browser(pipeline: Pipeline, simulator: SimulatorThread) -> None:
    register(pipeline, {"han": subscription("google")})
    publish(pipeline)
    pipeline.run()
    pipeline.publish(ev.BadgeCleared(**stamp(now(pipeline)), user="han"))
    pipeline.run()
    assert len(simulator.accepted) == 1
    counts = pipeline.journal.counts("demo")
    assert counts["dropped.no_silent_push"] == 1
    assert active(pipeline) == ["han"]


def test_what_takes_a_notification_back_is_no_push_to_a_browser(pipeline: Pipeline, simulator: SimulatorThread) -> None:
    one = subscription("google")
    register(pipeline, {"han": one})
    given = ev.Subscription(endpoint=one["endpoint"], keys=ev.SubscriptionKeys(**one["keys"]))
    device = ev.Device(subscription=given, platform="web", accepts=["clear"])
    pipeline.publish(ev.DeviceRegistered(**stamp(now(pipeline)), user="han", device=device))
    publish(pipeline)
    pipeline.run()
    channel = ev.ChannelId(id="general")
    pipeline.publish(ev.ChannelRead(**stamp(now(pipeline)), user="han", channel=channel, unread=0))
    pipeline.run()
    while pipeline.ledger.flush(pipeline.journal):
        pass
    pipeline.publish(ev.MessageDeleted(**stamp(now(pipeline)), channel=channel, message=ev.MessageId(id="m-e1")))
    pipeline.take()
    pipeline.later(5)
    pipeline.run()
    assert len(simulator.accepted) == 1
    assert pipeline.journal.counts("demo").get("dropped", 0) == 0
