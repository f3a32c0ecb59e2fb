"""The whole pipeline on real engines: who gets a push for what is published, and what the ledger says about everybody else."""

import json
import random
from datetime import timedelta

import pytest
from msgspec.structs import replace

from producers import events as ev
from tests.integration.pipeline.harness import START, Pipeline, message, stamp, token, user_of


def notified(pipeline: Pipeline) -> list[str]:
    return sorted(user_of(n) for n in pipeline.run())


def test_every_device_of_every_member_but_the_sender_gets_a_push(pipeline):
    pipeline.member("general", "leia", "han", devices=2)
    pipeline.publish(message())
    assert sorted(n.token for n in pipeline.run()) == [token("han", 0), token("han", 1)]


def test_what_is_sent_is_what_apple_expects(pipeline):
    pipeline.member("general", "leia", "han")
    pipeline.publish(message(text="hi", data={"deep": ["link"]}))
    [sent] = pipeline.run()
    payload = json.loads(sent.payload)
    assert payload["aps"]["alert"]["body"] == "hi"
    assert payload["aps"]["badge"] == 1
    assert payload["carillon"]["data"] == {"deep": ["link"]}
    assert (sent.heading.topic, sent.heading.push_type, sent.heading.priority) == ("io.carillon.demo", "alert", 10)
    assert sent.heading.expiration == int(START.timestamp()) + 3600


def test_a_repeated_event_id_is_accepted_and_does_nothing(pipeline):
    pipeline.member("general", "leia", "han")
    pipeline.publish(message(id="same"), message(id="same"))
    assert notified(pipeline) == ["han"]
    pipeline.publish(message(id="same", text="another text"))
    assert notified(pipeline) == []
    assert pipeline.journal.backlog() == (0, 0)


def test_the_stream_is_empty_once_everything_is_accounted_for(pipeline):
    pipeline.member("general", *(f"u{n}" for n in range(30)))
    pipeline.publish(*(message(id=f"e{n}") for n in range(20)))
    assert len(pipeline.run()) == 600
    assert pipeline.journal.backlog() == (0, 0)
    assert pipeline.redis.zcard("carillon:due") == 0
    assert list(pipeline.redis.keys("carillon:batch:*")) == []


