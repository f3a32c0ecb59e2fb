"""Quieter phones: a budget of sounds, one notification for several messages, and what comes through. Seconds of one minute."""

import dataclasses
import json
import time
from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from producers import events as ev
from tests.integration.pipeline.harness import KEY, START, Pipeline, message, stamp, token
from worker.core.attention import Attention
from worker.core.digest import spread_of
from worker.core.model import Notification
from worker.providers.apns.client import ApnsClient
from worker.providers.apns.sender import ApnsSender
from worker.providers.apns.token import mint
from worker.simulator import Settings, SimulatorThread
from worker.state import keys

CHANNEL = ev.ChannelId(id="general")
TABLE: dict[str, Any] = {"sound_every": 60, "fold_every": 10}


class Seen(NamedTuple):
    """What a phone does for a notification."""

    text: str
    sound: bool
    level: str = "active"


class Minute:
    """A pipeline whose clock is set to a second of a minute."""

    def __init__(self, pipeline: Pipeline, fold_after: int | None = 3, **attention: Any) -> None:
        self.pipeline, self.number = pipeline, 0
        self.due: dict[str, float] = {}
        self.written = pipeline.journal.expand
        setattr(pipeline.journal, "expand", self.expand)  # noqa: B010 - a method of one object
        pipeline.save_app(fold_after=fold_after, attention=Attention(**attention))
        pipeline.member("general", "leia", "han")
        pipeline.publish(ev.ChannelUpdated(**stamp(), channel=ev.ChannelSettings(id="general", name="General")))
        pipeline.run()

    def at(self, second: float, *, channel: str = "general", kind: Any = None, **fields: Any) -> list[Seen]:
        """What is shown for a message at that second; also for what was due before."""
        self.look(second)
        self.number += 1
        ends = fields.pop("expires_at", None)
        said = message(channel, id=f"e{self.number}", seconds=second, **{"text": f"at {second}"} | fields)
        self.pipeline.publish(replace(said, channel=replace(said.channel, kind=kind), expires_at=ends))
        return [seen(one) for one in self.pipeline.run()]

    def look(self, second: float) -> list[Seen]:
        """What is shown at that second without a message."""
        self.pipeline.now = START.timestamp() + second
        for look, due in self.due.items():
            self.pipeline.redis.zadd("carillon:looks:due", {look: 0 if due < second + 0.001 else 1e12}, xx=True)
        return [seen(one) for one in self.pipeline.run()] if self.pipeline.journal.make_due_ready() else []

    def expand(self, *given: Any) -> Any:
        """Second looks are due by this clock, however long this machine takes."""
        for one in given[4] if len(given) > 4 else ():
            self.due[f"{one.number}/{one.entry}"] = self.pipeline.now - START.timestamp() + one.delay
        return self.written(*given)

    def outcome(self, part: str = "page:0") -> dict[str, Any]:
        """What the ledger says of the last message."""
        found: dict[str, Any] = self.pipeline.account(f"e{self.number}")[part]
        return found


def seen(notification: Notification) -> Seen:
    aps = json.loads(notification.payload)["aps"]
    return Seen(aps["alert"]["body"], "sound" in aps, aps.get("interruption-level", "active"))


def test_A01_to_A11_a_minute_of_one_channel(pipeline):
    minute = Minute(pipeline, **TABLE)
    assert minute.at(0) == [Seen("at 0", True)], "A01"
    assert minute.at(1) == [Seen("at 1", False)], "A02"
    assert minute.at(2) == [Seen("at 2", False)], "A03"
    assert minute.at(3) == [], "A04"
    assert minute.outcome() == {
        "considered": 1,
        "pushed": [],
        "skipped": {"sender": ["leia"]},
        "delayed": ["han"],
        "folding": {"han": int(START.timestamp()) + 13},
    }
    assert [minute.at(second) for second in (4, 5, 6)] == [[], [], []], "A05"
    assert minute.look(12.9) == []
    assert minute.look(13) == [Seen("4 new messages", False)], "A06"
    assert pipeline.account("e5")["look:0.0"]["skipped"] == {"folded": ["han"]}
    assert minute.at(14, mentioned=["han"]) == [Seen("at 14", True)], "A07"
    assert minute.at(15, mentioned=["han"]) == [Seen("at 15", False)], "A08"
    assert minute.at(16) == [], "A09"
    pipeline.redis.zadd(keys.READ("demo", "general"), {"han": (START.timestamp() + 20) * 1000})
    assert minute.look(26) == [], "A10"
    assert minute.outcome("look:0.0")["skipped"] == {"read": ["han"]}
    assert minute.at(61) == [Seen("at 61", True)], "A11"
    assert pipeline.journal.backlog() == (0, 0)


