"""What is read elsewhere, from the marker to the banner that goes: the table of docs/message-changes.md."""

import json
import time
from datetime import timedelta
from typing import Any

import pytest

from producers import events as ev
from tests.integration.pipeline.harness import START, Pipeline, message, stamp, token
from worker.core.model import ACCEPTED, Answer

CHANNEL = "general"
#: Of a message that is written at the beginning.
AT = int(START.timestamp() * 1000)


@pytest.fixture
def chat(pipeline: Pipeline) -> Pipeline:
    """Han with a phone and a tablet that take clearings."""
    pipeline.publish(ev.MemberAdded(**stamp(), channel=ev.ChannelId(id=CHANNEL), users=["leia", "han"]))
    for n in range(2):
        pipeline.publish(device("han", n, "clear"))
    pipeline.take()
    return pipeline


def device(user: str, n: int, *accepts: Any) -> ev.DeviceRegistered:
    return ev.DeviceRegistered(**stamp(), user=user, device=ev.Device(token=token(user, n), accepts=list(accepts)))


def mark(chat: Pipeline, ms: int, user: str = "han", thread: str = "") -> None:
    """As a chat server does."""
    name = f"carillon:read:demo:{CHANNEL}" + (f"\n{thread}" if thread else "")
    chat.redis.zadd(name, {user: ms}, gt=True)


def queued(chat: Pipeline, *events: ev.AnyEvent) -> None:
    chat.publish(*events)
    chat.take()
    chat.expand()
    chat.now += 5


def labels(chat: Pipeline, event: str) -> set[str]:
    return {label for part in chat.account(event).values() for label in part}


def badges(chat: Pipeline) -> set[int]:
    return {int(n) for n in chat.redis.hgetall("carillon:badge:demo").values()}


def test_R01_read_before_it_is_expanded(chat):
    mark(chat, AT)
    chat.publish(message())
    assert chat.run() == []
    assert chat.account("e1")["page:0"]["skipped"]["read"] == ["han"]


def test_R02_read_up_to_the_one_before(chat):
    mark(chat, AT - 1)
    queued(chat, message())
    chat.deliver()
    assert len(chat.apns.sent) == 2


def test_R03_read_while_it_is_queued(chat):
    queued(chat, message())
    mark(chat, AT)
    chat.deliver()
    assert chat.apns.sent == []
    assert "dropped.read" in labels(chat, "e1")
    assert badges(chat) <= {0}


def test_R06_a_reply_is_read_in_its_thread(chat):
    queued(chat, message(mentioned=["han"], parent_id="root"), message(id="e2", mentioned=["han"], parent_id="other"))
    mark(chat, AT + 5)
    mark(chat, AT, thread="other")
    chat.deliver()
    assert "dropped.read" not in labels(chat, "e1")
    assert "dropped.read" in labels(chat, "e2")


def test_R07_a_marker_only_grows(chat):
    mark(chat, AT)
    mark(chat, AT - 10)
    chat.publish(message())
    assert chat.run() == []


def test_R15_a_lost_marker_is_harmless(chat):
    mark(chat, AT)
    chat.redis.delete(f"carillon:read:demo:{CHANNEL}")
    chat.publish(message())
    assert len(chat.run()) == 2


def test_R16_read_before_it_is_tried_again(chat):
    for n in range(2):
        chat.apns.answers[token("han", n)] = [Answer(503, "ServiceUnavailable"), ACCEPTED]
    chat.publish(message())
    chat.run()
    before = len(chat.apns.sent)
    chat.now += 5
    mark(chat, AT)
    chat.later(5)
    chat.deliver()
    assert len(chat.apns.sent) == before
    assert "dropped.read" in labels(chat, "e1")


def test_R17_an_edited_message_stays_read(chat):
    queued(chat, message())
    mark(chat, AT)
    edit = ev.EditedMessage(id="m-e1", text="later", mentioned=["han"])
    chat.publish(
        ev.MessageUpdated(**stamp(200), channel=ev.Channel(id=CHANNEL), sender=ev.Sender(id="leia"), message=edit)
    )
    assert chat.run() == []
    chat.later(5)
    assert chat.run() == []


def test_what_was_decided_just_now_is_not_looked_up(chat):
    chat.publish(message())
    chat.take()
    chat.expand()
    mark(chat, AT)
    chat.deliver()
    assert len(chat.apns.sent) == 2


# What goes from the screens.


def read(seconds: float = 0.0, thread: str | None = None, **fields: Any) -> ev.ChannelRead:
    until = START + timedelta(seconds=fields.pop("until", 0.0))
    channel = ev.ChannelId(id=CHANNEL)
    return ev.ChannelRead(**stamp(seconds), user="han", channel=channel, thread=thread, until=until, **fields)


