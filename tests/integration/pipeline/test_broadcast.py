"""Broadcast channels: one request for all phones that follow a channel, to a simulator of Apple's over TLS."""

import dataclasses
import time
from collections.abc import Iterator
from typing import Any, cast

import msgspec
import pytest

from producers import events as ev
from producers.errors import EventError
from tests.integration.pipeline.harness import KEY, Pipeline
from tests.integration.pipeline.test_activities import update
from worker.core.activities import LIFE
from worker.core.model import Provider
from worker.core.way import way_of
from worker.providers.apns.client import ApnsClient
from worker.providers.apns.sender import ApnsSender
from worker.providers.apns.settings import Key, manager_of
from worker.providers.apns.token import mint
from worker.reports.delivery_report import people
from worker.reports.looking_up import look_up
from worker.simulator import Answer, Script, Settings, SimulatorThread

TOPIC = "io.carillon.demo"


class Tokens:
    """One token by the simulator's clock, as a fleet has."""

    def __init__(self) -> None:
        self._token = mint("T", "K", KEY, time.time())

    def current(self, key: Key, now: float) -> str:
        return self._token


class Apple:
    """A simulator, where the pipeline's provider is."""

    def __init__(self, pipeline: Pipeline, simulator: SimulatorThread, client: ApnsClient) -> None:
        self.pipeline, self.simulator, self.client = pipeline, simulator, client

    def channel(self, *, stored: bool = False) -> str:
        provider: Provider = self.pipeline.provider
        channels = self.client.channels(provider, manager_of(provider, None, None), now=time.time(), timeout=5)
        return channels.create(stored=stored)

    def run(self, *events: ev.AnyEvent) -> list[Any]:
        """What the simulator accepted of them."""
        before = len(self.simulator.accepted)
        self.pipeline.publish(*events)
        self.pipeline.run()
        return self.simulator.accepted[before:]

    def words(self, event: str) -> list[tuple[str, str]]:
        """Whom `carillon why` names, and what it says of them."""
        self.pipeline.account(event)
        facts, made = look_up(self.pipeline.keyspace, self.pipeline.pool, "demo", event)
        return [(one.user, one.reason or one.devices[0][2].partition(",")[0]) for one in people(facts, made)]


@pytest.fixture(params=["http2", "httpx"])
def transport(request: pytest.FixtureRequest) -> str:
    return cast("str", request.param)


@pytest.fixture
def apple(pipeline: Pipeline, transport: str) -> Iterator[Apple]:
    with SimulatorThread(Settings(topics=(TOPIC,), control_port=None)) as simulator:
        there = dataclasses.replace(
            pipeline.provider.settings, host="localhost", port=simulator.port, ca=simulator.ca_pem
        )
        pipeline.provider = pipeline.registry.save_provider(dataclasses.replace(pipeline.provider, settings=there))
        sender = ApnsSender(transport=cast("Any", transport))
        pipeline.clients["apns"] = client = ApnsClient(sender, cast("Any", Tokens()))
        yield Apple(pipeline, simulator, client)
        sender.close()


only_http2 = pytest.mark.parametrize("transport", ["http2"], indirect=True)


def to_channel(channel: str, id: str = "e1", at: float = 0.0, **fields: Any) -> ev.ActivityUpdated:
    return update(id, at, user=None, channel=channel, **fields)


def test_an_update_is_one_request_to_its_channel(apple: Apple) -> None:
    channel = apple.channel()
    [sent] = apple.run(to_channel(channel, state={"home": 1}, urgent=True))
    assert (sent.token, sent.topic, sent.push_type) == (channel, TOPIC, "liveactivity")
    assert (sent.priority, sent.expiration) == (10, 0)
    assert msgspec.json.decode(sent.payload)["aps"]["content-state"] == {"home": 1}
    assert apple.words("e1") == [(f"broadcast {channel}", "accepted by broadcast")]


@only_http2
def test_an_update_to_a_channel_that_stores_ends_when_the_update_does(apple: Apple) -> None:
    event = to_channel(apple.channel(stored=True), stored=True)
    [sent] = apple.run(event)
    assert (sent.priority, sent.expiration) == (5, int(event.at.timestamp()) + LIFE)


