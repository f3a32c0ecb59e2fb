"""Devices of several kinds in one app: whose provider they get, what is stored of them, and what of that is secret."""

import json
from collections.abc import Iterator

import pytest
from cryptography.fernet import Fernet

from producers import events as ev
from tests.integration.pipeline.harness import Pipeline, message, stamp, token
from tests.unit.kinds.toy.browser import BrowserClient, BrowserSettings
from worker.core.model import Provider
from worker.database.device_secrets import DeviceSecrets, Rotated
from worker.providers import kinds

P256DH = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
AUTH = "BTBZMqHH6r4Tts7J_aSIgg"
ENDPOINT = "https://push.example/wpush/v2/gAAAAABl"
#: Of the longest that the contract takes, and not to be compressed.
LONG = "https://push.example/w/?token=" + "".join(f"{n * 7919 % 1_000_003:06}" for n in range(677))
KEYS = {"p256dh": P256DH, "auth": AUTH}


@pytest.fixture
def browsers(pipeline: Pipeline) -> Iterator[BrowserClient]:
    """The app has a provider for browsers beside its APNs."""
    kinds.register("tests.unit.kinds.toy.browser")
    client = BrowserClient(pipeline.registry.device_secrets.unseal)
    pipeline.clients["browser"] = client
    pipeline.registry.save_provider(Provider(0, "demo", "web", "production", BrowserSettings("box", "hunter2")))
    yield client
    del kinds.KINDS["browser"]


def subscription(endpoint: str = ENDPOINT, **keys: str) -> ev.Subscription:
    return ev.Subscription(endpoint=endpoint, keys=ev.SubscriptionKeys(**(KEYS | keys)))


def browser(user: str, seconds: float = 0.0, endpoint: str = ENDPOINT, **keys: str) -> ev.DeviceRegistered:
    return ev.DeviceRegistered(
        **stamp(seconds), user=user, device=ev.Device(subscription=subscription(endpoint, **keys))
    )


def member(pipeline: Pipeline, *users: str) -> None:
    pipeline.publish(ev.MemberAdded(**stamp(), channel=ev.ChannelId(id="general"), users=["leia", *users]))


def refusals(pipeline: Pipeline) -> list[str]:
    return [letter.letter.error for letter in pipeline.ledger.dead_letters()]


def test_one_message_reaches_the_phone_and_the_browser_of_a_user(pipeline: Pipeline, browsers: BrowserClient) -> None:
    pipeline.member("general", "leia", "han")
    pipeline.publish(browser("han"), message())
    pipeline.run()
    assert [one.token for one in pipeline.apns.sent] == [token("han")]
    assert browsers.arrived == [(ENDPOINT, "web", KEYS)]


@pytest.mark.parametrize("length", [512, 513, len(LONG)])
def test_a_token_of_any_length_that_the_contract_takes_is_found_again(
    pipeline: Pipeline, browsers: BrowserClient, length: int
) -> None:
    endpoint, other = LONG[:length], LONG[: length - 1] + "x"
    member(pipeline, "han", "rey")
    pipeline.publish(browser("han", 1, endpoint), browser("rey", 1, other), browser("han", 2, endpoint), message())
    pipeline.run()
    assert sorted(address for address, *_ in browsers.arrived) == sorted([endpoint, other])
    [device] = pipeline.devices.of_user("demo", "han")
    assert (device.token, pipeline.devices.device_by_token("demo", [endpoint])) == (endpoint, device.id)
    gone = ev.DeviceUnregistered(**stamp(3), device=ev.DeviceToken(token=endpoint))
    pipeline.publish(gone, message(id="e2"))
    pipeline.run()
    assert pipeline.devices.of_user("demo", "han") == []
    assert [address for address, *_ in browsers.arrived[2:]] == [other]


def test_a_browser_is_unregistered_by_its_subscription_too(pipeline: Pipeline, browsers: BrowserClient) -> None:
    pipeline.publish(browser("han", 1))
    pipeline.publish(ev.DeviceUnregistered(**stamp(2), device=ev.DeviceToken(subscription=subscription())))
    pipeline.take()
    assert pipeline.devices.of_user("demo", "han") == []


