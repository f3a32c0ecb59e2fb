"""Calls: which phones one goes to, what its end does to their screens, and what is never sent."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from producers import events as ev
from tests.integration.pipeline.harness import START, Pipeline, message, stamp, token, user_of
from tests.unit.apns.push_certificates import p12, push_certificate, topic_list
from worker.core.attention import Attention
from worker.core.model import Answer, NoAnswer, Notification, Provider
from worker.core.way import way_of
from worker.providers.apns.client import ApnsClient
from worker.providers.apns.sender import ApnsSender
from worker.providers.apns.settings import P12, ApnsSettings

CALL = "7d444840-9dc0-11d1-b245-5ffdce74fad2"


def phone(pipeline: Pipeline, user: str, n: int = 0, *, voip: bool = False, **fields: Any) -> None:
    """A phone's token for alerts, `token(user, n)`, and with `voip` the one for calls, `token(user, n + 100)`."""
    tokens = {n: "alert"} | ({n + 100: "voip"} if voip else {})
    for number, purpose in tokens.items():
        device = ev.Device(token=token(user, number), purpose=purpose, installation=f"{user}-{n}", **fields)  # type: ignore[arg-type]
        pipeline.publish(ev.DeviceRegistered(**stamp(), user=user, device=device))


def started(*recipients: str, id: str = "e1", at: float = 0.0, **fields: Any) -> ev.CallStarted:
    call = ev.Call(id=CALL, video=True, **({"mode": fields.pop("mode")} if "mode" in fields else {}))
    return ev.CallStarted(
        **(stamp(at) | {"id": id}),
        call=call,
        channel=ev.Channel(id="general", name="General"),
        caller=ev.Sender(id="leia", name="Leia Organa"),
        recipients=list(recipients) or ["han"],
        **fields,
    )


def ended(reason: str, *, id: str = "e2", at: float = 9.0, **fields: Any) -> ev.CallEnded:
    return ev.CallEnded(**(stamp(at) | {"id": id}), call=ev.CallName(id=CALL), reason=reason, **fields)  # type: ignore[arg-type]


def after(pipeline: Pipeline, seconds: float) -> None:
    """It is so many seconds after the call began."""
    pipeline.now = START.timestamp() + seconds


def content(sent: Notification) -> Mapping[str, Any]:
    found: Mapping[str, Any] = msgspec.json.decode(sent.payload)
    return found


def test_c01_a_phone_with_a_voip_token_gets_the_call_there_and_any_other_a_loud_notification(
    pipeline: Pipeline,
) -> None:
    phone(pipeline, "han", voip=True)
    phone(pipeline, "luke")
    pipeline.publish(started("han", "luke", "leia"))
    sent = {one.heading.push_type: one for one in pipeline.run()}
    expires = int(START.timestamp()) + 30
    voip, alert = sent.pop("voip"), sent.pop("alert")
    assert not sent
    assert (voip.token, voip.heading.topic) == (token("han", 100), "io.carillon.demo.voip")
    assert (voip.heading.priority, voip.heading.expiration, voip.heading.collapse_id) == (10, expires, CALL)
    about = {
        "id": CALL,
        "video": True,
        "channel": {"id": "general", "name": "General"},
        "caller": {"id": "leia", "name": "Leia Organa"},
        "expires_at": expires * 1000,
    }
    assert content(voip) == {"aps": {}, "carillon": {"call": about}}
    assert (alert.token, alert.heading.topic) == (token("luke"), "io.carillon.demo")
    assert (alert.heading.priority, alert.heading.expiration, alert.heading.collapse_id) == (10, expires, CALL)
    aps, ours = content(alert)["aps"], content(alert)["carillon"]
    assert aps["alert"] == {"title": "Leia Organa", "subtitle": "General", "body": "Incoming video call"}
    assert (aps["sound"], aps["category"], aps["interruption-level"]) == ("call", "CALL", "time-sensitive")
    assert (ours["kind"], ours["why"], ours["call"]) == ("call", "call", about)
    assert pipeline.account("e1")["page:0"] == {
        "considered": 3,
        "pushed": ["han", "luke"],
        "skipped": {"sender": ["leia"]},
    }


