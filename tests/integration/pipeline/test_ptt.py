"""Push to talk: the newest speaker is sent to the phones that have joined, at once or not at all."""

import time
from typing import Any

import msgspec
import pytest

from producers import events as ev
from tests.integration.pipeline.harness import START, Pipeline, stamp, token
from worker.core.attention import Attention
from worker.core.model import Answer, Notification


def join(pipeline: Pipeline, *users: str) -> None:
    for user in users:
        device = ev.Device(token=token(user, 9), purpose="ptt")
        pipeline.publish(ev.DeviceRegistered(**stamp(), user=user, device=device))


def speaking(id: str = "e1", at: float = 0.0, speaker: str = "leia", **fields: Any) -> ev.PttSpeaking:
    name = {"leia": "Leia Organa"}.get(speaker)
    return ev.PttSpeaking(
        **(stamp(at) | {"id": id}),
        channel=ev.Channel(id="general"),
        speaker=ev.Sender(id=speaker, name=name),
        **fields,
    )


def content(sent: Notification) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(sent.payload)
    return found


@pytest.fixture
def joined(pipeline: Pipeline) -> Pipeline:
    pipeline.member("general", "leia", "han", "luke")
    join(pipeline, "leia", "han", "luke", "rey")
    pipeline.take()
    return pipeline


def test_the_members_who_have_joined_hear_who_speaks(joined: Pipeline) -> None:
    joined.redis.set("carillon:online:demo:han", 1)
    joined.publish(speaking())
    sent = joined.run()
    assert [one.token for one in sent] == [token("han", 9), token("luke", 9)]
    assert {
        (
            one.heading.push_type,
            one.heading.topic,
            one.heading.priority,
            one.heading.expiration,
            one.heading.collapse_id,
        )
        for one in sent
    } == {("pushtotalk", "io.carillon.demo.voip-ptt", 10, 0, None)}
    assert content(sent[0]) == {
        "aps": {},
        "activeSpeaker": "Leia Organa",
        "carillon": {
            "event": "e1",
            "kind": "ptt",
            "channel": "general",
            "at": int(START.timestamp()) * 1000,
            "speaker": {"id": "leia", "name": "Leia Organa"},
        },
    }


def test_recipients_take_the_place_of_the_members(joined: Pipeline) -> None:
    joined.publish(speaking(recipients=["rey", "leia"]))
    assert [one.token for one in joined.run()] == [token("rey", 9)]


def test_of_those_who_begin_within_two_seconds_the_newest_is_sent(joined: Pipeline) -> None:
    joined.publish(speaking("e1", 0, recipients=["rey"]))
    assert len(joined.run()) == 1
    joined.redis.set("carillon:speaker_sent:demo:general", "e1")
    joined.publish(speaking("e2", 0.5, "han", recipients=["rey"]), speaking("e3", 1.0, "luke", recipients=["rey"]))
    assert joined.run() == []
    joined.redis.delete("carillon:speaker_sent:demo:general")
    joined.later(3)
    assert [content(one)["activeSpeaker"] for one in joined.run()] == ["luke"]


def test_nothing_is_sent_later_than_two_seconds(joined: Pipeline) -> None:
    joined.now = time.time()  # that of the stream: it counts from there too
    at = joined.now - START.timestamp()
    joined.apns.answers[token("han", 9)] = [Answer(503, "ServiceUnavailable")]
    joined.publish(speaking(at=at, recipients=["han"]))
    joined.take()
    joined.expand()
    joined.deliver()
    tries = [len(joined.apns.sent)]
    for second in (1, 100):
        joined.now += second
        joined.later(leases=False)
        joined.deliver()
        tries.append(len(joined.apns.sent))
    assert tries == [2, 3, 3]
    joined.publish(speaking("e2", at=at))
    assert joined.run() == []
    assert joined.account("e2")["page:0"] == {"message": "too_old"}


def test_a_push_service_reads_no_name_where_the_app_allows_none(joined: Pipeline) -> None:
    joined.save_app(attention=Attention(privacy="id"))
    joined.publish(speaking(recipients=["han"]))
    [sent] = joined.run()
    assert b"leia" not in sent.payload.lower()
