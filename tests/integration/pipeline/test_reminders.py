"""Reminders of what stays unread: one for a conversation, never of what did not come, and none that nobody needs any more."""

from base64 import urlsafe_b64decode
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from producers import events as ev
from tests.integration.pipeline.conftest import used
from tests.integration.pipeline.harness import START, Pipeline, message, stamp, token
from tests.unit.web.browser import base64url, new_browser
from worker.core.attention import Attention
from worker.core.model import Answer
from worker.core.notification import collapse_id
from worker.providers.webhook.request import recipients
from worker.reports.got_and_missed import of_user, reason_of
from worker.reports.looking_up import write_up
from worker.state import keys, reminders

AFTER = 300


class Reminding(Pipeline):
    """A pipeline with the tick's reminders, whose time is the test's: seconds from `START`."""

    def at(self, seconds: float, *events: ev.AnyEvent) -> list[dict[str, Any]]:
        """These events are published then, and what is due is sent. Returns the payloads of reminders."""
        self.now = START.timestamp() + seconds
        self.publish(*events)
        self.take()
        self.expand()
        self.deliver()
        found: Any = self.redis.zrange(keys.REMINDERS(), 0, -1, withscores=True)
        for name, due in found:
            if due > START.timestamp() + 86_400:  # the clock of Redis
                self.redis.zadd(keys.REMINDERS(), {name: self.now + AFTER})
        before = len(self.apns.sent)
        self.reminders.tell_due()
        self.deliver()
        return [msgspec.json.decode(one.payload) for one in self.apns.sent[before:]]

    def set_up(self, users: Sequence[str] = ("han",), **settings: Any) -> None:
        attention: dict[str, Any] = {"remind_after": AFTER, "remind_times": 2, **settings}
        self.save_app(attention=Attention(**attention))
        self.member("general", "leia", *users)
        self.take()


@pytest.fixture
def pipeline(postgres_url: str, redis_url: str):
    made = Reminding(postgres_url, redis_url)
    made.set_up()
    yield from used(made)


def direct(id: str = "e1", seconds: float = 0.0, sender: str = "leia", **fields: Any) -> ev.MessageNew:
    event = message(id=id, seconds=seconds, sender=sender, **fields)
    channel = ev.Channel(id="general", kind="direct")
    return msgspec.structs.replace(event, channel=channel, sender=ev.Sender(id=sender, name=sender.title()))


def is_over(pipeline: Reminding) -> bool:
    name = "demo\ngeneral\nhan"
    waits = pipeline.redis.zscore(keys.REMINDERS(), name) is not None
    return not (
        waits or pipeline.redis.hexists(keys.REMINDERS_SENT(), name) or pipeline.redis.exists(keys.REMINDER(name))
    )


def test_a_conversation_that_stays_unread_is_sent_again_and_then_no_more(pipeline):
    """M01."""
    assert pipeline.at(0, direct()) == []
    assert pipeline.at(299) == []
    [said] = pipeline.at(300)
    assert said["aps"]["alert"] == {"title": "Leia", "body": "1 new message"}
    assert (said["aps"]["sound"], said["aps"]["badge"], said["aps"]["thread-id"]) == ("default", 1, "general")
    event = said["carillon"].pop("event")
    assert event.startswith("reminder:han:")
    at = int(START.timestamp() * 1000)
    ids = {"kind": "reminder", "why": "reminder", "count": 1, "message": "m-e1", "channel": "general", "at": at}
    assert said["carillon"] == ids
    assert pipeline.apns.sent[-1].heading.collapse_id == collapse_id("demo", "m-e1", "general"), (
        "its banner comes again"
    )
    assert pipeline.at(899) == []
    assert len(pipeline.at(900)) == 1
    assert is_over(pipeline)
    assert pipeline.journal.counts("demo")["reminders"] == 2
    assert pipeline.account(event)["page:0"]["pushed"] == ["han"]


def _read(until: float) -> Callable[[Reminding], Any]:
    at = (START.timestamp() + until) * 1000
    return lambda pipeline: pipeline.redis.zadd(keys.READ("demo", "general"), {"han": at}, gt=True)


def _published(*events: ev.AnyEvent) -> Callable[[Reminding], Any]:
    return lambda pipeline: pipeline.publish(*events)