def test_the_keys_of_the_newest_registration_count_in_whatever_order_they_come(
    pipeline: Pipeline, browsers: BrowserClient
) -> None:
    member(pipeline, "han")
    newer = AUTH[::-1]
    pipeline.publish(browser("han", 5, auth=newer), browser("han", 4), message())
    pipeline.run()
    assert browsers.arrived == [(ENDPOINT, "web", KEYS | {"auth": newer})]


def test_a_repeated_registration_is_answered_as_the_first(pipeline: Pipeline, browsers: BrowserClient) -> None:
    one = json.loads(ev.encode(browser("han", 1)))
    for n in range(2):
        pipeline.publish(json.dumps(one | {"reply": f"r{n}"}).encode())
        pipeline.take()
    pipeline.publish(json.dumps(json.loads(ev.encode(browser("han", 0))) | {"reply": "r2", "id": "older"}).encode())
    pipeline.publish(
        json.dumps(json.loads(ev.encode(browser("han", 0, auth="A" * 22))) | {"reply": "r3", "id": "others"}).encode()
    )
    pipeline.take()
    answers = [json.loads(pipeline.redis.lrange(ev.reply_key(f"r{n}"), 0, -1)[0])["ok"] for n in range(4)]
    assert answers == [True, True, True, False], "the last asked for other keys than are in force"


def test_keys_are_stored_and_queued_sealed(pipeline: Pipeline, browsers: BrowserClient) -> None:
    member(pipeline, "han")
    pipeline.publish(browser("han"), message())
    pipeline.take()
    pipeline.expand()
    with pipeline.pool.connection() as db:
        rows = str(db.execute("SELECT to_jsonb(d) FROM carillon.devices d").fetchall())
    queued = str([pipeline.redis.hgetall(key) for key in pipeline.redis.keys("carillon:batch*")])
    assert ENDPOINT in rows and ENDPOINT in queued
    assert not [key for key in KEYS.values() if key in rows + queued]


def test_what_no_key_opens_is_dropped_by_name_and_disturbs_nobody(pipeline: Pipeline, browsers: BrowserClient) -> None:
    pipeline.member("general", "leia", "han")
    pipeline.publish(browser("han"), message())
    browsers._unseal = DeviceSecrets([Fernet.generate_key().decode()]).unseal
    pipeline.run()
    assert [one.token for one in pipeline.apns.sent] == [token("han")]
    counts = pipeline.journal.counts("demo")
    assert (counts["accepted"], counts["dropped.secret_unreadable"]) == (1, 1)
    assert pipeline.journal.backlog() == (0, 0)


def test_another_key_seals_all_secrets_anew_but_those_that_none_opens(
    pipeline: Pipeline, browsers: BrowserClient
) -> None:
    member(pipeline, "han", "rey")
    pipeline.publish(browser("han", 1), browser("rey", 1, LONG))
    pipeline.take()
    new, lost = Fernet.generate_key().decode(), DeviceSecrets([Fernet.generate_key().decode()])
    with pipeline.pool.connection() as db:
        db.execute("UPDATE carillon.devices SET secret = %s WHERE user_id = 'rey'", (lost.seal("{}"),))
    both = DeviceSecrets([new, pipeline.secret_key])
    assert both.rotate(pipeline.pool) == Rotated(1, 1)
    assert both.rotate(pipeline.pool) == Rotated(0, 1), "there is nothing left to do"
    browsers._unseal = DeviceSecrets([new]).unseal
    pipeline.publish(message())
    pipeline.run()
    assert browsers.arrived == [(ENDPOINT, "web", KEYS)]


