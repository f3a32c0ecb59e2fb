"""What is read elsewhere, from the marker to the banner that goes: the table of docs/message-changes.md."""

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
