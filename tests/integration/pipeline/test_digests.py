"""Digests after quiet time, with clocks of our own. The tests begin at 21:00 in Berlin; quiet time is until 07:00."""

import json
from base64 import urlsafe_b64decode
from datetime import timedelta
from typing import Any

import pytest

from producers import events as ev
from producers.events import read_key
from tests.integration.pipeline.harness import START, Pipeline, message, stamp, token, user_of
from tests.unit.web.browser import base64url, new_browser
from worker.core.attention import Attention
from worker.core.digest import MOST_CONVERSATIONS, MOST_MESSAGES, spread_of
from worker.core.model import Notification
from worker.database.registry import StoredTemplate
from worker.reports.invariants import check_invariants
from worker.state import keys

EVERY_DAY: Any = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
NIGHT = ev.Window(days=EVERY_DAY, begin="20:00", to="07:00")
#: Seconds from the beginning of a test to the end of the night, and to han's digest after it.
END = 10 * 3_600
DUE = END + spread_of("demo", "han", 300)
BY_THEN = END + 300


def quiet(seconds: float = 0.0, **fields: Any) -> ev.QuietUpdated:
    given = {"zone": "Europe/Berlin", "quiet": [NIGHT], **fields}
    return ev.QuietUpdated(**stamp(seconds), user="han", **given)


def people(pipeline: Pipeline, *ids: str, setting: ev.QuietUpdated | None = None) -> None:
    for id in ids or ("general",):
        pipeline.member(id, "han")
        pipeline.publish(ev.MemberAdded(**stamp(), channel=ev.ChannelId(id=id), users=["leia", "luke"]))
    pipeline.publish(setting or quiet())
    pipeline.run()


def say(pipeline: Pipeline, channel: str, n: int, *, mentions: int = 0, first: int = 0) -> None:
    """So many messages, a second after each other, the first of them with mentions."""
    for k in range(first, first + n):
        mentioned = ["han"] if k - first < mentions else []
        pipeline.publish(message(channel, id=f"{channel}-{k}", seconds=k, mentioned=mentioned))
    pipeline.run()


def at(pipeline: Pipeline, seconds: float) -> None:
    pipeline.now = START.timestamp() + seconds


def payload(notification: Notification) -> Any:
    return json.loads(notification.payload)


def read(pipeline: Pipeline, channel: str, seconds: float) -> None:
    """Han has read the channel up to messages of then."""
    pipeline.redis.zadd(read_key("demo", channel), {"han": int((START.timestamp() + seconds) * 1000)})


def reasons(pipeline: Pipeline) -> list[str]:
    """Why han got no digest, by the account."""
    account = pipeline.account(f"digest:han:{int(START.timestamp()) + END}")["page:0"]
    assert account["considered"] == 1
    return [reason for reason, users in account["skipped"].items() if users == ["han"]]


def nothing_is_left(pipeline: Pipeline) -> bool:
    return not pipeline.redis.exists(keys.DIGEST("demo", "han"), keys.DIGESTS(), keys.SILENT_BADGES())


def test_those_of_several_users_are_sent_together(pipeline: Pipeline) -> None:
    people(pipeline)
    pipeline.member("general", "leia", "luke")
    for user in ("leia", "luke"):
        pipeline.publish(ev.QuietUpdated(**stamp(), user=user, zone="Europe/Berlin", quiet=[NIGHT]))
    pipeline.publish(message("general", id="e1", sender="chewie", recipients=["han", "leia", "luke"]))
    pipeline.run()
    at(pipeline, BY_THEN)
    assert pipeline.digests.tell_due() == {"bulk": 1}
    with pipeline.pool.connection() as db:
        assert check_invariants(pipeline.keyspace, db, looks=1) == []
    pipeline.deliver()
    assert {user_of(one) for one in pipeline.apns.sent} == {"han", "leia", "luke"}