@pytest.mark.parametrize(
    ("device", "field", "says"),
    [
        pytest.param({}, "device.token", "required", id="neither"),
        pytest.param(
            {"token": "ab", "subscription": {"endpoint": ENDPOINT, "keys": KEYS}},
            "device.token",
            "leave one",
            id="both",
        ),
        pytest.param({"subscription": {"endpoint": ENDPOINT}}, "device.subscription.keys", "required", id="no keys"),
        pytest.param(
            {"subscription": {"endpoint": ENDPOINT, "keys": {"auth": AUTH}}},
            "device.subscription.keys.p256dh",
            "required",
            id="one key",
        ),
        pytest.param(
            {"subscription": {"endpoint": ENDPOINT, "keys": KEYS | {"auth": "short"}}},
            "device.subscription.keys.auth",
            "too short",
            id="what its kind refuses",
        ),
        pytest.param(
            {"subscription": {"endpoint": ENDPOINT, "keys": KEYS}, "provider": "apns"},
            "device.subscription",
            "takes a token",
            id="a subscription for APNs",
        ),
        pytest.param(
            {"token": ENDPOINT, "provider": "web"},
            "device.subscription",
            "needs",
            id="a token for a browser's provider",
        ),
        pytest.param({"token": ENDPOINT}, "device.token", "hex", id="a token of another kind"),
        pytest.param({"token": "ab", "platform": "Android"}, "device.platform", "lower-case", id="no platform's name"),
        pytest.param(
            {"token": "ab", "platform": "web"}, "device.provider", "for platform web", id="no token of a browser"
        ),
        pytest.param({"token": "a" * 4097}, "device.token", "at most 4,096", id="too long for anybody"),
        pytest.param({"token": "a" * 514}, "device.token", "at most 512", id="too long for APNs"),
    ],
)
def test_what_cannot_be_is_refused_by_its_field_and_hurts_no_other_event(
    pipeline: Pipeline, browsers: BrowserClient, device: dict[str, object], field: str, says: str
) -> None:
    envelope = {"v": 1, "id": "e", "app": "demo", "at": "2026-11-21T20:00:00Z", "reply": "r", "user": "mallory"}
    bad = envelope | {"type": "device.registered", "device": device}
    pipeline.publish(browser("han"), json.dumps(bad).encode(), browser("rey", 0, ENDPOINT + "2"))
    pipeline.take()
    [answer] = [json.loads(one) for one in pipeline.redis.lrange(ev.reply_key("r"), 0, -1)]
    assert (answer["ok"], answer["field"]) == (False, field)
    assert says in answer["error"]
    assert ENDPOINT not in answer["error"]
    with pipeline.pool.connection() as db:
        assert db.execute("SELECT user_id FROM carillon.devices ORDER BY id").fetchall() == [("han",), ("rey",)]


@pytest.mark.parametrize(
    ("device", "provider"),
    [
        pytest.param({"platform": "ios"}, "apns", id="the one made for it"),
        pytest.param({"platform": "macos"}, "apns", id="another of Apple's"),
        pytest.param({"platform": "carplay"}, "apns", id="a name that no kind knows leaves the only one for tokens"),
        pytest.param({}, "apns", id="no word of it: the only one for tokens"),
    ],
)
def test_a_registration_without_a_name_finds_the_provider_for_its_platform(
    pipeline: Pipeline, browsers: BrowserClient, device: dict[str, str], provider: str
) -> None:
    pipeline.publish(ev.DeviceRegistered(**stamp(), user="han", device=ev.Device(token="ab", **device)))  # type: ignore[arg-type]
    pipeline.take()
    [stored] = pipeline.devices.of_user("demo", "han")
    assert (stored.provider, stored.platform) == (provider, device.get("platform", ""))


def test_several_that_fit_are_named(pipeline: Pipeline, browsers: BrowserClient) -> None:
    pipeline.add_provider("other")
    pipeline.publish(ev.DeviceRegistered(**stamp(), user="han", device=ev.Device(token="ab", platform="ios")))
    pipeline.take()
    assert refusals(pipeline) == [
        "device.provider: app 'demo' has 2 providers for platform ios, name one; known: apns, other"
    ]