def test_A12_an_urgent_message_comes_through_and_takes_no_sound(pipeline):
    minute = Minute(pipeline, fold_after=1, **TABLE)
    assert (minute.at(0), minute.at(1)) == ([Seen("at 0", True)], [])
    assert minute.at(5, urgency="urgent") == [Seen("at 5", True, "time-sensitive")]
    assert minute.at(6, urgency="urgent") == [Seen("at 6", True, "time-sensitive")]
    assert minute.at(7, mentioned=["han"]) == [Seen("at 7", True)]


@pytest.mark.parametrize(("every", "sound"), [(None, True), (30, False)])
def test_A13_another_conversation_has_its_own_budget_but_one_of_the_user(pipeline, every, sound):
    minute = Minute(pipeline, **TABLE, sound_every_user=every)
    pipeline.member("dm", "luke", "han")
    assert minute.at(0) == [Seen("at 0", True)]
    assert minute.at(3, channel="dm", kind="direct", sender="luke") == [Seen("at 3", sound)]


def test_A14_quiet_time_takes_no_sound(pipeline):
    minute = Minute(pipeline, **TABLE)
    until = START + timedelta(seconds=10)
    pipeline.publish(ev.QuietUpdated(**stamp(), user="han", pause_until=until))
    assert minute.at(3) == []
    assert minute.outcome()["skipped"]["paused"] == ["han"]
    assert minute.at(12) == [Seen("at 12", True)]


def test_A15_who_is_present_takes_no_sound_before_they_are_notified(pipeline):
    minute = Minute(pipeline, **TABLE, online_delay=10)
    pipeline.member("general", "luke")
    pipeline.redis.set(keys.ONLINE("demo", "han"), 1, ex=60)
    assert minute.at(0) == [Seen("at 0", True)], "luke"
    assert minute.look(10) == [Seen("at 0", True)], "han, by the second look"


def test_A16_all_devices_of_a_user_make_a_sound_or_none_does(pipeline):
    minute = Minute(pipeline, **TABLE)
    pipeline.publish(ev.DeviceRegistered(**stamp(), user="han", device=ev.Device(token=token("han", 1))))
    assert minute.at(0) == [Seen("at 0", True)] * 2
    assert minute.at(1) == [Seen("at 1", False)] * 2


def test_A17_a_redis_of_an_older_file_makes_one_sound_too_many(pipeline):
    minute = Minute(pipeline, **TABLE)
    assert minute.at(0) == [Seen("at 0", True)]
    for key in pipeline.redis.keys("carillon:sounds:*"):
        pipeline.redis.delete(key)
    assert minute.at(1) == [Seen("at 1", True)]
    assert minute.at(2) == [Seen("at 2", False)]


def test_without_a_setting_each_message_makes_its_sound_and_a_folded_one_none(pipeline):
    minute = Minute(pipeline, fold_after=1)
    assert [minute.at(second) for second in range(3)] == [
        [Seen("at 0", True)],
        [Seen("2 new messages", False)],
        [Seen("3 new messages", False)],
    ]