def test_a_fault_about_one_user_keeps_nothing_from_the_others(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    people(pipeline)
    pipeline.member("general", "leia", "luke")
    for user in ("leia", "luke"):
        pipeline.publish(ev.QuietUpdated(**stamp(), user=user, zone="Europe/Berlin", quiet=[NIGHT]))
    pipeline.publish(message("general", id="e1", sender="chewie", recipients=["han", "leia", "luke"]))
    pipeline.run()
    digests: Any = pipeline.digests
    decide = digests._digest

    def failing(one: Any, *others: Any) -> Any:
        if one.user == "leia":
            raise ZeroDivisionError
        return decide(one, *others)

    with monkeypatch.context() as patched:
        patched.setattr(digests, "_digest", failing)
        at(pipeline, BY_THEN)
        assert {user_of(one) for one in pipeline.tell()} == {"han", "luke"}
    assert pipeline.tell() == []
    at(pipeline, BY_THEN + 601)
    assert {user_of(one) for one in pipeline.tell()} == {"leia"}


def test_one_notification_says_what_was_missed(pipeline: Pipeline) -> None:
    """G01."""
    people(pipeline, "a", "b", "c", "d")
    pipeline.publish(ev.ChannelUpdated(**stamp(), channel=ev.ChannelSettings(id="a", name="General")))
    for channel, n, mentions in (("a", 7, 2), ("b", 3, 0), ("c", 1, 1), ("d", 1, 0)):
        say(pipeline, channel, n, mentions=mentions)
    assert pipeline.apns.sent == []
    at(pipeline, DUE - 1)
    assert pipeline.tell() == []
    at(pipeline, DUE)
    [sent] = pipeline.tell()
    said = payload(sent)
    assert said["aps"] == {
        "alert": {
            "title": "While you were away",
            "body": "12 new messages in 4 conversations, 3 mention you",
        },
        "badge": 12,
        "sound": "default",
        "thread-id": "carillon:digest",
        "relevance-score": 0.3,
    }
    assert said["carillon"] == {
        "kind": "digest",
        "event": f"digest:han:{int(START.timestamp()) + END}",
        "at": int((START.timestamp() + END) * 1000),
        "why": "digest",
        "digest": {
            "messages": 12,
            "mentions": 3,
            "channels": [
                {"id": "a", "name": "General", "messages": 7, "mentions": 2},
                {"id": "c", "messages": 1, "mentions": 1},
                {"id": "b", "messages": 3, "mentions": 0},
                {"id": "d", "messages": 1, "mentions": 0},
            ],
            "rest": 0,
        },
    }
    assert reasons(pipeline) == []
    assert nothing_is_left(pipeline)
    assert pipeline.tell() == []


def test_what_was_all_read_is_not_said(pipeline: Pipeline) -> None:
    """G02."""
    people(pipeline)
    say(pipeline, "general", 3)
    read(pipeline, "general", 3)
    at(pipeline, BY_THEN)
    assert pipeline.tell() == []
    assert reasons(pipeline) == ["read"]
    assert nothing_is_left(pipeline)


def test_what_was_read_is_left_out(pipeline: Pipeline) -> None:
    """G03, G04."""
    people(pipeline, "a", "b", "c")
    for channel in ("a", "b", "c"):
        say(pipeline, channel, 5)
    read(pipeline, "a", 10)
    read(pipeline, "b", 1)
    at(pipeline, BY_THEN)
    [sent] = pipeline.tell()
    assert payload(sent)["aps"]["alert"]["body"] == "8 new messages in 2 conversations"


def test_of_many_messages_the_latest_are_known_one_by_one(pipeline: Pipeline) -> None:
    """G04: of 30 the first ten are only counted."""
    people(pipeline)
    say(pipeline, "general", 30)
    read(pipeline, "general", 4)
    at(pipeline, BY_THEN)
    [sent] = pipeline.tell()
    assert payload(sent)["aps"]["alert"]["body"] == f"{MOST_MESSAGES}+ new messages"
    assert payload(sent)["carillon"]["digest"]["more"] is True


def test_who_is_there_sees_it(pipeline: Pipeline) -> None:
    """G05."""
    people(pipeline)
    say(pipeline, "general", 1)
    pipeline.redis.set(keys.ONLINE("demo", "han"), 1)
    at(pipeline, BY_THEN)
    assert pipeline.tell() == []
    assert reasons(pipeline) == ["online"]


def test_who_is_there_is_looked_at_again(pipeline: Pipeline) -> None:
    """G05, of an app that delays those who are present."""
    pipeline.save_app(attention=Attention(online_delay=30))
    people(pipeline)
    say(pipeline, "general", 1)
    pipeline.redis.set(keys.ONLINE("demo", "han"), 1)
    at(pipeline, DUE)
    assert pipeline.tell() == []
    at(pipeline, DUE + 29)
    assert pipeline.tell() == []
    at(pipeline, DUE + 30)
    assert [user_of(one) for one in pipeline.tell()] == ["han"]


def test_another_silence_moves_it(pipeline: Pipeline) -> None:
    """G06: a pause until 08:00, and what comes in it counts too."""
    people(pipeline)
    say(pipeline, "general", 1)
    pipeline.publish(quiet(1, pause_until=START + timedelta(seconds=END + 3_600)))
    pipeline.run()
    at(pipeline, BY_THEN)
    assert pipeline.tell() == []
    pipeline.publish(message("general", id="late", seconds=BY_THEN))
    pipeline.run()
    at(pipeline, DUE + 3_600)
    [sent] = pipeline.tell()
    assert payload(sent)["carillon"]["digest"]["messages"] == 2
    assert payload(sent)["carillon"]["event"] == f"digest:han:{int(START.timestamp()) + END + 3_600}"


def test_what_is_unwanted_by_now_is_not_said(pipeline: Pipeline) -> None:
    """G07, of channels that the user muted or left, and of one that is switched off."""
    people(pipeline, "a", "b", "c", "d")
    for id in ("a", "b", "c", "d"):
        say(pipeline, id, 1)
    for id, row in (("c", {"level": "none"}), ("d", {"muted_until": START + timedelta(days=1)})):
        pipeline.publish(ev.PreferencesUpdated(**stamp(9), user="han", channel=ev.ChannelId(id=id), **row))
    pipeline.publish(ev.MemberRemoved(**stamp(9), channel=ev.ChannelId(id="a"), users=["han"]))
    pipeline.publish(
        ev.ChannelUpdated(**stamp(9), channel=ev.ChannelSettings(id="b", push_notifications=False)),
    )
    pipeline.run()
    at(pipeline, BY_THEN)
    assert pipeline.tell() == []
    assert reasons(pipeline) == ["channel_muted"]


def test_one_channel_gives_its_name(pipeline: Pipeline) -> None:
    """G08."""
    people(pipeline)
    pipeline.publish(ev.ChannelUpdated(**stamp(), channel=ev.ChannelSettings(id="general", name="General")))
    say(pipeline, "general", 1)
    at(pipeline, BY_THEN)
    [sent] = pipeline.tell()
    assert payload(sent)["aps"]["alert"] == {"title": "General", "body": "1 new message"}


def test_many_channels_are_counted_and_five_named(pipeline: Pipeline) -> None:
    """G09."""
    ids = [f"c{n:03}" for n in range(MOST_CONVERSATIONS + 2)]
    pipeline.publish(quiet())
    pipeline.publish(ev.DeviceRegistered(**stamp(), user="han", device=ev.Device(token=token("han"))))
    for n, id in enumerate(ids):
        named = ["han"] if n == 7 else []
        pipeline.publish(message(id, id=f"{id}-0", recipients=["han"], mentioned=named))
        if n == 9:
            pipeline.publish(message(id, id=f"{id}-1", recipients=["han"]))
    pipeline.run()
    at(pipeline, BY_THEN)
    [sent] = pipeline.tell()
    said = payload(sent)["carillon"]["digest"]
    assert [one["id"] for one in said["channels"]] == ["c007", "c009", "c000", "c001", "c002"]
    assert (said["messages"], said["rest"]) == (len(ids) + 1, MOST_CONVERSATIONS - 5)


def test_what_is_late_is_said_for_four_hours(pipeline: Pipeline) -> None:
    """G10."""
    people(pipeline)
    say(pipeline, "general", 1)
    at(pipeline, END + 4 * 3_600 - 1)
    assert len(pipeline.tell()) == 1
    at(pipeline, 0)
    say(pipeline, "general", 1, first=1)
    at(pipeline, END + 4 * 3_600 + 1)
    assert pipeline.tell() == []
    assert "dropped.expired" not in pipeline.journal.counts("demo")
    assert pipeline.journal.counts("demo")["digests_skipped.too_old"] == 1


def test_a_row_that_is_replaced_moves_it(pipeline: Pipeline) -> None:
    """G11: until 09:00."""
    people(pipeline)
    say(pipeline, "general", 1)
    pipeline.publish(quiet(1, quiet=[ev.Window(days=EVERY_DAY, begin="20:00", to="09:00")]))
    pipeline.run()
    assert pipeline.tell() == []
    at(pipeline, DUE + 7_199)
    assert pipeline.tell() == []
    at(pipeline, DUE + 7_200)
    assert len(pipeline.tell()) == 1


def test_a_row_that_is_removed_ends_the_silence(pipeline: Pipeline) -> None:
    """G12: at once, with the spread."""
    people(pipeline)
    say(pipeline, "general", 1)
    pipeline.publish(quiet(1, quiet=None))
    pipeline.run()
    assert pipeline.tell() == []
    at(pipeline, DUE - END)
    assert len(pipeline.tell()) == 1
    assert nothing_is_left(pipeline)


def test_digests_are_spread(pipeline: Pipeline) -> None:
    """G13: each user's at the same time each day, within the app's spread."""
    spreads = [spread_of("demo", f"user-{n}", 300) for n in range(3_000)]
    assert spreads == [spread_of("demo", f"user-{n}", 300) for n in range(3_000)]
    assert (min(spreads), max(spreads)) == (0, 299)
    assert max(spreads.count(second) for second in range(300)) < 40
    assert spread_of("demo", "han", 0) == 0
    pipeline.save_app(attention=Attention(digest_spread=0))
    people(pipeline)
    say(pipeline, "general", 1)
    at(pipeline, END)
    assert len(pipeline.tell()) == 1


def test_what_was_deleted_is_not_said(pipeline: Pipeline) -> None:
    """G14."""
    people(pipeline)
    say(pipeline, "general", 3)
    general, gone = ev.ChannelId(id="general"), ev.MessageId(id="m-general-1")
    pipeline.publish(ev.MessageDeleted(**stamp(9), channel=general, message=gone))
    pipeline.run()
    at(pipeline, BY_THEN)
    [sent] = pipeline.tell()
    assert payload(sent)["carillon"]["digest"]["messages"] == 2


@pytest.mark.parametrize("mode", ["id", "sealed"])
def test_of_what_may_not_be_read_on_the_way_there_are_numbers_only(pipeline: Pipeline, mode: Any) -> None:
    """G15."""
    pipeline.save_app(attention=Attention(privacy=mode))
    people(pipeline)
    pipeline.publish(ev.ChannelUpdated(**stamp(), channel=ev.ChannelSettings(id="general", name="General")))
    say(pipeline, "general", 2)
    at(pipeline, BY_THEN)
    [sent] = pipeline.tell()
    assert payload(sent)["aps"]["alert"] == {"title": "While you were away", "body": "2 new messages"}
    assert "channels" not in payload(sent)["carillon"]["digest"]
    assert b"eneral" not in sent.payload


def test_a_template_of_its_kind_says_it(pipeline: Pipeline) -> None:
    """One for every kind is for messages: it knows nothing of a digest."""
    for kind, text in (
        ("", "{{ sender.id }}"),
        (
            "digest",
            "{{ digest.messages }}, {{ digest.mentions }} of them yours, {{ digest.rest }} more: {{ message.text }}",
        ),
    ):
        document = json.dumps({"aps": {"alert": text}, "first": "{{ digest.channels | first }}"})
        pipeline.registry.save_template(StoredTemplate(pipeline.provider.id, kind, "", document))
    people(pipeline)
    say(pipeline, "general", 2, mentions=1)
    at(pipeline, BY_THEN)
    [sent] = pipeline.tell()
    assert payload(sent)["aps"]["alert"] == "2, 1 of them yours, 0 more: 2 new messages, 1 mentions you"
    assert payload(sent)["first"] == {"id": "general", "messages": 2, "mentions": 1}


def test_who_has_no_device_any_more_gets_none(pipeline: Pipeline) -> None:
    """G16."""
    people(pipeline)
    say(pipeline, "general", 1)
    pipeline.publish(ev.DeviceUnregistered(**stamp(1), user="han", device=ev.DeviceToken(token=token("han"))))
    pipeline.run()
    at(pipeline, BY_THEN)
    assert pipeline.tell() == []
    assert reasons(pipeline) == ["no_device"]
    assert nothing_is_left(pipeline)


def test_a_repeat_after_a_crash_has_the_same_ids(pipeline: Pipeline) -> None:
    """G17: the worker dies when it has sent, before it has written down that it did."""
    people(pipeline)
    say(pipeline, "general", 1)
    at(pipeline, BY_THEN)
    pipeline.digests.tell_due()
    pipeline.digests.tell_due()
    pipeline.apns.half = set()
    with pytest.raises(pipeline.apns.Died):
        pipeline.deliver()
    pipeline.apns.half = None
    pipeline.later()
    pipeline.deliver()
    first, second = pipeline.apns.sent
    assert (first.id, first.heading.collapse_id, first.payload) == (
        second.id,
        second.heading.collapse_id,
        second.payload,
    )


def test_a_message_that_comes_while_it_is_sent_is_lost_in_none(pipeline: Pipeline, monkeypatch: Any) -> None:
    people(pipeline)
    say(pipeline, "general", 1)
    read_all = pipeline.digests._read

    def meanwhile(*some: Any) -> Any:
        found = read_all(*some)
        monkeypatch.undo()
        at(pipeline, 0)
        say(pipeline, "general", 1, first=1)
        at(pipeline, BY_THEN)
        return found

    monkeypatch.setattr(pipeline.digests, "_read", meanwhile)
    at(pipeline, BY_THEN)
    [sent] = pipeline.tell()
    assert payload(sent)["carillon"]["digest"]["messages"] == 2


def test_whoever_wants_none_gets_none_and_the_number_counts_on(pipeline: Pipeline) -> None:
    people(pipeline, setting=quiet(after="nothing"))
    say(pipeline, "general", 2)
    at(pipeline, BY_THEN)
    assert pipeline.tell() == []
    pipeline.publish(message(id="day", seconds=BY_THEN))
    [sent] = pipeline.run()
    assert payload(sent)["aps"]["badge"] == 3
    assert nothing_is_left(pipeline)


def test_the_number_may_be_shown_at_once_without_a_sound(pipeline: Pipeline) -> None:
    """At most once a minute."""
    people(pipeline, setting=quiet(badge="silent"))
    say(pipeline, "general", 3)
    at(pipeline, 59)
    assert pipeline.tell() == []
    at(pipeline, 60)
    [sent] = pipeline.tell()
    assert (payload(sent), sent.heading.priority) == ({"aps": {"badge": 3}}, 5)
    at(pipeline, BY_THEN)
    [digest] = pipeline.tell()
    assert payload(digest)["aps"]["badge"] == 3


def test_what_was_cleared_meanwhile_is_in_no_number(pipeline: Pipeline) -> None:
    people(pipeline)
    say(pipeline, "general", 2)
    pipeline.publish(ev.BadgeCleared(**stamp(5), user="han", others=True))
    pipeline.run()
    say(pipeline, "general", 1, first=6)
    at(pipeline, BY_THEN)
    assert payload(pipeline.tell()[-1])["aps"]["badge"] == 1


def test_what_is_muted_or_read_counts_for_none(pipeline: Pipeline) -> None:
    people(pipeline)
    pipeline.publish(ev.UserMuted(**stamp(), user="han", target="leia"))
    say(pipeline, "general", 1)
    assert nothing_is_left(pipeline)


def test_a_silence_without_an_end_has_none(pipeline: Pipeline) -> None:
    people(pipeline, setting=quiet(quiet=[ev.Window(days=EVERY_DAY, begin="00:00", to="24:00")]))
    say(pipeline, "general", 1)
    assert nothing_is_left(pipeline)


def test_counts_are_kept_for_nine_days_at_most(pipeline: Pipeline) -> None:
    people(pipeline)
    say(pipeline, "general", 1)
    assert 0 < int(pipeline.redis.ttl(keys.DIGEST("demo", "han"))) <= 9 * 86_400
    pipeline.redis.delete(keys.DIGEST("demo", "han"))
    at(pipeline, BY_THEN)
    assert pipeline.tell() == []
    assert nothing_is_left(pipeline)


def test_a_seal_has_the_names_inside_and_the_number_outside(pipeline: Pipeline) -> None:
    """V10."""
    of = new_browser()
    pipeline.save_app(attention=Attention(privacy="sealed"))
    people(pipeline)
    keys = ev.DeviceKeys(id="k1", scheme="aes128gcm", p256dh=base64url(of.keys.p256dh), auth=base64url(of.keys.auth))
    device = ev.Device(token=token("han"), accepts=["sealed"], keys=keys)
    pipeline.publish(ev.DeviceRegistered(**stamp(1), user="han", device=device))
    pipeline.publish(ev.ChannelUpdated(**stamp(), channel=ev.ChannelSettings(id="general", name="General")))
    say(pipeline, "general", 3)
    at(pipeline, BY_THEN)
    [sent] = pipeline.tell()
    assert payload(sent)["aps"]["alert"] == {"title": "3 new messages"}
    assert list(payload(sent)["carillon"]) == ["sealed"] and b"eneral" not in sent.payload
    inside = json.loads(of.read(urlsafe_b64decode(payload(sent)["carillon"]["sealed"]["d"] + "==")))
    assert inside["aps"]["alert"] == {"title": "General", "body": "3 new messages"}
    assert inside["carillon"]["digest"]["channels"] == [
        {"id": "general", "name": "General", "messages": 3, "mentions": 0}
    ]


def test_a_call_that_comes_through_no_quiet_time_is_in_the_digest(pipeline: Pipeline) -> None:
    """B12."""
    people(pipeline, setting=quiet(allow=ev.Allow(triggers=[])))
    call = ev.Call(id="6f1c0a5e-7a52-4a39-9d5b-0e2f6b1c9a11")
    general, leia = ev.Channel(id="general"), ev.Sender(id="leia")
    pipeline.publish(ev.CallStarted(**stamp(), call=call, channel=general, caller=leia, recipients=["han"]))
    assert pipeline.run() == []
    at(pipeline, BY_THEN)
    [sent] = pipeline.tell()
    assert payload(sent)["carillon"]["digest"]["channels"] == [{"id": "general", "messages": 1, "mentions": 0}]


def test_where_nothing_goes_out_unsealed_there_is_none_for_who_has_no_key(pipeline: Pipeline) -> None:
    pipeline.save_app(attention=Attention(privacy="sealed", sealed_only=True))
    people(pipeline)
    say(pipeline, "general", 1)
    at(pipeline, BY_THEN)
    assert pipeline.tell() == []
    assert pipeline.journal.counts("demo")["digests_skipped.no_key"] == 1