def test_c02_a_call_is_tried_again_at_once_and_never_beyond_its_end(pipeline: Pipeline) -> None:
    phone(pipeline, "han", voip=True)
    phone(pipeline, "luke")
    pipeline.take()
    for one in (token("han", 100), token("luke")):
        pipeline.apns.answers[one] = [Answer(503, "ServiceUnavailable")]
    pipeline.publish(started("han", "luke"))
    pipeline.take()
    pipeline.expand()
    pipeline.deliver()
    tries = [len(pipeline.apns.sent)]
    for second in (1, 3, 7, 15, 31):
        for origin in ("", "voip"):  # other pushes are accepted, or the breaker opens where this takes over a second
            pipeline.breaker.record(way_of(pipeline.provider.id, origin), answered=1, alive=True)
        after(pipeline, second)
        pipeline.later(leases=False)
        pipeline.deliver()
        tries.append(len(pipeline.apns.sent))
    assert tries == [4, 6, 8, 10, 12, 12]  # the first two of each phone at once
    account = pipeline.account("e1")
    assert [entry for entry in account.values() if "dropped.expired" in entry]


def test_c03_a_call_that_is_over_when_workers_come_back_is_no_push(pipeline: Pipeline) -> None:
    phone(pipeline, "han", voip=True)
    pipeline.publish(started("han"))
    after(pipeline, 40)
    assert pipeline.run() == []
    assert pipeline.account("e1")["page:0"] == {"message": "too_old"}


def test_c04_who_answered_on_one_device_sees_it_on_the_others_that_showed_the_call(pipeline: Pipeline) -> None:
    phone(pipeline, "han", 0)
    phone(pipeline, "han", 1)
    phone(pipeline, "han", 2, voip=True)
    pipeline.take()
    pipeline.apns.answers[token("han", 1)] = [Answer(410, "Unregistered", int(START.timestamp() * 1000))]
    pipeline.publish(started("han"))
    assert len(pipeline.run()) == 3
    after(pipeline, 9)
    pipeline.publish(ended("answered_elsewhere", user="han", device=ev.DeviceToken(token=token("han", 102))))
    [sent] = pipeline.run()
    assert (sent.token, sent.heading.collapse_id, sent.heading.push_type) == (token("han", 0), CALL, "alert")
    assert content(sent)["aps"]["alert"]["body"] == "Answered on another device"
    assert content(sent)["aps"]["interruption-level"] == "passive"
    assert "sound" not in content(sent)["aps"]


def test_c04_a_call_that_still_waits_is_dropped_and_its_end_shows_nothing(pipeline: Pipeline) -> None:
    phone(pipeline, "han")
    phone(pipeline, "luke", voip=True)
    pipeline.publish(started("han", "luke"))
    pipeline.take()
    pipeline.expand()
    pipeline.publish(ended("answered_elsewhere", user="han"))
    sent = pipeline.run()
    assert [one.heading.push_type for one in sent] == ["voip"]
    account = pipeline.account("e1")
    assert [entry["dropped.call_ended"] for entry in account.values() if "dropped.call_ended" in entry]


def test_c05_a_cancelled_call_is_a_missed_one_where_it_was_shown(pipeline: Pipeline) -> None:
    phone(pipeline, "han")
    phone(pipeline, "luke", voip=True)
    pipeline.publish(started("han", "luke"))
    assert len(pipeline.run()) == 2
    after(pipeline, 9)
    pipeline.publish(ended("cancelled"))
    [sent] = pipeline.run()
    assert (sent.token, sent.heading.collapse_id) == (token("han"), CALL)
    aps = content(sent)["aps"]
    assert (aps["alert"]["title"], aps["alert"]["body"], aps["sound"]) == ("Leia Organa", "Missed call", "default")
    assert aps["badge"] == 1


