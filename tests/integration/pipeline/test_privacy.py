"""Privacy through the whole pipeline: what leaves for a device, and what its app opens with its key."""

import json
from base64 import urlsafe_b64decode
from typing import Any

import msgspec
import pytest
from cryptography.fernet import Fernet

from producers import events as ev
from tests.integration.pipeline.harness import START, Pipeline, message, stamp, token, user_of
from tests.unit.web.browser import Browser, base64url, new_browser
from worker.core.attention import Attention
from worker.core.model import Answer, Notification
from worker.core.sealing import OVERHEAD, hidden
from worker.database.device_secrets import DeviceSecrets, Rotated
from worker.database.registry import StoredTemplate

TEXT = "meet me at the pier"
HAN = new_browser()


def keys(of: Browser = HAN, id: str = "k1") -> ev.DeviceKeys:
    return ev.DeviceKeys(id=id, scheme="aes128gcm", p256dh=base64url(of.keys.p256dh), auth=base64url(of.keys.auth))


def private(pipeline: Pipeline, *users: str, **settings: Any) -> None:
    """An app with these settings, and members of its channel without a device."""
    pipeline.save_app(attention=Attention(**settings))
    pipeline.publish(ev.MemberAdded(**stamp(), channel=ev.ChannelId(id="general"), users=["leia", *users]))


def device(user: str, n: int = 0, **said: Any) -> ev.DeviceRegistered:
    return ev.DeviceRegistered(**stamp(), user=user, device=ev.Device(token=token(user, n), **said))


def sealing(user: str = "han", n: int = 0, **said: Any) -> ev.DeviceRegistered:
    return device(user, n, **({"accepts": ["sealed"], "keys": keys()} | said))


def run(pipeline: Pipeline, *published: ev.AnyEvent) -> dict[str, Any]:
    """What each user's first device got, by user."""
    pipeline.publish(*published)
    return {user_of(one): json.loads(one.payload) for one in pipeline.run()}


def opened(payload: Any, by: Browser = HAN) -> Any:
    """What an app opens: it finds its key by the id."""
    sealed = payload["carillon"]["sealed"]
    assert (sealed["s"], sealed["k"]) == ("aes128gcm", "k1")
    return json.loads(by.read(urlsafe_b64decode(sealed["d"] + "==")))


def test_a_sealed_message_is_opened_by_its_device_and_says_nothing_to_anybody_else(pipeline: Pipeline) -> None:
    private(pipeline, "han", privacy="sealed")
    got = run(pipeline, sealing(), message(text=TEXT, data={"place": "pier 9"}))
    assert got["han"]["aps"] == {
        "badge": 1,
        "sound": "default",
        "mutable-content": 1,
        "alert": {"title": "1 new message"},
    }
    assert list(got["han"]["carillon"]) == ["sealed"]
    inside = opened(got["han"])
    assert (inside["v"], inside["aps"]["alert"]["body"], inside["aps"]["thread-id"]) == (1, TEXT, "general")
    assert inside["carillon"]["data"] == {"place": "pier 9"}
    assert [inside["carillon"][name] for name in ("event", "message", "channel", "why")] == [
        *("e1", "m-e1", "general", "message"),
    ]
    assert pipeline.journal.counts("demo").get("unsealed", 0) == 0


def test_each_device_and_each_message_has_a_record_of_its_own(pipeline: Pipeline) -> None:
    private(pipeline, "han", privacy="sealed")
    pipeline.publish(sealing(), sealing(n=1), message(), message(id="e2"))
    records = [json.loads(one.payload)["carillon"]["sealed"]["d"] for one in pipeline.run()]
    raw = [urlsafe_b64decode(record + "==") for record in records]
    assert len(raw) == len({one[:16] for one in raw}) == len({one[21:86] for one in raw}) == 4


def test_a_device_without_a_key_gets_ids_and_is_counted(pipeline: Pipeline) -> None:
    private(pipeline, "han", "rey", "finn", privacy="sealed")
    strange = msgspec.structs.replace(keys(), scheme="x25519")
    got = run(
        pipeline,
        *(sealing(), device("rey"), device("finn", keys=strange, accepts=["sealed"])),
        message(text=TEXT),
    )
    assert opened(got["han"])["aps"]["alert"]["body"] == TEXT
    for user in ("rey", "finn"):
        at = int(START.timestamp() * 1000)
        assert got[user]["carillon"] == {"event": "e1", "message": "m-e1", "channel": "general", "at": at}
        assert got[user]["aps"]["alert"] == {"title": "1 new message"}
    assert pipeline.journal.counts("demo")["unsealed"] == 2


def test_nothing_goes_out_without_a_seal_where_the_app_says_so(pipeline: Pipeline) -> None:
    private(pipeline, "han", "rey", privacy="sealed", sealed_only=True)
    pipeline.publish(sealing(), device("han", 1), device("rey"), message(text=TEXT))
    assert [one.token for one in pipeline.run()] == [token("han")], "not to his other device either"
    assert pipeline.journal.counts("demo")["skipped.no_key"] == 1
    assert pipeline.account("e1")["page:0"]["skipped"]["no_key"] == ["rey"]


