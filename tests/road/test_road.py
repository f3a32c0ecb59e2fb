"""The whole road on real engines: who rings for what is published, and what the ledger says about everybody else."""

import json
import random
from datetime import timedelta

import pytest
from msgspec.structs import replace

from producers import events as ev
from tests.road.harness import START, Road, message, stamp, token, user_of


def rung(road: Road) -> list[str]:
    return sorted(user_of(n) for n in road.run())


def test_every_device_of_every_member_but_the_sender_rings(road):
    road.member("general", "leia", "han", devices=2)
    road.publish(message())
    assert sorted(n.token for n in road.run()) == [token("han", 0), token("han", 1)]


def test_what_is_sent_is_what_apple_expects(road):
    road.member("general", "leia", "han")
    road.publish(message(text="hi", data={"deep": ["link"]}))
    [sent] = road.run()
    payload = json.loads(sent.payload)
    assert payload["aps"]["alert"]["body"] == "hi"
    assert payload["aps"]["badge"] == 1
    assert payload["carillon"]["data"] == {"deep": ["link"]}
    assert (sent.topic, sent.push_type, sent.priority) == ("io.carillon.demo", "alert", 10)
    assert sent.expiration == int(START.timestamp()) + 3600


def test_a_repeated_event_id_is_accepted_and_does_nothing(road):
    road.member("general", "leia", "han")
    road.publish(message(id="same"), message(id="same"))
    assert rung(road) == ["han"]
    road.publish(message(id="same", text="another text"))
    assert rung(road) == []
    assert road.journal.backlog() == (0, 0)


def test_the_stream_is_empty_once_everything_is_accounted_for(road):
    road.member("general", *(f"u{n}" for n in range(30)))
    road.publish(*(message(id=f"e{n}") for n in range(20)))
    assert len(road.run()) == 600
    assert road.journal.backlog() == (0, 0)
    assert road.redis.zcard("carillon:due") == 0
    assert list(road.redis.keys("carillon:batch:*")) == []


def test_S3_A4_presence_and_S5_mutes_and_S11_missing_devices_are_named(road):
    road.member("general", "leia", "han", "luke", "chewie", "r2")
    road.publish(ev.MemberAdded(**stamp(), channel=ev.ChannelId(id="general"), users=["lando"]))
    road.publish(ev.UserMuted(**stamp(), user="luke", target="leia"))
    road.redis.set("carillon:online:demo:chewie", 1, ex=60)
    road.publish(message())
    assert rung(road) == ["han", "r2"]
    assert road.account("e1")["page:0"] == {
        "considered": 6,
        "pushed": ["han", "r2"],
        "skipped": {"sender": ["leia"], "muted_sender": ["luke"], "online": ["chewie"], "no_device": ["lando"]},
    }


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param({"skip_push": True}, "skip_push", id="S8"),
        pytest.param({"seconds": -3601.0}, "too_old", id="too old"),
        pytest.param({"channel": "nowhere"}, "unknown_channel", id="unknown channel"),
    ],
)
def test_a_message_for_nobody_has_its_reason(road, change, reason):
    road.member("general", "leia", "han")
    road.publish(message(**change))
    assert rung(road) == []
    assert road.account("e1") == {"page:0": {"message": reason}}
    assert road.journal.backlog() == (0, 0)


def test_S9_a_channel_that_is_off_is_silent_until_it_is_on_again(road):
    road.member("general", "leia", "han")
    settings = ev.ChannelSettings(id="general", push_notifications=False)
    road.publish(ev.ChannelUpdated(**stamp(1), channel=settings), message(id="off"))
    assert rung(road) == []
    on = replace(settings, push_notifications=True)
    road.publish(ev.ChannelUpdated(**stamp(2), channel=on), message(id="on"))
    assert rung(road) == ["han"]


def test_S4_a_reply_reaches_only_the_thread_and_the_thread_is_learned_from_messages(road):
    users = ["leia", "han", "luke", "chewie", "lando"]
    road.member("general", *users)
    road.publish(
        message(id="root", sender="leia", mentioned=["luke"]),
        message(id="reply", sender="han", parent_id="m-root"),
        message(id="second", sender="lando", parent_id="m-root", mentioned=["chewie"]),
    )
    road.run()
    assert road.account("reply")["page:0"]["pushed"] == ["leia", "luke"], (
        "who joins later is not rung for what was before"
    )
    assert road.account("second")["page:0"]["pushed"] == ["chewie", "han", "leia", "luke"]
    road.publish(message(id="third", sender="leia", parent_id="m-root"))
    assert rung(road) == ["chewie", "han", "lando", "luke"]


def test_a_mentioned_user_who_is_no_member_is_named_so(road):
    road.member("general", "leia", "han")
    road.member("other", "greedo")
    road.publish(message(mentioned=["greedo", "nobody"]))
    assert rung(road) == ["han"]
    assert road.account("e1")["page:0"]["skipped"]["not_a_member"] == ["greedo", "nobody"]