@pytest.mark.parametrize("said", [True, False], ids=["the chat server says so", "Carillon finds out"])
def test_c06_a_call_that_nobody_took_is_missed_on_every_phone(pipeline: Pipeline, *, said: bool) -> None:
    phone(pipeline, "han", voip=True)
    phone(pipeline, "luke")
    pipeline.publish(started("han", "luke"))
    assert len(pipeline.run()) == 2
    after(pipeline, 31)
    if said:
        pipeline.publish(ended("missed", at=30))
    else:
        pipeline.later(40)
    sent = pipeline.run()
    assert sorted((one.token, content(one)["aps"]["alert"]["body"]) for one in sent) == sorted(
        [(token("han"), "Missed call"), (token("luke"), "Missed call")]
    )
    pipeline.later(100)
    assert pipeline.run() == []


def test_c06_an_answered_call_is_not_missed(pipeline: Pipeline) -> None:
    phone(pipeline, "han")
    pipeline.publish(started("han"))
    pipeline.run()
    pipeline.publish(ended("ended"))
    pipeline.run()
    after(pipeline, 31)
    pipeline.later(40)
    assert pipeline.run() == []


def test_c06_without_the_setting_nobody_hears_of_a_missed_call(pipeline: Pipeline) -> None:
    pipeline.save_app(attention=Attention(missed=False))
    phone(pipeline, "han")
    pipeline.publish(started("han"))
    pipeline.run()
    after(pipeline, 31)
    pipeline.later(40)
    assert pipeline.run() == []


def test_c07_a_call_that_ended_before_it_began_is_no_push_at_all(pipeline: Pipeline) -> None:
    phone(pipeline, "han", voip=True)
    phone(pipeline, "luke")
    pipeline.publish(ended("cancelled", at=0))
    pipeline.publish(started("han", "luke"))
    assert pipeline.run() == []
    pipeline.later(100)
    after(pipeline, 40)
    assert pipeline.run() == []
    assert pipeline.account("e1")["page:0"]["skipped"] == {"call_ended": ["han", "luke"]}


def test_c08_a_call_that_is_started_twice_is_one(pipeline: Pipeline) -> None:
    phone(pipeline, "han", voip=True)
    pipeline.publish(started("han"), started("han", id="e3"))
    assert len(pipeline.run()) == 1
    assert pipeline.account("e3")["page:0"] == {"message": "call_already_started"}


@pytest.mark.parametrize(("allowed", "calls"), [(["call"], 1), ([], 0)], ids=["c09", "c10"])
def test_quiet_time_lets_a_call_through_unless_the_user_says_otherwise(
    pipeline: Pipeline, allowed: list[Any], calls: int
) -> None:
    phone(pipeline, "han", voip=True)
    until = START + timedelta(hours=1)
    pipeline.publish(ev.QuietUpdated(**stamp(), user="han", pause_until=until, allow=ev.Allow(triggers=allowed)))
    pipeline.publish(started("han"))
    assert len(pipeline.run()) == calls
    if not calls:
        assert pipeline.account("e1")["page:0"]["skipped"] == {"paused": ["han"]}
        after(pipeline, 31)
        pipeline.later(40)
        assert pipeline.run() == []
        assert pipeline.redis.hexists("carillon:digest:demo:han", "general")


def test_c11_a_voip_token_that_is_gone_retires_alone_and_the_call_goes_to_the_same_phone(pipeline: Pipeline) -> None:
    phone(pipeline, "han", 0, voip=True)
    phone(pipeline, "han", 1, voip=True)
    pipeline.take()
    pipeline.apns.answers[token("han", 100)] = [Answer(410, "Unregistered", int(START.timestamp() * 1000))]
    pipeline.publish(started("han"))
    sent = pipeline.run()
    assert [(one.token, one.heading.push_type) for one in sent if one.heading.push_type == "alert"] == [
        (token("han", 0), "alert")
    ]
    assert {one.token for one in pipeline.devices.of_user("demo", "han")} == {
        *(token("han", n) for n in (0, 1, 101)),
    }


def test_c12_a_wrong_voip_topic_stops_calls_and_no_message(pipeline: Pipeline) -> None:
    pipeline.member("general", "leia", "han")
    phone(pipeline, "han", 5, voip=True)
    pipeline.take()
    pipeline.apns.answers[token("han", 105)] = [Answer(400, "TopicDisallowed")]
    pipeline.publish(started("han"))
    pipeline.run()
    assert pipeline.breaker.stopped(f"{pipeline.provider.id}@voip") is not None
    pipeline.publish(message(id="e9"))
    assert [user_of(one) for one in pipeline.run()] == ["han", "han"]