def test_a_page_that_is_decided_again_keeps_its_answer(pipeline):
    """The one before died after it had asked Redis: nothing that it decided was written."""
    minute = Minute(pipeline, fold_after=1, **TABLE)
    for number, (second, shown) in enumerate([(0, [Seen("at 0", True)]), (1, []), (2, [])]):
        pipeline.now = START.timestamp() + second
        pipeline.publish(message(id=f"m{number}", seconds=second, text=f"at {second}"))
        pipeline.take()
        opened = pipeline.journal.take_messages("urgent", 10)
        written = pipeline.journal.expand
        pipeline.journal.expand = lambda *_: (_ for _ in ()).throw(ConnectionError)
        with pytest.raises(ConnectionError):
            pipeline.fan_out.expand(opened)
        pipeline.journal.expand = written
        pipeline.fan_out.expand(opened)
        before = len(pipeline.apns.sent)
        pipeline.deliver()
        assert [seen(one) for one in pipeline.apns.sent[before:]] == shown
    assert minute.look(11) == [Seen("2 new messages", False)]


def test_what_is_sent_anew_for_an_edit_has_the_sound_of_the_message(pipeline):
    minute = Minute(pipeline, fold_after=1, sound_every=60)
    minute.number += 1
    pipeline.publish(message(id="e1"))
    pipeline.take()
    pipeline.expand()
    pipeline.now += 2
    edited = ev.EditedMessage(id="m-e1", text="edited")
    pipeline.publish(
        ev.MessageUpdated(**stamp(1), channel=ev.Channel(id="general"), message=edited, sender=ev.Sender(id="leia"))
    )
    shown = [seen(one) for one in pipeline.run()] or minute.look(3)
    assert shown == [Seen("edited", True)]


def test_a_fold_is_shown_by_the_newest_message_that_the_rules_let_through(pipeline):
    minute = Minute(pipeline, fold_after=1, **TABLE)
    for second in range(4):
        minute.at(second)
    minute.at(4, expires_at=START + timedelta(seconds=5))
    assert minute.look(11) == [Seen("3 new messages", False)]
    assert minute.outcome("look:0.0")["skipped"] == {"too_old": ["han"]}
    assert pipeline.account("e3")["look:0.0"]["skipped"] == {"folded": ["han"]}


def test_a_channel_may_have_one_banner(pipeline):
    minute = Minute(pipeline, fold_after=None, collapse="channel")
    for second in range(3):
        minute.at(second)
    sent = pipeline.apns.sent
    assert [json.loads(one.payload)["aps"]["alert"]["title"] for one in sent] == ["leia", "leia (2)", "leia (3)"]
    assert [seen(one).text for one in sent] == ["at 0", "at 1", "at 2"]
    assert len({one.heading.collapse_id for one in sent}) == 1


def test_one_banner_is_updated_as_rarely_as_a_fold(pipeline):
    minute = Minute(pipeline, collapse="channel", **TABLE)
    assert [len(minute.at(second)) for second in range(6)] == [1, 1, 1, 0, 0, 0]
    assert minute.look(13) == [Seen("at 5", False)]
    assert json.loads(pipeline.apns.sent[-1].payload)["aps"]["alert"]["title"] == "leia (6)"
    assert len({one.heading.collapse_id for one in pipeline.apns.sent}) == 1


def test_who_is_called_with_a_group_learns_its_name(pipeline):
    minute = Minute(pipeline, fold_after=None)
    pipeline.member("general", "luke")
    groups = [
        ev.Group(id="all-crew", name="All", users=["han", "luke", "leia"]),
        ev.Group(id="crew", name="Crew", users=["han"]),
    ]
    minute.at(0, mentions=ev.Mentions(groups=groups), kind="channel")
    payloads = {one.token: json.loads(one.payload)["carillon"] for one in pipeline.apns.sent}
    found = {user: (payloads[token(user)]["why"], payloads[token(user)]["group"]) for user in ("han", "luke")}
    assert found == {"han": ("group", "Crew"), "luke": ("group", "All")}
    assert payloads[token("han")]["members"] == 3


