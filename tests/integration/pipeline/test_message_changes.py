"""Edits and deletions, from their event to what is pushed: the tables of docs/message-changes.md."""

import json
import time
from typing import Any

import pytest

from producers import events as ev
from tests.integration.pipeline.harness import START, Pipeline, message, stamp, token, user_of
from worker.core.attention import Attention
from worker.core.model import ACCEPTED, Answer
from worker.facts import changes
from worker.reports.delivery_report import Part, report


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
    assert len({n.heading.collapse_id for n in chat.apns.sent}) == 1
    account = chat.account("e1")
    assert set(outcomes(chat, "e1")) >= {"dropped.edited", "accepted"}
    assert sum(part.get("considered", 0) for part in account.values()) == 3
    made = report([Part(name, n, part) for n, (name, part) in enumerate(sorted(account.items(), reverse=True))])
    assert (made.considered, sorted(made.pushed)) == (3, ["han", "luke"])


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


def test_E12_an_edit_names_somebody_in_their_quiet_time(chat):
    days: Any = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    windows = [ev.Window(days=days, begin="00:00", to="24:00")]
    chat.publish(message())
    goes_on(chat)
    event = edit(mentioned=["luke"])
    chat.publish(ev.QuietUpdated(**stamp(), user="luke", zone="Europe/Berlin", quiet=windows), event)
    assert goes_on(chat) == []
    assert chat.account(event.id)["page:0"]["skipped"] == {"quiet": ["luke"]}


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


# What is shown already.


def accepts(chat: Pipeline, user: str, *what: Any) -> None:
    chat.publish(ev.DeviceRegistered(**stamp(), user=user, device=ev.Device(token=token(user), accepts=list(what))))


def taken_back(chat: Pipeline, event: ev.AnyEvent) -> list[tuple[str, dict[str, Any]]]:
    """User and payload of what goes out for it, three seconds later."""
    while chat.ledger.flush(chat.journal):
        pass
    before = len(chat.apns.sent)
    chat.publish(event)
    chat.take()
    chat.later(5)
    chat.run()
    return [(user_of(n), json.loads(n.payload)) for n in chat.apns.sent[before:]]


RETRACT = {"retract": {"channel": "general", "message": "m-e1"}}


def test_D04_a_deleted_message_goes_from_the_devices_that_take_it(chat):
    accepts(chat, "han", "clear")
    chat.publish(message())
    goes_on(chat)
    assert taken_back(chat, deletion()) == [("han", {"aps": {"content-available": 1}, "carillon": RETRACT})]
    sent = chat.apns.sent[-1]
    assert (sent.heading.push_type, sent.heading.priority, sent.heading.expiration) == ("background", 5, 0)


def test_D05_or_is_replaced_where_they_take_nothing(chat):
    chat.save_app(attention=Attention(retract="replace"))
    accepts(chat, "han", "clear")
    chat.now = time.time()
    chat.publish(message(seconds=chat.now - START.timestamp()))
    first = {user_of(n): n.heading.collapse_id for n in chat.run()}
    event = deletion(seconds=chat.now - START.timestamp())
    (han, _), (luke, payload) = sorted(taken_back(chat, event), key=lambda one: one[0])
    assert (han, luke) == ("han", "luke")
    aps = {"alert": {"body": "This message was deleted"}, "interruption-level": "passive", "thread-id": "general"}
    assert payload == {"aps": aps, "carillon": RETRACT}
    assert first["luke"] in {n.heading.collapse_id for n in chat.apns.sent[-2:]}


@pytest.mark.parametrize("why", ["read", "old"])
def test_D05_what_was_read_or_is_old_is_not_replaced(chat, why):
    chat.save_app(attention=Attention(retract="replace"))
    chat.now = time.time() - (0 if why == "read" else 400)
    chat.publish(message(seconds=chat.now - START.timestamp()))
    chat.run()
    if why == "read":
        at = int(chat.now * 1000)
        chat.redis.zadd("carillon:read:demo:general", {"han": at, "luke": at})
    chat.now = time.time()
    assert taken_back(chat, deletion(seconds=chat.now - START.timestamp())) == []


def test_D06_a_folded_banner_stays(chat):
    chat.save_app(fold_after=1, attention=Attention(retract="replace"))
    chat.publish(message(id="e0"), message())
    goes_on(chat)
    assert taken_back(chat, deletion()) == []


def test_D10_a_number_that_was_counted_is_not_taken_back(chat):
    chat.publish(message())
    goes_on(chat)
    taken_back(chat, deletion())
    assert {int(n) for n in chat.redis.hgetall("carillon:badge:demo").values()} == {1}


def test_an_app_that_takes_nothing_back(chat):
    chat.save_app(attention=Attention(retract="off"))
    accepts(chat, "han", "clear")
    chat.publish(message())
    goes_on(chat)
    event = deletion()
    assert taken_back(chat, event) == []
    assert chat.account(event.id)["page:0"] == {"message": "not_taken_back"}


def test_whom_an_edit_named_first_loses_the_banner_too(chat):
    accepts(chat, "han", "clear")
    chat.save_app(attention=Attention(level="mentions"))
    chat.publish(message())
    goes_on(chat)
    chat.publish(edit(mentioned=["han"]))
    goes_on(chat)
    assert [user for user, _ in taken_back(chat, deletion(seconds=2))] == ["han"]


@pytest.mark.parametrize(
    ("age", "read", "text", "expected"),
    [
        pytest.param(60, False, "hello, all", ["hello, all"], id="E07"),
        pytest.param(400, False, "hello, all", [], id="E08 shown long before"),
        pytest.param(60, True, "hello, all", [], id="E08 read"),
    ],
)
def test_an_edit_replaces_what_is_shown(chat, age, read, text, expected):
    chat.save_app(attention=Attention(edits="replace"))
    accepts(chat, "han", "edit")
    now = time.time()
    chat.now = now - age
    chat.publish(message(seconds=chat.now - START.timestamp()))
    first = {user_of(n): n.heading.collapse_id for n in chat.run()}
    chat.now = now
    if read:
        chat.redis.zadd("carillon:read:demo:general", {"han": int(now * 1000)})
    while chat.ledger.flush(chat.journal):
        pass
    before = len(chat.apns.sent)
    chat.publish(edit(text, seconds=now - START.timestamp()))
    chat.run()
    for _ in range(3):
        chat.later(10)
        chat.run()
    sent = chat.apns.sent[before:]
    payloads = [json.loads(n.payload) for n in sent]
    assert [payload["aps"]["alert"]["body"] for payload in payloads] == expected
    for n, payload in zip(sent, payloads, strict=True):
        assert (n.heading.collapse_id, payload["aps"]["interruption-level"]) == (first["han"], "passive")
        assert payload["aps"].keys().isdisjoint({"sound", "badge"})


def test_many_messages_of_a_batch_are_looked_up_only_where_any_was_changed(chat, monkeypatch):
    asked: list[int] = []
    read = changes.read

    def counted(pool: Any, keys: Any) -> Any:
        asked.append(len(keys))
        return read(pool, keys)

    monkeypatch.setattr(changes, "read", counted)
    events = [message(id=f"e{n}") for n in range(30)]
    queued(chat, *events)
    chat.deliver()
    assert 30 not in asked
    queued(chat, *(message(id=f"f{n}") for n in range(30)))
    chat.publish(deletion("f29"))
    chat.take()
    chat.deliver()
    assert len(chat.apns.sent) == 2 * 59