def test_c12_a_certificate_without_the_voip_topic_stops_calls_only_and_nothing_is_sent(pipeline: Pipeline) -> None:
    document = p12(push_certificate(topics=topic_list({"io.team.App": "app"}), days=36_500))
    settings = ApnsSettings("io.team.App", P12(document), "127.0.0.1", 1)
    pipeline.registry.save_provider(Provider(0, "demo", "apns", "production", settings))
    sender, tokens = ApnsSender(), pipeline.clients["apns"]._tokens  # type: ignore[attr-defined]
    pipeline.clients["apns"] = ApnsClient(sender, tokens)
    phone(pipeline, "han", voip=True)
    pipeline.publish(started("han"))
    pipeline.run()
    stopped = pipeline.breaker.stopped(f"{pipeline.provider.id}@voip")
    assert stopped is not None and stopped.reason == "certificate_topic"
    assert pipeline.breaker.stopped(pipeline.provider.id) is None
    assert sender.sender.stats().connections == 0
    sender.close()


def test_c13_all_phones_of_a_user_are_called(pipeline: Pipeline) -> None:
    for n in range(3):
        phone(pipeline, "han", n, voip=n < 2)
    pipeline.publish(started("han"))
    assert sorted(one.heading.push_type for one in pipeline.run()) == ["alert", "voip", "voip"]


def test_c14_a_call_that_only_notifies_is_a_message(pipeline: Pipeline) -> None:
    phone(pipeline, "han", voip=True)
    pipeline.publish(started("han", mode="notify"))
    [sent] = pipeline.run()
    assert (sent.token, sent.heading.push_type) == (token("han"), "alert")
    assert content(sent)["carillon"]["kind"] == "call"
    assert content(sent)["aps"]["sound"] == "default"


def test_c15_a_call_that_is_sent_in_its_last_moment_keeps_its_end(pipeline: Pipeline) -> None:
    phone(pipeline, "han", voip=True)
    pipeline.publish(started("han"))
    after(pipeline, 29.9)
    [sent] = pipeline.run()
    assert sent.heading.expiration == int(START.timestamp()) + 30


def test_a_call_asks_no_presence_and_no_cap_but_who_muted_the_caller_is_not_called(pipeline: Pipeline) -> None:
    pipeline.save_app(member_cap=1)
    for user in ("han", "luke", "chewie"):
        phone(pipeline, user)
    pipeline.redis.set("carillon:online:demo:han", 1)
    pipeline.publish(ev.UserMuted(**stamp(), user="chewie", target="leia"))
    pipeline.publish(started("han", "luke", "chewie", "rey"))
    assert sorted(map(user_of, pipeline.run())) == ["han", "luke"]
    assert pipeline.account("e1")["page:0"]["skipped"] == {"muted_sender": ["chewie"], "no_device": ["rey"]}


def test_a_call_goes_before_the_messages_that_wait(pipeline: Pipeline) -> None:
    pipeline.member("general", "leia", *(f"u{n}" for n in range(8)))
    phone(pipeline, "han")
    pipeline.publish(*(message(id=f"m{n}") for n in range(3)))
    pipeline.take()
    pipeline.expand()
    pipeline.publish(started("han", id="e9"))
    assert user_of(pipeline.run()[0]) == "han"


def test_a_call_is_in_no_rate_and_waits_behind_no_message(pipeline: Pipeline) -> None:
    pipeline.save_app(push_rate=0.01, device_rate=0.01, channel_rate=0.01)
    pipeline.member("general", "leia", "han", "luke")
    pipeline.publish(message(id="m1"), message(id="m2"))
    pipeline.run()
    pipeline.publish(started("han", "luke"))
    assert sorted(map(user_of, pipeline.run())) == ["han", "luke"]