@only_http2
def test_of_the_updates_of_a_channel_that_wait_the_newest_is_sent(apple: Apple) -> None:
    one, other = apple.channel(), apple.channel()
    updates = [to_channel(one, f"e{n}", n / 10, state={"n": n}) for n in (1, 2, 3)]
    sent = apple.run(*updates, to_channel(other, "e4", 0.0, state={"n": 4}))
    found = {one.token: msgspec.json.decode(one.payload)["aps"]["content-state"]["n"] for one in sent}
    assert (len(sent), found) == (2, {one: 3, other: 4})
    assert "a newer update of the activity took its place" in apple.words("e1")[0][1]
    assert apple.run(to_channel(one, "e5", 0.2)) == []
    assert apple.words("e5") == [(f"broadcast {one}", "superseded")]


@only_http2
def test_what_apple_cannot_take_now_is_sent_again(apple: Apple) -> None:
    channel = apple.channel()
    apple.simulator.set_tokens({channel: Answer("ServiceUnavailable")})
    assert apple.run(to_channel(channel)) == []
    assert "refused for now (ServiceUnavailable)" in apple.words("e1")[0][1]
    apple.simulator.set_script(Script())
    apple.pipeline.later()
    [sent] = apple.run()
    assert sent.token == channel
    assert apple.words("e1") == [(f"broadcast {channel}", "accepted by broadcast")]


@only_http2
@pytest.mark.parametrize("reason", ["FeatureNotEnabled", "TopicMismatch"])
def test_a_missing_capability_stops_the_channels_alone(apple: Apple, reason: str) -> None:
    channel = apple.channel()
    apple.simulator.set_tokens({channel: Answer(reason)})
    assert apple.run(to_channel(channel)) == []
    id = apple.pipeline.provider.id
    stopped = apple.pipeline.breaker.stopped_among([id, way_of(id, "broadcast")])
    assert {way: one.reason for way, one in stopped.items()} == {way_of(id, "broadcast"): reason}


@only_http2
def test_a_channel_that_is_gone_is_given_up_and_no_fault_of_ours(
    apple: Apple, caplog: pytest.LogCaptureFixture
) -> None:
    apple.run(to_channel("Z29uZQ=="))
    assert "ChannelNotRegistered" in apple.words("e1")[0][1]
    assert "which is a fault of Carillon's" not in caplog.text


def test_who_may_push_to_few_broadcasts_to_nobody(pipeline: Pipeline) -> None:
    pipeline.save_app(only_to=("han",))
    pipeline.publish(to_channel("dGVzdA=="))
    assert pipeline.run() == []
    assert pipeline.account("e1")["page:0"] == {"message": "not_allowed_here"}


def test_it_is_sent_by_the_provider_that_it_names(pipeline: Pipeline) -> None:
    other = pipeline.add_provider("dev", environment="sandbox", topic="io.carillon.dev")
    pipeline.publish(to_channel("dGVzdA=="), to_channel("dGVzdA==", "e2", provider="dev"))
    [sent] = pipeline.run()
    assert cast("Any", sent).topic == other.settings.topic
    [letter] = pipeline.ledger.dead_letters()
    assert letter.letter.error == (
        "provider: app 'demo' has 2 providers at APNs, name the one that has the channel; known: apns, dev"
    )


def test_a_broadcast_of_a_provider_that_is_not_there_is_refused(pipeline: Pipeline) -> None:
    pipeline.publish(to_channel("dGVzdA==", provider="prod"))
    pipeline.take()
    [letter] = pipeline.ledger.dead_letters()
    assert letter.letter.error == "provider: app 'demo' has no provider 'prod' at APNs; known: apns"


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"channel": "not base64!"}, "channel: not the id of a broadcast channel, which is base64"),
        ({"user": "han", "channel": None, "stored": True}, "stored: only with channel"),
        ({"user": "han", "channel": None, "provider": "apns"}, "provider: only with channel"),
        ({"user": "han"}, "user: either this or channel"),
        ({"state": {"text": "x" * 5_120}}, "Apple takes 5,120"),
        ({"event": "start"}, "required to start"),
    ],
)
def test_an_update_that_no_channel_could_get_is_refused_at_the_caller(fields: dict[str, Any], error: str) -> None:
    event = update(**({"user": None, "channel": "dGVzdA=="} | fields))
    with pytest.raises(EventError, match=error):
        ev.decode(ev.encode(event))
