"""Edits and deletions, from their event to what is pushed: the tables of docs/message-changes.md."""

import json
from typing import Any

import pytest

from producers import events as ev
from tests.integration.pipeline.harness import Pipeline, message, stamp, token, user_of
from worker.core.attention import Attention
from worker.core.model import ACCEPTED, Answer


def edit(text: str = "hello, all", id: str = "e1", seconds: float = 1.0, channel: str = "general", **fields: Any):
    return ev.MessageUpdated(
        **stamp(seconds),
        channel=ev.Channel(id=channel),
        sender=ev.Sender(id="leia"),
        message=ev.EditedMessage(id=f"m-{id}", text=text, **fields),
    )


def deletion(id: str = "e1", seconds: float = 1.0, channel: str = "general") -> ev.MessageDeleted:
    return ev.MessageDeleted(**stamp(seconds), channel=ev.ChannelId(id=channel), message=ev.MessageId(id=f"m-{id}"))


@pytest.fixture
def chat(pipeline: Pipeline) -> Pipeline:
    pipeline.member("general", "leia", "han", "luke")
    pipeline.take()
    return pipeline


def goes_on(chat: Pipeline) -> list[tuple[str, str, str]]:
    """User, text and why of what is sent from here on, until nothing waits any more."""
    before = len(chat.apns.sent)
    for _ in range(3):
        chat.run()
        chat.now += 5
        chat.later(5, leases=False)
    return [shown(n) for n in chat.apns.sent[before:]]


def shown(n: Any) -> tuple[str, str, str]:
    payload = json.loads(n.payload)
    return user_of(n), payload["aps"]["alert"]["body"], payload["carillon"]["why"]


def outcomes(chat: Pipeline, event: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in chat.account(event).values():
        found |= part
    return found


def queued(chat: Pipeline, *events: ev.AnyEvent) -> None:
    chat.publish(*events)
    chat.take()
    chat.expand()
    chat.now += 5


# What is deleted.


def test_D01_deleted_before_it_is_expanded(chat):
    chat.publish(message(), deletion())
    assert goes_on(chat) == []
    assert chat.account("e1")["page:0"] == {"message": "deleted"}


def test_D02_deleted_while_it_is_queued(chat):
    queued(chat, message())
    chat.publish(deletion())
    assert goes_on(chat) == []
    assert min(outcomes(chat, "e1")["dropped.deleted"])[0] == "han"


def test_D03_deleted_while_its_provider_is_stopped(chat):
    chat.breaker.stop(chat.provider.id, "InvalidProviderToken", manual=True, now=chat.now)
    queued(chat, message())
    chat.deliver()
    chat.publish(deletion())
    chat.take()
    chat.breaker.resume(chat.provider.id, by_hand=True)
    assert goes_on(chat) == []
    assert "dropped.deleted" in outcomes(chat, "e1")


def test_D07_deleted_twice_and_before_it_comes(chat):
    chat.publish(deletion(), deletion(seconds=2), message())
    assert goes_on(chat) == []
    assert chat.account("e1")["page:0"] == {"message": "deleted"}


def test_D09_the_root_of_a_thread_is_deleted(chat):
    chat.publish(message(mentioned=["han"]))
    goes_on(chat)
    chat.publish(deletion(), message(id="e2", parent_id="m-e1"))
    assert goes_on(chat) == [("han", "hello", "thread")]


def test_a_deletion_is_final_whatever_the_time_of_a_later_edit(chat):
    chat.publish(message(), deletion(), edit(seconds=2))
    assert goes_on(chat) == []


def test_messages_of_two_channels_may_have_one_id(chat):
    chat.member("other", "leia", "han")
    chat.publish(message(), deletion(channel="other"))
    assert sorted(goes_on(chat)) == [("han", "hello", "message"), ("luke", "hello", "message")]


# What is edited.


def test_E01_edited_before_it_is_expanded(chat):
    chat.publish(message(), edit())
    assert sorted(goes_on(chat)) == [("han", "hello, all", "message"), ("luke", "hello, all", "message")]


def test_E02_edited_while_it_is_queued(chat):
    queued(chat, message())
    chat.publish(edit())
    assert sorted(goes_on(chat)) == [("han", "hello, all", "message"), ("luke", "hello, all", "message")]
    assert len({n.collapse_id for n in chat.apns.sent}) == 1
    assert set(outcomes(chat, "e1")) >= {"dropped.edited", "accepted"}


def test_E02_only_the_devices_that_did_not_get_it_get_it_anew(chat):
    chat.member("general", "chewie", devices=2)
    chat.take()
    chat.apns.answers[token("chewie", 1)] = [Answer(503, "ServiceUnavailable"), ACCEPTED]
    chat.publish(message())
    chat.run()
    before = len(chat.apns.sent)
    chat.publish(edit())
    chat.take()
    chat.later(5)
    goes_on(chat)
    assert [n.token for n in chat.apns.sent[before:]] == [token("chewie", 1)]


def test_E03_edited_after_it_was_delivered(chat):
    chat.publish(message())
    goes_on(chat)
    chat.publish(edit())
    assert goes_on(chat) == []


@pytest.mark.parametrize("delivered", [True, False])
def test_E04_an_edit_names_somebody_first(chat, delivered):
    chat.publish(message())
    if delivered:
        goes_on(chat)
    event = edit("hello, @luke", mentioned=["luke"])
    chat.publish(event)
    assert sorted(goes_on(chat)) == [
        *([] if delivered else [("han", "hello, @luke", "message")]),
        ("luke", "hello, @luke", "mention"),
    ]
    assert chat.account(event.id)["page:0"]["pushed"] == ["luke"]
    if not delivered:
        assert outcomes(chat, "e1")["skipped"]["edited"] == ["luke"]


def test_E05_whom_it_named_before_it_names_to_nobody(chat):
    chat.publish(message(mentioned=["luke"]))
    goes_on(chat)
    chat.publish(edit(mentioned=["luke"]), edit("again", seconds=2, mentioned=["luke"]))
    assert goes_on(chat) == []


def test_E06_a_mention_is_taken_out_before_delivery(chat):
    chat.save_app(attention=Attention(level="mentions"))
    queued(chat, message(mentioned=["luke"]))
    chat.publish(edit())
    assert goes_on(chat) == []
    assert ["luke"] in [part.get("skipped", {}).get("mentions_only") for part in chat.account("e1").values()]


def test_E09_the_same_text_and_mentions(chat):
    queued(chat, message())
    chat.publish(edit("hello"))
    assert len(goes_on(chat)) == 2
    assert "dropped.edited" not in outcomes(chat, "e1")


def test_E10_an_edit_of_an_unknown_message(chat):
    event = edit(id="e7", mentioned=["luke"])
    chat.publish(event)
    assert goes_on(chat) == []
    assert chat.account(event.id)["page:0"] == {"message": "unknown_message"}


def test_E11_of_two_edits_the_later_one_counts(chat):
    queued(chat, message())
    chat.publish(edit("second", seconds=2), edit("first", seconds=1))
    assert {text for _, text, _ in goes_on(chat)} == {"second"}


def test_an_app_that_ignores_edits(chat):
    chat.save_app(attention=Attention(edits="off"))
    queued(chat, message())
    chat.publish(edit(mentioned=["luke"]))
    assert sorted(goes_on(chat)) == [("han", "hello", "message"), ("luke", "hello", "message")]


def test_an_edit_that_is_published_twice_notifies_once(chat):
    chat.publish(message())
    goes_on(chat)
    event = edit(mentioned=["luke"])
    chat.publish(event, event)
    assert len(goes_on(chat)) == 1