def test_a_voip_end_is_only_sent_where_the_app_takes_one(pipeline: Pipeline) -> None:
    pipeline.save_app(attention=Attention(cancel_by_voip=True))
    phone(pipeline, "han", voip=True)
    pipeline.publish(started("han"))
    pipeline.run()
    pipeline.publish(ended("cancelled"))
    [sent] = pipeline.run()
    assert (sent.heading.push_type, content(sent)["carillon"]["call"]["ended"]) == ("voip", "cancelled")


def test_a_call_lasts_as_long_as_it_says_and_is_in_the_language_of_the_phone(pipeline: Pipeline) -> None:
    phone(pipeline, "han", locale="de-AT")
    pipeline.publish(started("han", expires_at=START + timedelta(seconds=60)))
    [sent] = pipeline.run()
    assert sent.heading.expiration == int(START.timestamp()) + 60
    assert content(sent)["aps"]["alert"]["body"] == "Eingehender Videoanruf"
    with pytest.raises(Exception, match="at most 60 seconds after at"):
        ev.encode(started("han", expires_at=START + timedelta(seconds=61)))


def test_a_worker_that_dies_after_the_answers_still_sends_the_end(pipeline: Pipeline) -> None:
    phone(pipeline, "han")
    pipeline.publish(started("han"))
    pipeline.take()
    pipeline.expand()
    pipeline.apns.half = {token("han")}
    with pytest.raises(pipeline.apns.Died):
        pipeline.deliver()
    pipeline.apns.half = None
    pipeline.later(20)
    pipeline.run()
    pipeline.publish(ended("ended"))
    assert [content(one)["aps"]["alert"]["body"] for one in pipeline.run()] == ["Call ended"]


def test_no_answer_from_apple_is_tried_again_at_once(pipeline: Pipeline) -> None:
    phone(pipeline, "han", voip=True)
    pipeline.take()
    pipeline.apns.answers[token("han", 100)] = [NoAnswer("not_sent", "refused"), Answer(200)]
    pipeline.publish(started("han"))
    assert len(pipeline.run()) == 2


@pytest.mark.parametrize(
    ("privacy", "voip", "title"),
    [
        ("full", {"id": "leia", "name": "Leia Organa"}, "Leia Organa"),
        ("sender", {"id": "leia", "name": "Leia Organa"}, "Leia Organa"),
        ("id", None, "Incoming video call"),
    ],
)
def test_a_push_service_reads_no_more_of_a_call_than_the_app_allows(
    pipeline: Pipeline, privacy: Any, voip: object, title: str
) -> None:
    pipeline.save_app(attention=Attention(privacy=privacy))
    phone(pipeline, "han", voip=True)
    phone(pipeline, "luke")
    pipeline.publish(started("han", "luke"))
    sent = {one.heading.push_type: one for one in pipeline.run()}
    assert content(sent["voip"])["carillon"]["call"].get("caller") == voip
    assert content(sent["alert"])["aps"]["alert"]["title"] == title
    assert content(sent["alert"])["carillon"]["call"].get("caller") == voip
    assert (b"Leia" in sent["alert"].payload) is (voip is not None)


def test_a_sealed_call_goes_to_the_extension_and_not_to_the_voip_token(pipeline: Pipeline) -> None:
    pipeline.save_app(attention=Attention(privacy="sealed"))
    phone(pipeline, "han", voip=True)
    pipeline.publish(started("han"))
    [sent] = pipeline.run()
    assert (sent.heading.push_type, sent.token) == ("alert", token("han"))
    assert b"Leia" not in sent.payload
    assert content(sent)["aps"]["sound"] == "call"


@pytest.mark.parametrize("who", ["channel", "user"])
def test_a_call_shows_no_more_than_its_channel_and_its_user_ask_for(pipeline: Pipeline, who: str) -> None:
    phone(pipeline, "han")
    call = started("han")
    if who == "channel":
        settings = ev.ChannelSettings(id=call.channel.id, privacy="id")
        pipeline.publish(ev.ChannelUpdated(**stamp(), channel=settings))
    else:
        pipeline.publish(ev.PreferencesUpdated(**stamp(), user="han", privacy="id"))
    pipeline.publish(call)
    [alert] = pipeline.run()
    assert b"Leia" not in alert.payload