def test_a_device_may_ask_for_less_than_its_app(pipeline: Pipeline) -> None:
    private(pipeline, "han", "rey")
    got = run(pipeline, device("han", privacy="sender"), device("rey"), message(text=TEXT))
    assert got["rey"]["aps"]["alert"] == {"title": "leia", "body": TEXT}
    assert got["han"]["aps"]["alert"] == {"title": "leia", "body": "1 new message"}
    assert got["han"]["carillon"]["sender"] == {"id": "leia"}


def test_and_never_for_more(pipeline: Pipeline) -> None:
    private(pipeline, "han", privacy="id")
    got = run(pipeline, device("han", privacy="full"), message(text=TEXT))
    assert TEXT not in str(got) and "leia" not in str(got)


def test_an_apps_own_words_are_shown_in_the_place_of_a_text(pipeline: Pipeline) -> None:
    private(pipeline, "han", "rey", privacy="id", placeholder={"": "Something new", "fr": "Du nouveau"})
    got = run(pipeline, device("han", locale="fr-CA"), device("rey"), message(text=TEXT))
    shown = {user: payload["aps"]["alert"]["title"] for user, payload in got.items()}
    assert shown == {"han": "Du nouveau", "rey": "Something new"}


def test_a_message_without_a_text_says_the_apps_own_words_and_keeps_its_data(pipeline: Pipeline) -> None:
    private(pipeline, "han", placeholder={"": "Something new"})
    got = run(pipeline, device("han"), message(text="", data={"ciphertext": "AAAA"}))
    assert got["han"]["aps"]["alert"] == {"title": "leia", "body": "Something new"}
    assert got["han"]["carillon"]["data"] == {"ciphertext": "AAAA"}


@pytest.mark.parametrize(
    ("mode", "title"), [("sender", "General"), ("id", "2 new messages"), ("sealed", "2 new messages")]
)
def test_a_folded_burst_says_how_many_and_its_channel_only_to_whom_it_may(
    pipeline: Pipeline, mode: Any, title: str
) -> None:
    pipeline.save_app(attention=Attention(privacy=mode), fold_after=1)
    pipeline.publish(ev.MemberAdded(**stamp(), channel=ev.ChannelId(id="general"), users=["leia", "han"]))
    pipeline.publish(ev.ChannelUpdated(**stamp(), channel=ev.ChannelSettings(id="general", name="General")))
    pipeline.publish(sealing(), message(text=TEXT))
    pipeline.run()
    got = run(pipeline, message(id="e2", text=TEXT))["han"]
    assert got["aps"]["alert"]["title"] == title
    assert TEXT not in json.dumps(got) and ("General" in json.dumps(got)) == (mode == "sender")
    if mode == "sealed":
        assert opened(got)["aps"]["alert"] == {"title": "General", "body": "2 new messages"}


def test_a_template_is_rendered_and_then_sealed(pipeline: Pipeline) -> None:
    private(pipeline, "han", privacy="sealed")
    template = '{"aps": {"alert": "{{ message.text }} for {{ recipient.id }}", "sound": "ping.caf", "category": "M"}}'
    pipeline.registry.save_template(StoredTemplate(pipeline.provider.id, "", "", template))
    got = run(pipeline, sealing(), message(text=TEXT))["han"]
    assert got["aps"] == {
        "badge": 1,
        "sound": "ping.caf",
        "category": "M",
        "mutable-content": 1,
        "alert": {"title": "1 new message"},
    }
    assert opened(got)["aps"] == {"alert": f"{TEXT} for han"}


def test_the_longest_text_fills_the_payload_and_no_more(pipeline: Pipeline) -> None:
    private(pipeline, "han", privacy="sealed", placeholder={"": "New message"})
    [one] = sent(pipeline, sealing(), message(text="a" * 9_000))
    assert 4_000 < len(one.payload) <= 4_096
    inside = opened(json.loads(one.payload))
    assert inside["aps"]["alert"]["body"].endswith("…")


def test_texts_of_any_length_look_the_same_when_they_are_filled_up(pipeline: Pipeline) -> None:
    private(pipeline, "han", privacy="sealed", pad=512)
    found = sent(pipeline, sealing(), message(text="ok"), message(id="e2", text="a" * 200))
    sizes = {len(urlsafe_b64decode(json.loads(one.payload)["carillon"]["sealed"]["d"] + "==")) for one in found}
    assert sizes == {512 + OVERHEAD}
    assert opened(json.loads(found[0].payload))["aps"]["alert"]["body"] == "ok"