GENERAL = ev.ChannelId(id="general")
#: What happens before a reminder is due, and why there is none.
NONE = {
    "M02 read": (_read(0), "read"),
    "M07 quiet": (_published(ev.QuietUpdated(**stamp(), user="han", pause_until=START + timedelta(hours=1))), "quiet"),
    "M08 online": (lambda pipeline: pipeline.redis.set(keys.ONLINE("demo", "han"), 1), "online"),
    "M09 muted": (
        _published(ev.PreferencesUpdated(**stamp(), user="han", channel=GENERAL, level="none")),
        "switched_off",
    ),
    "reminders off": (_published(ev.PreferencesUpdated(**stamp(), user="han", triggers={"reminder": False})), "switched_off"),
    "M10 deleted": (
        _published(ev.MessageDeleted(**stamp(), channel=GENERAL, message=ev.MessageId(id="m-e1"))),
        "deleted",
    ),
    "M12 left": (_published(ev.MemberRemoved(**stamp(), channel=GENERAL, users=["han"])), "not_a_member"),
    "channel off": (
        _published(ev.ChannelUpdated(**stamp(), channel=ev.ChannelSettings(id="general", push_notifications=False))),
        "channel_push_off",
    ),
    "app off": (
        lambda pipeline: pipeline.save_app(push_enabled=False, attention=Attention(remind_after=AFTER)),
        "app_push_off",
    ),
    "no device": (
        _published(ev.DeviceUnregistered(**stamp(1), user="han", device=ev.DeviceToken(token=token("han")))),
        "no_device",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NONE)
def test_nobody_is_reminded_who(pipeline, name):
    change, reason = NONE[name]
    pipeline.at(0, direct())
    change(pipeline)
    pipeline.at(100)
    assert pipeline.at(300) == []
    assert is_over(pipeline)
    counts = pipeline.journal.counts("demo")
    assert [name for name in counts if name.startswith("reminders")] == [f"reminders_skipped.{reason}"]


def test_who_has_answered_is_not_reminded(pipeline):
    """M03."""
    pipeline.at(0, direct())
    pipeline.at(100, direct(id="e2", seconds=100, sender="han"))
    assert is_over(pipeline)
    assert pipeline.at(300) == []


def test_one_reminder_counts_what_is_unread(pipeline):
    """M04."""
    for n, seconds in enumerate((0, 50, 200)):
        pipeline.at(seconds, direct(id=f"e{n}", seconds=seconds))
    [said] = pipeline.at(300)
    assert (said["aps"]["alert"]["body"], said["carillon"]["message"]) == ("3 new messages", "m-e2")


def test_a_silence_begins_anew_with_what_comes_after_reading(pipeline):
    pipeline.at(0, direct())
    _read(100)(pipeline)
    pipeline.at(200, direct(id="e2", seconds=200))
    assert pipeline.at(300) == [], "the second message is 100 s old"
    [said] = pipeline.at(500)
    assert (said["carillon"]["message"], said["carillon"]["count"]) == ("m-e2", 1)
    _read(200)(pipeline)
    assert pipeline.at(1100) == []
    assert is_over(pipeline)


@pytest.mark.parametrize(
    ("event", "reminded"),
    [
        (message(), False),
        (message(mentioned=["han"]), True),
        (message(reply_to=ev.ReplyTo(user="han", message="m0")), True),
    ],
    ids=["M05 a plain message", "a mention", "a reply"],
)
def test_only_some_triggers_are_reminded_of(pipeline, event, reminded):
    pipeline.at(0, event)
    assert len(pipeline.at(300)) == reminded


@pytest.mark.parametrize(("members", "reminded"), [(10, True), (11, False)])
def test_a_large_channel_is_not_reminded_of(pipeline, members, reminded):
    """M06: of 11, it is not."""
    pipeline.member("general", *(f"u{n}" for n in range(members - 2)), devices=0)
    pipeline.at(0, message(mentioned=["han"]))
    assert len(pipeline.at(300)) == reminded


def test_a_reminder_that_is_too_late_is_none(pipeline):
    """M11."""
    pipeline.at(0, direct())
    assert pipeline.at(2000) == []
    assert pipeline.journal.counts("demo")["reminders_skipped.too_old"] == 1


def test_nobody_is_reminded_of_what_never_came(pipeline):
    """M14."""
    pipeline.apns.answers[token("han")] = [Answer(400, "BadDeviceToken")]
    pipeline.at(0, direct())
    assert is_over(pipeline)


def test_all_devices_are_reminded_once(pipeline):
    pipeline.publish(ev.DeviceRegistered(**stamp(), user="han", device=ev.Device(token=token("han", 1), locale="de")))
    pipeline.at(0, direct())
    bodies = sorted(said["aps"]["alert"]["body"] for said in pipeline.at(300))
    assert bodies == ["1 neue Nachricht", "1 new message"]


def test_threads_are_conversations_of_their_own(pipeline):
    pipeline.at(0, direct(), direct(id="e2", parent_id="root", parent_sender="han"))
    _read(1000)(pipeline)
    [said] = pipeline.at(300)
    assert (said["carillon"]["message"], said["carillon"]["parent"]) == ("m-e2", "root")


def test_who_was_delayed_is_reminded_too(pipeline):
    pipeline.save_app(attention=Attention(remind_after=AFTER, online_delay=30))
    pipeline.redis.set(keys.ONLINE("demo", "han"), 1)
    pipeline.at(0, direct())
    pipeline.redis.delete(keys.ONLINE("demo", "han"))
    pipeline.later(30)
    pipeline.at(30)
    assert len(pipeline.at(330)) == 1


@pytest.mark.parametrize("privacy", ["full", "sender", "id", "sealed"])
def test_names_follow_the_privacy_mode(pipeline, privacy):
    pipeline.save_app(attention=Attention(remind_after=AFTER, privacy=privacy))
    pipeline.at(0, direct())
    [said] = pipeline.at(300)
    assert ("title" in said["aps"]["alert"]) is (privacy in ("full", "sender"))
    assert "channel" in said["carillon"], "without a key nothing is sealed, and no more is said than ids"


def test_a_seal_has_the_name_inside_and_the_number_outside(pipeline):
    of = new_browser()
    sealing = ev.DeviceKeys(id="k1", scheme="aes128gcm", p256dh=base64url(of.keys.p256dh), auth=base64url(of.keys.auth))
    device = ev.Device(token=token("han"), accepts=["sealed"], keys=sealing)
    pipeline.publish(ev.DeviceRegistered(**stamp(1), user="han", device=device))
    pipeline.save_app(attention=Attention(remind_after=AFTER, privacy="sealed"))
    pipeline.at(0, direct())
    [said] = pipeline.at(300)
    assert said["aps"]["alert"] == {"title": "1 new message"}
    assert list(said["carillon"]) == ["sealed"]
    inside = msgspec.json.decode(of.read(urlsafe_b64decode(said["carillon"]["sealed"]["d"] + "==")))
    assert inside["aps"]["alert"] == {"title": "Leia", "body": "1 new message"}
    assert (inside["carillon"]["kind"], inside["carillon"]["message"]) == ("reminder", "m-e1")


def test_what_is_kept_of_a_conversation_is_bounded(pipeline):
    for n in range(25):
        pipeline.at(n, direct(id=f"e{n}", seconds=n))
    key = keys.REMINDER("demo\ngeneral\nhan")
    assert pipeline.redis.zcard(key) == 20
    assert 0 < pipeline.redis.ttl(key) <= 9 * 86_400
    [said] = pipeline.at(330)
    assert said["carillon"]["message"] == "m-e24"


def test_two_ticks_remind_once(pipeline):
    pipeline.at(0, direct())
    [pending] = _due(pipeline)
    assert len(pipeline.at(300)) == 1
    assert pipeline.reminders._tell([pending], pipeline.now).total() == 0


def _due(pipeline: Reminding) -> list[Any]:
    return reminders.due(pipeline.partition, pipeline.now + AFTER, 10)


def test_why_says_who_was_reminded_and_who_was_not(pipeline):
    pipeline.member("general", "luke")
    pipeline.at(0, direct())
    pipeline.redis.zadd(keys.READ("demo", "general"), {"luke": START.timestamp() * 1000})
    assert len(pipeline.at(300)) == 1
    write_up(pipeline.journal, pipeline.ledger)
    said = {}
    for user in ("han", "luke"):
        found = of_user(pipeline.keyspace, pipeline.pool, "demo", [user], 0).happened
        said[user] = {one.event.partition(":")[0]: reason_of(one) for one in found}
    assert said["han"] == {"e1": "gets a push", "reminder": "gets a push"}
    assert said["luke"] == {"e1": "gets a push", "reminder": "no push: had read it (read)"}


def test_a_webhook_gets_its_kind(pipeline):
    """M15."""
    pipeline.at(0, direct())
    pipeline.now += 300
    pipeline.reminders.tell_due()
    taken = pipeline.journal.take_batch("bulk")
    [one] = recipients("demo", taken.batch.sendings, taken.batch.jobs, [None])
    assert (one.kind, one.user, one.importance, b'"count":1' in one.payload) == ("reminder", "han", "messages", True)
    pipeline.journal.return_batch(taken.id)
    pipeline.deliver()


def test_an_app_without_reminders_keeps_nothing(pipeline):
    pipeline.save_app()
    pipeline.at(0, direct())
    assert is_over(pipeline)