def test_recipients_replace_the_stored_membership(road):
    road.member("general", "leia", "han")
    road.member("other", "luke")
    road.publish(message(recipients=["luke", "leia"]))
    assert rung(road) == ["luke"]


def test_S7_the_cap_leaves_the_mentioned_out_of_its_count_and_says_who_was_over_it(road):
    road.save_app(member_cap=2)
    road.member("general", "leia", *(f"u{n}" for n in range(6)))
    road.publish(message(mentioned=["u5"]))
    assert rung(road) == ["u0", "u1", "u5"]
    assert road.account("e1")["page:0"]["skipped"]["over_member_cap"] == ["u2", "u3", "u4"]


def test_a_channel_larger_than_a_page_rings_everybody_once(small_pages):
    road = small_pages
    road.save_app(member_cap=None)
    users = [f"u{n:03}" for n in range(95)]
    road.member("general", *users)
    road.publish(message(sender="u007", mentioned=["u090", "u001"]))
    assert rung(road) == [user for user in users if user != "u007"]
    account = road.account("e1")
    assert sum(part.get("considered", 0) for part in account.values()) == 95
    assert {f"page:{n}" for n in range(10)} <= set(account)
    assert road.journal.backlog() == (0, 0)


def test_the_cap_counts_over_pages_and_the_rest_is_counted_unread(small_pages):
    road = small_pages
    road.save_app(member_cap=25)
    road.member("general", *(f"u{n:03}" for n in range(95)))
    road.publish(message(sender="u000", mentioned=["u094"]))
    assert len(rung(road)) == 26, "and the mentioned one"
    account = road.account("e1")
    pages = [part for name, part in account.items() if name.startswith("page")]
    assert sum(page["considered"] for page in pages) == 95
    assert (
        sum(page.get("rest", {}).get("over_member_cap", 0) for page in pages)
        + sum(len(page["skipped"].get("over_member_cap", ())) for page in pages)
        == 95 - 26 - 1
    )


def test_a_reply_in_a_large_channel_is_not_walked(small_pages):
    road = small_pages
    road.member("general", *(f"u{n:03}" for n in range(95)))
    road.publish(message(id="root", sender="u080"), message(id="reply", sender="u003", parent_id="m-root"))
    road.run()
    account = road.account("reply")
    assert account["page:0"]["pushed"] == ["u080"]
    assert account["page:0"]["rest"] == {"not_in_thread": 84}
    assert account["page:0"]["considered"] == 95


def test_M2_a_device_rings_for_its_last_owner_only(road):
    road.member("general", "leia", "han", "luke")
    taken = ev.Device(token=token("han"))
    road.publish(ev.DeviceRegistered(**stamp(5), user="luke", device=taken), message())
    assert sorted(n.token for n in road.run()) == sorted([token("luke"), token("han")])
    assert road.account("e1")["page:0"]["skipped"]["no_device"] == ["han"]


def test_M3_M4_unregistering_with_and_without_a_user(road):
    road.member("general", "leia", "han", "luke")
    mine, his = ev.DeviceToken(token=token("han")), ev.DeviceToken(token=token("luke"))
    road.publish(ev.DeviceUnregistered(**stamp(5), device=mine, user="luke"))
    road.publish(ev.DeviceUnregistered(**stamp(5), device=his), message())
    assert rung(road) == ["han"]


def test_accounts_that_are_forgotten_twice_for_want_of_an_answer_take_no_others_with_them(road):
    road.redis.rpush("carillon:accounts", *(f"a{n}" for n in range(5)))
    read = road.journal.accounts(2)
    road.journal.forget_accounts(read)
    road.journal.forget_accounts(read)
    assert road.journal.accounts(9) == [b"a2", b"a3", b"a4"]


def test_M5_the_order_is_that_of_the_writes_own_times(road):
    """However the writes arrive, the newest registration owns the device."""
    road.member("general", "leia", "a", "b", "c", devices=0)
    writes: list[ev.AnyEvent] = [
        ev.DeviceRegistered(**stamp(10), user="a", device=ev.Device(token="aa")),
        ev.DeviceRegistered(**stamp(20), user="b", device=ev.Device(token="aa")),
        ev.DeviceUnregistered(**stamp(30), device=ev.DeviceToken(token="aa"), user="a"),
        ev.DeviceRegistered(**stamp(5), user="c", device=ev.Device(token="aa")),
    ]
    for seed in range(6):
        shuffled = random.Random(seed).sample(writes, len(writes))
        for write in shuffled:
            road.publish(write)
            road.take()
        road.publish(message(id=f"e{seed}"))
        road.run()
        assert road.account(f"e{seed}")["page:0"]["pushed"] == ["b"], seed


def test_S6_the_device_cap_keeps_the_newest(road):
    road.save_app(device_cap=2)
    road.member("general", "leia")
    road.publish(ev.MemberAdded(**stamp(), channel=ev.ChannelId(id="general"), users=["han"]))
    for n in (3, 1, 2):
        road.publish(ev.DeviceRegistered(**stamp(n), user="han", device=ev.Device(token=f"0{n}")))
    road.publish(message())
    assert sorted(n.token for n in road.run()) == ["02", "03"]