def test_the_key_of_the_newest_registration_seals(pipeline: Pipeline) -> None:
    private(pipeline, "han", privacy="sealed")
    pipeline.publish(sealing(), message(text=TEXT))
    pipeline.take()
    pipeline.expand()
    newer = new_browser()
    pipeline.publish(msgspec.structs.replace(sealing(keys=keys(newer)), **stamp(5)))
    pipeline.take()
    pipeline.deliver()
    [one] = pipeline.apns.sent
    assert opened(json.loads(one.payload), newer)["aps"]["alert"]["body"] == TEXT


@pytest.mark.parametrize("sealed_only", [False, True])
def test_a_device_that_has_lost_its_key_meanwhile_gets_ids_or_nothing(pipeline: Pipeline, sealed_only: bool) -> None:
    private(pipeline, "han", privacy="sealed", sealed_only=sealed_only)
    pipeline.publish(sealing(), message(text=TEXT))
    pipeline.take()
    pipeline.expand()
    pipeline.publish(msgspec.structs.replace(device("han"), **stamp(5)))
    pipeline.take()
    pipeline.deliver()
    if sealed_only:
        assert pipeline.apns.sent == []
        assert pipeline.journal.counts("demo")["dropped.no_key"] == 1
    else:
        [one] = pipeline.apns.sent
        assert TEXT not in one.payload.decode()
        assert json.loads(one.payload)["carillon"]["message"] == "m-e1"


def test_a_try_that_failed_is_sealed_anew_and_numbered_as_before(pipeline: Pipeline) -> None:
    private(pipeline, "han", privacy="sealed")
    pipeline.apns.answers[token("han")] = [Answer(500, "InternalServerError"), Answer(200)]
    first, *_ = sent(pipeline, sealing(), message(text=TEXT))
    pipeline.later()
    pipeline.deliver()
    _, again = pipeline.apns.sent
    assert opened(json.loads(first.payload)) == opened(json.loads(again.payload))
    assert json.loads(again.payload)["aps"]["badge"] == 1


def test_keys_are_sealed_anew_with_another_key_of_ours(pipeline: Pipeline) -> None:
    private(pipeline, "han", privacy="sealed")
    pipeline.publish(sealing())
    pipeline.take()
    new = Fernet.generate_key().decode()
    assert DeviceSecrets([new, pipeline.secret_key]).rotate(pipeline.pool) == Rotated(1, 0)
    pipeline.apps.device_secrets = DeviceSecrets([new])
    pipeline.delivery = pipeline.new_delivery()
    assert opened(run(pipeline, message(text=TEXT))["han"])["aps"]["alert"]["body"] == TEXT


def test_no_record_waits_in_redis_for_each_device(pipeline: Pipeline) -> None:
    private(pipeline, *(f"user-{n}" for n in range(40)), privacy="sealed")
    pipeline.publish(*(sealing(f"user-{n}") for n in range(40)), message(text=TEXT))
    pipeline.take()
    pipeline.expand()
    queued = str([pipeline.redis.hgetall(key) for key in pipeline.redis.keys("carillon:batch:*")])
    assert queued.count(TEXT) == 1


def test_what_clears_a_sealed_notification_does_not_say_of_which_channel(pipeline: Pipeline) -> None:
    private(pipeline, "han", privacy="sealed")
    accepts = ["clear", "sealed"]
    pipeline.publish(sealing(accepts=accepts), device("han", 1, accepts=accepts), message(text=TEXT))
    assert len(pipeline.run()) == 2
    pipeline.publish(ev.ChannelRead(**stamp(2), user="han", channel=ev.ChannelId(id="general")))
    cleared = {one.token: json.loads(one.payload)["carillon"]["clear"]["channel"] for one in pipeline.run()}
    assert cleared == {token("han"): hidden("general", HAN.keys), token("han", 1): "general"}


def sent(pipeline: Pipeline, *published: ev.AnyEvent) -> list[Notification]:
    pipeline.publish(*published)
    return pipeline.run()


def test_a_channel_may_ask_for_less_than_its_app(pipeline: Pipeline) -> None:
    private(pipeline, "han", "rey", privacy="sender")
    pipeline.publish(ev.ChannelUpdated(**stamp(), channel=ev.ChannelSettings(id="general", privacy="sealed")))
    got = run(pipeline, sealing(), device("rey"), message(text=TEXT))
    assert opened(got["han"])["aps"]["alert"]["body"] == TEXT
    assert "leia" not in str(got["rey"]) and TEXT not in str(got["rey"])


def test_a_user_may_and_gets_no_seal_where_ids_are_what_they_asked_for(pipeline: Pipeline) -> None:
    private(pipeline, "han", "rey")
    pipeline.publish(ev.PreferencesUpdated(**stamp(), user="han", privacy="id"))
    got = run(pipeline, sealing(), device("rey"), message(text=TEXT))
    assert got["rey"]["aps"]["alert"]["body"] == TEXT
    assert "sealed" not in got["han"]["carillon"] and TEXT not in str(got["han"])