def happens(chat: Pipeline, *events: ev.AnyEvent) -> list[tuple[str, dict[str, Any]]]:
    """Token and payload of what goes out for them."""
    chat.publish(*events)
    return [(n.token, json.loads(n.payload)) for n in chat.run()]


def shown(chat: Pipeline) -> dict[str, int]:
    found: Any = chat.redis.zrange("carillon:shown:demo", 0, -1, withscores=True)
    return {name.decode(): int(at) for name, at in found}


CLEAR = {"clear": {"channel": CHANNEL, "until": AT}}
P, T = token("han", 0), token("han", 1)


def test_R04_what_was_read_goes_from_every_device(chat):
    happens(chat, message())
    assert shown(chat) == {f"{CHANNEL}\nhan": AT}
    sent = happens(chat, read())
    assert sent == [(one, {"aps": {"content-available": 1}, "carillon": CLEAR}) for one in (P, T)]
    for n in chat.apns.sent[-2:]:
        assert (n.heading.push_type, n.heading.priority, n.heading.expiration) == ("background", 5, 0)
    assert shown(chat) == {}


def test_R05_where_it_was_read_nothing_goes(chat):
    happens(chat, message())
    assert [one for one, _ in happens(chat, read(device=ev.DeviceToken(token=T)))] == [P]


def test_R05_a_token_that_no_provider_takes_is_that_of_no_device(chat):
    happens(chat, message())
    assert [one for one, _ in happens(chat, read(device=ev.DeviceToken(token="not hexadecimal")))] == [P, T]


def test_R08_the_true_number_goes_with_it(chat):
    happens(chat, message())
    sent = happens(chat, read(unread=0))
    assert sent == [(one, {"aps": {"badge": 0, "content-available": 1}, "carillon": CLEAR}) for one in (P, T)]
    for n in chat.apns.sent[-2:]:
        assert (n.heading.push_type, n.heading.priority) == ("alert", 5)
        assert n.heading.expiration > START.timestamp()
    assert badges(chat) == {0}


def test_R09_a_device_is_woken_once_in_twenty_seconds_for_the_last(chat):
    happens(chat, message(), message(id="e2", seconds=3))
    assert len(happens(chat, read())) == 2
    assert happens(chat, read(1, until=1), read(2, until=3)) == []
    chat.now += 20
    chat.redis.hset("carillon:clearing:demo:han", "ends", 0)
    chat.later(30)
    sent = happens(chat)
    assert [payload["carillon"]["clear"]["until"] - AT for _, payload in sent] == [3000, 3000]


def test_R10_nothing_is_shown(chat):
    event = read()
    assert happens(chat, event) == []
    assert chat.account(event.id)["page:0"] == {"message": "nothing_shown"}


def test_R11_of_many_devices_those_that_take_it(chat):
    for n in range(25):
        chat.publish(device("han", n, *(["clear"] if n < 3 else [])))
    happens(chat, message())
    assert len(happens(chat, read())) == 3


def test_R12_a_device_that_takes_nothing_gets_the_number_if_it_is_known(chat):
    chat.publish(device("han", 1))
    happens(chat, message())
    assert happens(chat, read(unread=0)) == [
        (P, {"aps": {"badge": 0, "content-available": 1}, "carillon": CLEAR}),
        (T, {"aps": {"badge": 0}}),
    ]


def test_R13_a_folded_banner_goes_with_its_channel(chat):
    chat.save_app(fold_after=1, fold_window=60)
    happens(chat, message(), message(id="e2", seconds=2))
    assert [payload["carillon"]["clear"]["until"] - AT for _, payload in happens(chat, read(until=2))] == [2000, 2000]
    assert shown(chat) == {}


def test_a_later_banner_stays_known(chat):
    happens(chat, message(), message(id="e2", seconds=9))
    happens(chat, read())
    assert shown(chat) == {f"{CHANNEL}\nhan": AT + 9000}


def test_a_thread_is_read_by_itself(chat):
    happens(chat, message(mentioned=["han"], parent_id="root"))
    assert happens(chat, read()) == []
    (_, payload), _ = happens(chat, read(thread="root"))
    assert payload["carillon"]["clear"] == {"channel": CHANNEL, "until": AT, "thread": "root"}


def test_of_apps_that_take_no_clearing_nothing_is_noted(chat):
    chat.publish(device("han", 0), device("han", 1))
    happens(chat, message())
    assert shown(chat) == {}


def test_banners_are_known_for_three_days(chat):
    now = int(time.time() * 1000)
    chat.redis.zadd("carillon:shown:demo", {"old\nhan": now - 4 * 86_400_000})
    happens(chat, message(seconds=(now - AT) / 1000))
    assert shown(chat) == {f"{CHANNEL}\nhan": now}
    assert 0 < chat.redis.ttl("carillon:shown:demo") <= 3 * 86_400