@pytest.mark.parametrize(
    ("zone", "row", "days_off"),
    [
        pytest.param(None, None, 0, id="UTC, where nobody says a zone"),
        pytest.param("Pacific/Kiritimati", None, 1, id="the zone of the device"),
        pytest.param("Pacific/Kiritimati", "America/Denver", 0, id="that of the quiet row counts before"),
    ],
)
def test_over_the_cap_of_their_day_a_user_gets_a_digest_the_next_morning(pipeline, zone, row, days_off):
    minute = Minute(pipeline, fold_after=None, daily_cap=2)
    attributes = {"zone": zone} if zone else {}
    pipeline.publish(
        ev.DeviceRegistered(**stamp(1), user="han", device=ev.Device(token=token("han"), attributes=attributes))
    )
    if row:
        pipeline.publish(ev.QuietUpdated(**stamp(1), user="han", zone=row))
    assert [len(minute.at(second)) for second in (2, 3, 4)] == [1, 1, 0]
    assert minute.outcome()["skipped"]["over_daily_cap"] == ["han"]
    assert [len(minute.at(second, mentioned=["han"])) for second in (5, 6)] == [1, 1], "apart"
    assert len(minute.at(7, urgency="urgent")) == 1
    [(_, due)] = pipeline.redis.zrange(keys.DIGESTS(), 0, -1, withscores=True)
    here = ZoneInfo(row or zone or "UTC")
    morning = datetime.fromtimestamp(due - spread_of("demo", "han", 300), here)
    assert (morning.hour, morning.minute) == (8, 0)
    assert morning.date() == (START.astimezone(here) + timedelta(days=1)).date()
    assert START.astimezone(here).date() == START.date() + timedelta(days=days_off)
    assert len(minute.at(86_400 * 1.5 + 1)) == 1, "another day"


def test_each_user_has_their_own_fold(pipeline):
    """Who came to the fold later is shown it at the time that was set for them."""
    minute = Minute(pipeline, fold_after=1, **TABLE)
    minute.at(0)
    minute.at(1)
    pipeline.member("general", "luke")
    assert minute.at(2) == [Seen("at 2", True)], "luke"
    assert minute.at(3) == []
    assert minute.look(11) == [Seen("3 new messages", False)], "han"
    assert minute.look(13) == [Seen("1 new message", False)], "luke"


class Tokens:
    """One provider token of the real time: the simulator looks at its clock."""

    def __init__(self) -> None:
        self.token = mint("T", "K", KEY, time.time())

    def current(self, key: Any, now: float) -> str:
        return self.token


@pytest.mark.parametrize(
    ("attention", "pushes", "sounds"),
    [
        pytest.param({}, 40, 5, id="folding alone"),
        pytest.param({"sound_every": 60}, 40, 1, id="with a budget of sounds"),
        pytest.param({"sound_every": 60, "fold_every": 10}, 10, 1, id="and one update in ten seconds"),
    ],
)
def test_forty_messages_in_a_minute_are_ten_pushes_and_one_sound(pipeline, attention, pushes, sounds):
    with SimulatorThread(Settings(control_port=None)) as simulator:
        settings = dataclasses.replace(
            pipeline.provider.settings, host="127.0.0.1", port=simulator.port, ca=simulator.ca_pem
        )
        pipeline.provider = pipeline.registry.save_provider(dataclasses.replace(pipeline.provider, settings=settings))
        sender, tokens = ApnsSender(), cast("Any", Tokens())
        pipeline.clients["apns"] = ApnsClient(sender, tokens)
        minute = Minute(pipeline, fold_after=5, **attention)
        for number in range(40):
            minute.at(number * 1.5)
        minute.look(70)
        sender.close()
        payloads = [json.loads(one.payload) for one in simulator.accepted]
    assert len(payloads) == pushes
    assert sum("sound" in payload["aps"] for payload in payloads) == sounds
    assert payloads[-1]["aps"]["alert"]["body"] == f"{35 if attention.get('fold_every') else 40} new messages"