def test_S3_A4_presence_and_S5_mutes_and_S11_missing_devices_are_named(pipeline):
    pipeline.member("general", "leia", "han", "luke", "chewie", "r2")
    pipeline.publish(ev.MemberAdded(**stamp(), channel=ev.ChannelId(id="general"), users=["lando"]))
    pipeline.publish(ev.UserMuted(**stamp(), user="luke", target="leia"))
    pipeline.redis.set("carillon:online:demo:chewie", 1, ex=60)
    pipeline.publish(message())
    assert notified(pipeline) == ["han", "r2"]
    assert pipeline.account("e1")["page:0"] == {
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
def test_a_message_for_nobody_has_its_reason(pipeline, change, reason):
    pipeline.member("general", "leia", "han")
    pipeline.publish(message(**change))
    assert notified(pipeline) == []
    assert pipeline.account("e1") == {"page:0": {"message": reason}}
    assert pipeline.journal.backlog() == (0, 0)


def test_S9_a_channel_that_is_off_is_silent_until_it_is_on_again(pipeline):
    pipeline.member("general", "leia", "han")
    settings = ev.ChannelSettings(id="general", push_notifications=False)
    pipeline.publish(ev.ChannelUpdated(**stamp(1), channel=settings), message(id="off"))
    assert notified(pipeline) == []
    on = replace(settings, push_notifications=True)
    pipeline.publish(ev.ChannelUpdated(**stamp(2), channel=on), message(id="on"))
    assert notified(pipeline) == ["han"]


def test_S4_a_reply_reaches_only_the_thread_and_the_thread_is_learned_from_messages(pipeline):
    users = ["leia", "han", "luke", "chewie", "lando"]
    pipeline.member("general", *users)
    pipeline.publish(
        message(id="root", sender="leia", mentioned=["luke"]),
        message(id="reply", sender="han", parent_id="m-root"),
        message(id="second", sender="lando", parent_id="m-root", mentioned=["chewie"]),
    )
    pipeline.run()
    assert pipeline.account("reply")["page:0"]["pushed"] == ["leia", "luke"], (
        "who joins later is not notified of what was before"
    )
    assert pipeline.account("second")["page:0"]["pushed"] == ["chewie", "han", "leia", "luke"]
    pipeline.publish(message(id="third", sender="leia", parent_id="m-root"))
    assert notified(pipeline) == ["chewie", "han", "lando", "luke"]


def test_a_mentioned_user_who_is_no_member_is_named_so(pipeline):
    pipeline.member("general", "leia", "han")
    pipeline.member("other", "greedo")
    pipeline.publish(message(mentioned=["greedo", "nobody"]))
    assert notified(pipeline) == ["han"]
    assert pipeline.account("e1")["page:0"]["skipped"]["not_a_member"] == ["greedo", "nobody"]


def test_recipients_replace_the_stored_membership(pipeline):
    pipeline.member("general", "leia", "han")
    pipeline.member("other", "luke")
    pipeline.publish(message(recipients=["luke", "leia"]))
    assert notified(pipeline) == ["luke"]


def test_S7_the_cap_leaves_the_mentioned_out_of_its_count_and_says_who_was_over_it(pipeline):
    pipeline.save_app(member_cap=2)
    pipeline.member("general", "leia", *(f"u{n}" for n in range(6)))
    pipeline.publish(message(mentioned=["u5"]))
    assert notified(pipeline) == ["u0", "u1", "u5"]
    assert pipeline.account("e1")["page:0"]["skipped"]["over_member_cap"] == ["u2", "u3", "u4"]


def test_a_channel_larger_than_a_page_notifies_everybody_once(small_pages):
    pipeline = small_pages
    pipeline.save_app(member_cap=None)
    users = [f"u{n:03}" for n in range(95)]
    pipeline.member("general", *users)
    pipeline.publish(message(sender="u007", mentioned=["u090", "u001"]))
    assert notified(pipeline) == [user for user in users if user != "u007"]
    account = pipeline.account("e1")
    assert sum(part.get("considered", 0) for part in account.values()) == 95
    assert {f"page:{n}" for n in range(10)} <= set(account)
    assert pipeline.journal.backlog() == (0, 0)


def test_the_cap_counts_over_pages_and_the_rest_is_counted_unread(small_pages):
    pipeline = small_pages
    pipeline.save_app(member_cap=25)
    pipeline.member("general", *(f"u{n:03}" for n in range(95)))
    pipeline.publish(message(sender="u000", mentioned=["u094"]))
    assert len(notified(pipeline)) == 26, "and the mentioned one"
    account = pipeline.account("e1")
    pages = [part for name, part in account.items() if name.startswith("page")]
    assert sum(page["considered"] for page in pages) == 95
    assert (
        sum(page.get("rest", {}).get("over_member_cap", 0) for page in pages)
        + sum(len(page["skipped"].get("over_member_cap", ())) for page in pages)
        == 95 - 26 - 1
    )


def test_a_reply_in_a_large_channel_is_not_walked(small_pages):
    pipeline = small_pages
    pipeline.member("general", *(f"u{n:03}" for n in range(95)))
    pipeline.publish(message(id="root", sender="u080"), message(id="reply", sender="u003", parent_id="m-root"))
    pipeline.run()
    account = pipeline.account("reply")
    assert account["page:0"]["pushed"] == ["u080"]
    assert account["page:0"]["rest"] == {"not_in_thread": 84}
    assert account["page:0"]["considered"] == 95


def test_M2_a_device_gets_pushes_of_its_last_owner_only(pipeline):
    pipeline.member("general", "leia", "han", "luke")
    taken = ev.Device(token=token("han"))
    pipeline.publish(ev.DeviceRegistered(**stamp(5), user="luke", device=taken), message())
    assert sorted(n.token for n in pipeline.run()) == sorted([token("luke"), token("han")])
    assert pipeline.account("e1")["page:0"]["skipped"]["no_device"] == ["han"]


def test_M3_M4_unregistering_with_and_without_a_user(pipeline):
    pipeline.member("general", "leia", "han", "luke")
    mine, his = ev.DeviceToken(token=token("han")), ev.DeviceToken(token=token("luke"))
    pipeline.publish(ev.DeviceUnregistered(**stamp(5), device=mine, user="luke"))
    pipeline.publish(ev.DeviceUnregistered(**stamp(5), device=his), message())
    assert notified(pipeline) == ["han"]


def test_accounts_that_are_forgotten_twice_for_want_of_an_answer_take_no_others_with_them(pipeline):
    pipeline.redis.rpush("carillon:accounts", *(f"a{n}" for n in range(5)))
    read = pipeline.journal.accounts(2)
    pipeline.journal.forget_accounts(read)
    pipeline.journal.forget_accounts(read)
    assert pipeline.journal.accounts(9) == [b"a2", b"a3", b"a4"]


def test_M5_the_order_is_that_of_the_writes_own_times(pipeline):
    """However the writes arrive, the newest registration owns the device."""
    pipeline.member("general", "leia", "a", "b", "c", devices=0)
    writes: list[ev.AnyEvent] = [
        ev.DeviceRegistered(**stamp(10), user="a", device=ev.Device(token="aa")),
        ev.DeviceRegistered(**stamp(20), user="b", device=ev.Device(token="aa")),
        ev.DeviceUnregistered(**stamp(30), device=ev.DeviceToken(token="aa"), user="a"),
        ev.DeviceRegistered(**stamp(5), user="c", device=ev.Device(token="aa")),
    ]
    for seed in range(6):
        shuffled = random.Random(seed).sample(writes, len(writes))
        for write in shuffled:
            pipeline.publish(write)
            pipeline.take()
        pipeline.publish(message(id=f"e{seed}"))
        pipeline.run()
        assert pipeline.account(f"e{seed}")["page:0"]["pushed"] == ["b"], seed


def test_S6_the_device_cap_keeps_the_newest(pipeline):
    pipeline.save_app(device_cap=2)
    pipeline.member("general", "leia")
    pipeline.publish(ev.MemberAdded(**stamp(), channel=ev.ChannelId(id="general"), users=["han"]))
    for n in (3, 1, 2):
        pipeline.publish(ev.DeviceRegistered(**stamp(n), user="han", device=ev.Device(token=f"0{n}")))
    pipeline.publish(message())
    assert sorted(n.token for n in pipeline.run()) == ["02", "03"]


def test_members_leave_and_come_back_in_the_order_of_their_times(pipeline):
    pipeline.member("general", "leia", "han")
    removed = ev.MemberRemoved(**stamp(10), channel=ev.ChannelId(id="general"), users=["han"])
    late = ev.MemberAdded(**stamp(5), channel=ev.ChannelId(id="general"), users=["han"])
    pipeline.publish(removed, late, message(id="gone"))
    assert notified(pipeline) == []
    pipeline.publish(ev.MemberAdded(**stamp(11), channel=ev.ChannelId(id="general"), users=["han"]), message(id="back"))
    assert notified(pipeline) == ["han"]


def test_badges_count_up_for_each_device_and_are_cleared(pipeline):
    pipeline.member("general", "leia", "han")
    pipeline.publish(message(id="e1"), message(id="e2"))
    badges = sorted(json.loads(n.payload)["aps"]["badge"] for n in pipeline.run())
    assert badges == [1, 2]
    pipeline.publish(ev.BadgeCleared(**stamp(), user="han"))
    pipeline.run()
    pipeline.publish(message(id="e3"))
    assert [json.loads(n.payload)["aps"]["badge"] for n in pipeline.run()] == [1]


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
def test_bad_input_is_dead_lettered_with_its_reason_and_its_neighbours_are_delivered(pipeline, document, error):
    pipeline.member("general", "leia", "han")
    pipeline.publish(message(id="before"), document, message(id="after"))
    assert notified(pipeline) == ["han", "han"]
    [letter] = pipeline.ledger.dead_letters()
    assert error in letter.letter.error
    assert pipeline.ledger.dead_letter(letter.id).letter.document == document
    assert pipeline.journal.backlog() == (0, 0)


def test_an_entry_without_the_field_is_dead_lettered(pipeline):
    pipeline.redis.xadd(ev.STREAM, {"something": "else"})
    pipeline.take()
    assert len(pipeline.ledger.dead_letters()) == 1


def test_what_was_published_before_a_message_is_in_force_when_it_is_expanded(pipeline):
    """Thousands of "add member, register device, send message" back to back: each gets a push."""
    triples = 2000
    with pipeline.redis.pipeline(transaction=False) as pipe:
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
    sent = pipeline.run()
    assert len(sent) == triples
    assert len({n.token for n in sent}) == triples


def test_a_burst_is_folded_into_one_replaceable_notification_and_mentions_break_through(pipeline):
    pipeline.save_app(fold_after=3)
    pipeline.member("general", "leia", "han")
    pipeline.publish(ev.ChannelUpdated(**stamp(1), channel=ev.ChannelSettings(id="general", name="General")))
    pipeline.publish(*(message(id=f"e{n}") for n in range(5)), message(id="e5", mentioned=["han"]))
    sent = pipeline.run()
    bodies = [json.loads(n.payload)["aps"]["alert"]["body"] for n in sent]
    assert sorted(bodies) == ["4 new messages", "5 new messages", *["hello"] * 4]
    folded = {n.heading.collapse_id for n in sent if b"new messages" in n.payload}
    assert len(folded) == 1, "each replaces the one before"
    assert len({n.heading.collapse_id for n in sent}) == 5
    assert pipeline.journal.counts("demo")["folded"] == 2


def test_a_phone_learns_when_a_message_was_written_and_why_its_owner_gets_it(pipeline):
    pipeline.member("general", "leia", "han", "luke", "chewie")
    pipeline.publish(message(mentioned=["luke"], seconds=2))
    payloads = {n.token: json.loads(n.payload)["carillon"] for n in pipeline.run()}
    assert {user: payloads[token(user)]["why"] for user in ("han", "luke", "chewie")} == {
        "han": "message",
        "luke": "mention",
        "chewie": "message",
    }
    assert {one["at"] for one in payloads.values()} == {round(START.timestamp() + 2) * 1000}


@pytest.mark.parametrize(
    ("members", "title"),
    [
        pytest.param(["leia", "han"], "leia", id="between two people"),
        pytest.param(["leia", "han", "luke"], None, id="several may have written"),
    ],
)
def test_a_burst_of_a_channel_without_a_name_is_nobody_s_who_may_not_have_written_all_of_it(pipeline, members, title):
    pipeline.save_app(fold_after=1, member_cap=1)
    pipeline.member("general", *members)
    pipeline.publish(message(id="e1"), message(id="e2"))
    alerts = [json.loads(n.payload)["aps"]["alert"] for n in pipeline.run()]
    [folded] = [alert for alert in alerts if alert["body"] == "2 new messages"]
    assert folded.get("title") == title