def test_members_leave_and_come_back_in_the_order_of_their_times(road):
    road.member("general", "leia", "han")
    removed = ev.MemberRemoved(**stamp(10), channel=ev.ChannelId(id="general"), users=["han"])
    late = ev.MemberAdded(**stamp(5), channel=ev.ChannelId(id="general"), users=["han"])
    road.publish(removed, late, message(id="gone"))
    assert rung(road) == []
    road.publish(ev.MemberAdded(**stamp(11), channel=ev.ChannelId(id="general"), users=["han"]), message(id="back"))
    assert rung(road) == ["han"]


def test_badges_count_up_for_each_device_and_are_cleared(road):
    road.member("general", "leia", "han")
    road.publish(message(id="e1"), message(id="e2"))
    badges = sorted(json.loads(n.payload)["aps"]["badge"] for n in road.run())
    assert badges == [1, 2]
    road.publish(ev.BadgeCleared(**stamp(), user="han"))
    road.run()
    road.publish(message(id="e3"))
    assert [json.loads(n.payload)["aps"]["badge"] for n in road.run()] == [1]


@pytest.mark.parametrize(
    ("document", "error"),
    [
        pytest.param(b"{", "document", id="not JSON"),
        pytest.param(
            b'{"v":1,"type":"message.edited","id":"x","app":"demo","at":"2026-11-21T20:00:00Z"}', "type", id="S1 S19"
        ),
        pytest.param(ev.encode(replace(message(), app="nobody")), "app: 'nobody'", id="unknown app"),
        pytest.param(
            ev.encode(ev.DeviceRegistered(**stamp(), user="u", device=ev.Device(token="aa", provider="fcm"))),
            "no provider 'fcm'",
            id="unknown provider",
        ),
        pytest.param(
            ev.encode(ev.DeviceRegistered(**stamp(), user="u", device=ev.Device(token="xyz"))),
            "hex digits",
            id="no APNs token",
        ),
    ],
)
def test_bad_input_is_set_aside_with_its_reason_and_its_neighbours_go_through(road, document, error):
    road.member("general", "leia", "han")
    road.publish(message(id="before"), document, message(id="after"))
    assert rung(road) == ["han", "han"]
    [letter] = road.ledger.dead_letters()
    assert error in letter.letter.error
    assert road.ledger.dead_letter(letter.id).letter.document == document
    assert road.journal.backlog() == (0, 0)


def test_an_entry_without_the_field_is_set_aside(road):
    road.redis.xadd(ev.STREAM, {"something": "else"})
    road.take()
    assert len(road.ledger.dead_letters()) == 1


def test_what_was_published_before_a_message_is_in_force_when_it_is_expanded(road):
    """Thousands of "add member, register device, send message" back to back: every one rings."""
    triples = 2000
    with road.redis.pipeline(transaction=False) as pipe:
        for n in range(triples):
            user = f"u{n}"
            at = START + timedelta(milliseconds=n)
            for event in (
                ev.MemberAdded(id=f"a{n}", app="demo", at=at, channel=ev.ChannelId(id=f"c{n}"), users=[user]),
                ev.DeviceRegistered(id=f"d{n}", app="demo", at=at, user=user, device=ev.Device(token=token(user))),
                message(channel=f"c{n}", id=f"e{n}"),
            ):
                pipe.xadd(ev.STREAM, {ev.FIELD: ev.encode(event)})
        pipe.execute()
    sent = road.run()
    assert len(sent) == triples
    assert len({n.token for n in sent}) == triples


def test_a_burst_is_folded_into_one_replaceable_notification_and_mentions_break_through(road):
    road.save_app(fold_after=3)
    road.member("general", "leia", "han")
    road.publish(ev.ChannelUpdated(**stamp(1), channel=ev.ChannelSettings(id="general", name="General")))
    road.publish(*(message(id=f"e{n}") for n in range(5)), message(id="e5", mentioned=["han"]))
    sent = road.run()
    bodies = [json.loads(n.payload)["aps"]["alert"]["body"] for n in sent]
    assert sorted(bodies) == ["4 new messages", "5 new messages", *["hello"] * 4]
    folded = {n.collapse_id for n in sent if b"new messages" in n.payload}
    assert len(folded) == 1, "each replaces the one before"
    assert len({n.collapse_id for n in sent}) == 5
    assert road.journal.counts("demo")["folded"] == 2


@pytest.mark.parametrize(
    ("members", "title"),
    [
        pytest.param(["leia", "han"], "leia", id="between two people"),
        pytest.param(["leia", "han", "luke"], None, id="several may have written"),
    ],
)
def test_a_burst_of_a_channel_without_a_name_is_nobody_s_who_may_not_have_written_all_of_it(road, members, title):
    road.save_app(fold_after=1, member_cap=1)
    road.member("general", *members)
    road.publish(message(id="e1"), message(id="e2"))
    alerts = [json.loads(n.payload)["aps"]["alert"] for n in road.run()]
    [folded] = [alert for alert in alerts if alert["body"] == "2 new messages"]
    assert folded.get("title") == title
