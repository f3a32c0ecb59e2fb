"""A1, A2, A5: a message reaches the company's own API over the whole pipeline, and its answer is carried out."""

import dataclasses
import hashlib
import hmac
from datetime import timedelta
from email.utils import formatdate
from typing import Any

import jwt
import pytest
from cryptography.fernet import Fernet

from producers import events as ev
from tests.integration.pipeline.harness import START, message, stamp, token
from tests.integration.webhook.conftest import OLDER, SECRET
from tests.integration.webhook.receiver import Say, answered
from worker.core.push_ids import apns_id
from worker.database.registry import Registry
from worker.pipeline.apps import Apps
from worker.providers import kinds
from worker.providers.webhook.answer import GONE_MINIMUM


def active(pipeline):
    with pipeline.pool.connection() as db:
        return {user for (user,) in db.execute("SELECT user_id FROM carillon.devices WHERE active")}


def verified(got, secret):
    """As docs/webhooks.md has receivers do it."""
    signed = f"{got.headers['carillon-timestamp']}.".encode() + got.body
    expected = "v1=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return any(hmac.compare_digest(one, expected) for one in got.headers["carillon-signature"].split(","))


def save(pipeline, **changes):
    settings = dataclasses.replace(pipeline.provider.settings, **changes)
    pipeline.provider = pipeline.registry.save_provider(dataclasses.replace(pipeline.provider, settings=settings))


def test_A1_a_batch_of_recipients_is_one_signed_post(pipeline, receiver):
    pipeline.member("general", "leia", "han", "luke")
    pipeline.publish(message(kind="order", data={"total": 12}, mentioned=["luke"], text="hello"))
    pipeline.run()
    [got] = receiver.got
    assert verified(got, SECRET) and not verified(got, OLDER)
    assert int(got.headers["carillon-timestamp"]) == int(START.timestamp())
    assert got.headers["content-type"] == "application/json"
    document = got.document
    assert (document["app"], document["provider"]) == ("demo", "hook")
    assert document["batch"] == got.headers["carillon-batch"]
    entries = {one["user"]: one for one in got.recipients}
    assert {user: one["why"] for user, one in entries.items()} == {"luke": "mention", "han": "message"}
    han = entries["han"]
    fields = "id event_id kind why user device_id badge payload expires_at collapse_id priority importance privacy"
    assert set(han) == set(fields.split()) and han["priority"] == 10
    assert (han["event_id"], han["kind"], han["badge"], han["device_id"]) == ("e1", "order", 1, token("han"))
    assert han["expires_at"] == int(START.timestamp()) + 3600
    assert han["payload"]["aps"]["alert"]["body"] == "hello"
    counts = pipeline.journal.counts("demo")
    assert counts["accepted"] == 2
    assert pipeline.journal.backlog() == (0, 0)
    assert pipeline.apns.sent == []


def test_A5_kind_and_data_of_the_message_are_in_the_payload(pipeline, receiver):
    pipeline.member("general", "leia", "han")
    pipeline.publish(message(kind="order", data={"total": 12, "items": [1, 2]}))
    pipeline.run()
    [one] = receiver.got[0].recipients
    assert one["payload"]["carillon"]["kind"] == "order"
    assert one["payload"]["carillon"]["data"] == {"total": 12, "items": [1, 2]}


def test_a_reply_says_that_the_thread_is_why(pipeline, receiver):
    pipeline.member("general", "leia", "han", "luke")
    pipeline.publish(message(id="e1", sender="han"))
    pipeline.run()
    receiver.got.clear()
    pipeline.publish(message(id="e2", parent_id="m-e1"))
    pipeline.run()
    assert [(one["user"], one["why"]) for got in receiver.got for one in got.recipients] == [("han", "thread")]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("+49 170 1234567", id="a number"),
        pytest.param("https://push.example/ep/äöü?x=<1>", id="an address"),
        pytest.param("Not Hex", id="words, as they were written"),
    ],
)
def test_A2_any_string_is_a_device_id(pipeline, receiver, name):
    pipeline.publish(ev.MemberAdded(**stamp(), channel=ev.ChannelId(id="general"), users=["leia", "han"]))
    pipeline.publish(ev.DeviceRegistered(**stamp(), user="han", device=ev.Device(token=name)))
    pipeline.publish(message())
    pipeline.run()
    assert [one["device_id"] for one in receiver.got[0].recipients] == [name]
    pipeline.publish(ev.DeviceUnregistered(**stamp(1), user="han", device=ev.DeviceToken(token=name)))
    pipeline.take()
    assert active(pipeline) == set()


def test_both_secrets_sign_while_they_are_being_changed(pipeline, receiver):
    save(pipeline, secrets=(SECRET, OLDER))
    pipeline.member("general", "leia", "han")
    pipeline.publish(message())
    pipeline.run()
    [got] = receiver.got
    assert verified(got, SECRET) and verified(got, OLDER)
    assert not verified(got, "some other secret")


def test_a_jwt_over_the_body_s_hash_instead(pipeline, receiver):
    save(pipeline, secrets=(SECRET, OLDER), signing="jwt")
    pipeline.member("general", "leia", "han")
    pipeline.publish(message())
    pipeline.run()
    [got] = receiver.got
    assert "carillon-signature" not in got.headers
    options: Any = {"verify_exp": False, "verify_iat": False}  # the pipeline's clock is not this machine's
    for header, secret in (("authorization", SECRET), ("carillon-authorization", OLDER)):
        bearer = got.headers[header].removeprefix("Bearer ")
        claims = jwt.decode(bearer, secret, algorithms=["HS256"], options=options)
        assert claims["body_sha256"] == hashlib.sha256(got.body).hexdigest()
        assert (claims["iss"], claims["jti"]) == ("carillon", got.document["batch"])
        assert claims["exp"] - claims["iat"] == 300


def test_each_recipient_has_the_outcome_that_the_answer_gives_it(pipeline, receiver):
    pipeline.member("general", "leia", "han", "luke", "chewie", "lando", "r2")
    receiver.answer = lambda got: answered(got, han="accepted", luke="gone", chewie="retry", lando="refused")
    pipeline.publish(message())
    pipeline.run()
    counts = pipeline.journal.counts("demo")
    assert counts["accepted"] == 2, "who is not named was taken"
    assert (counts["retired.gone"], counts["retry.retry"], counts["dropped.refused"]) == (1, 1, 1)
    assert active(pipeline) == {"leia", "han", "chewie", "lando", "r2"}
    receiver.says()
    pipeline.later()
    pipeline.deliver()
    assert receiver.got[-1].users == ["chewie"]
    assert pipeline.journal.backlog() == (0, 0)


def test_a_list_of_device_ids_that_are_gone_retires_them(pipeline, receiver):
    pipeline.member("general", "leia", "han", "luke")
    receiver.says(document={"gone": [token("luke")]})
    pipeline.publish(message())
    pipeline.run()
    assert active(pipeline) == {"leia", "han"}
    assert pipeline.journal.counts("demo")["accepted"] == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_work_later_is_tried_again_with_the_same_batch_id_and_body(pipeline, receiver, status):
    pipeline.member("general", "leia", "han", "luke")
    receiver.says(status)
    pipeline.publish(message())
    pipeline.run()
    receiver.says()
    assert pipeline.later() == 1
    pipeline.deliver()
    first, second = receiver.got
    assert first.headers["carillon-batch"] == second.headers["carillon-batch"]
    assert first.body == second.body
    assert verified(second, SECRET)
    assert pipeline.journal.counts("demo")["accepted"] == 2


@pytest.mark.parametrize(
    "value",
    [pytest.param("120", id="seconds"), pytest.param(formatdate(START.timestamp() + 120, usegmt=True), id="a date")],
)
def test_retry_after_is_honoured(pipeline, receiver, value):
    pipeline.member("general", "leia", "han")
    receiver.says(503, headers={"Retry-After": value})
    pipeline.publish(message())
    pipeline.run()
    receiver.says()
    assert pipeline.later(100) == 0
    assert pipeline.later(30) == 1


def test_a_server_that_is_away_costs_no_try_and_gets_the_batch_when_it_is_back(pipeline, receiver):
    pipeline.member("general", "leia", "han")
    save(pipeline, url="https://localhost:1/push")
    pipeline.publish(message())
    pipeline.run()
    assert pipeline.journal.counts("demo")["retry.connect_failed"] == 1
    save(pipeline, url=receiver.url)
    pipeline.later()
    pipeline.deliver()
    assert pipeline.journal.counts("demo")["accepted"] == 1


@pytest.mark.parametrize("status", [302, 307, 401, 403, 404])
def test_a_wrong_door_stops_the_provider_and_nothing_is_lost(pipeline, receiver, status):
    pipeline.member("general", "leia", "han", "luke")
    receiver.says(status, headers={"Location": receiver.url})
    pipeline.publish(message())
    pipeline.run()
    assert len(receiver.got) == 1, "no redirect is followed"
    assert pipeline.breaker.stopped(pipeline.provider.id)
    assert active(pipeline) == {"leia", "han", "luke"}
    receiver.says()
    pipeline.redis.delete(f"carillon:probe:{pipeline.provider.id}")
    pipeline.later()
    pipeline.deliver()
    assert pipeline.breaker.stopped(pipeline.provider.id) is None
    assert pipeline.journal.counts("demo")["accepted"] == 2


def test_a_request_that_is_refused_as_it_is_is_not_sent_again(pipeline, receiver):
    pipeline.member("general", "leia", "han")
    receiver.says(422)
    pipeline.publish(message())
    pipeline.run()
    assert pipeline.journal.counts("demo")["dropped.status_422"] == 1
    assert pipeline.journal.backlog() == (0, 0)


# 410


@pytest.mark.parametrize("members", [pytest.param(5, id="a few"), pytest.param(60, id="many")])
def test_a_webhook_that_says_410_to_everything_retires_nobody(pipeline, receiver, members):
    pipeline.save_app(member_cap=None)
    pipeline.member("general", "leia", *(f"u{n}" for n in range(members)))
    receiver.says(410)
    for n in range(3):
        pipeline.publish(message(id=f"e{n}"))
        pipeline.run()
    assert len(active(pipeline)) == members + 1
    stopped = pipeline.breaker.stopped(pipeline.provider.id)
    assert (stopped is not None and stopped.reason == "mass_refusal") == (members == 60)


def test_410_retires_the_batch_s_devices_while_the_webhook_is_known_to_be_well(pipeline, receiver):
    pipeline.save_app(member_cap=None)
    pipeline.member("general", "leia", *(f"u{n}" for n in range(30)))
    pipeline.publish(message(id="e1"))
    pipeline.run()
    receiver.says(410)
    pipeline.publish(message(id="e2", recipients=["u1"]))
    pipeline.run()
    pipeline.confirm()
    assert "u1" not in active(pipeline)
    assert len(active(pipeline)) == 30


def test_a_list_that_names_nearly_everybody_is_not_believed_at_once(pipeline, receiver):
    pipeline.save_app(member_cap=None)
    pipeline.member("general", "leia", *(f"u{n}" for n in range(GONE_MINIMUM + 5)))
    receiver.answer = lambda got: Say(document={"gone": [one["id"] for one in got.recipients]})
    pipeline.publish(message())
    pipeline.run()
    assert len(active(pipeline)) == GONE_MINIMUM + 6
    assert pipeline.journal.counts("demo")["dropped.mass_gone"] == GONE_MINIMUM + 5


def test_with_410_and_a_list_only_the_listed_are_gone_and_the_others_are_tried_again(pipeline, receiver):
    pipeline.member("general", "leia", "han", "luke")
    receiver.says(410, {"gone": [token("luke")]})
    pipeline.publish(message())
    pipeline.run()
    assert active(pipeline) == {"leia", "han"}
    receiver.says()
    pipeline.later()
    pipeline.deliver()
    assert receiver.got[-1].users == ["han"]


def test_a_rate_of_the_provider_holds_for_a_webhook(pipeline, receiver):
    pipeline.save_app(provider_rate=2.0, member_cap=None)
    pipeline.member("general", "leia", *(f"u{n}" for n in range(10)))
    pipeline.publish(message())
    pipeline.run()
    assert sum(len(got.recipients) for got in receiver.got) < 10
    assert pipeline.journal.counts("demo")["limited.provider_rate"] > 0


def test_ids_are_those_that_apns_would_get(pipeline, receiver):
    pipeline.member("general", "leia", "han")
    pipeline.publish(message())
    pipeline.run()
    with pipeline.pool.connection() as db:
        [(device,)] = db.execute("SELECT id FROM carillon.devices WHERE user_id = 'han'").fetchall()
    assert receiver.got[0].recipients[0]["id"] == apns_id("e1", "demo", device)


def test_what_the_receiver_says_never_becomes_the_name_of_a_count(pipeline, receiver):
    pipeline.member("general", "leia", "han")
    receiver.answer = lambda got: Say(
        document={
            "results": [{"id": one["id"], "status": "gone", "reason": "Jane Doe moved"} for one in got.recipients]
        }
    )
    pipeline.publish(message())
    pipeline.run()
    assert "retired.gone" in pipeline.journal.counts("demo")
    assert not [name for name in pipeline.journal.counts("demo") if "Jane" in name]


def test_a_webhook_without_a_readable_secret_sends_nothing_and_waits(pipeline, receiver):
    pipeline.member("general", "leia", "han")
    pipeline.publish(message())
    pipeline.take()
    pipeline.expand()
    blind = Apps(Registry(pipeline.pool, [Fernet.generate_key().decode()], kinds), ttl=0.0)
    pipeline.delivery = pipeline.new_delivery(apps=blind)
    pipeline.deliver()
    assert receiver.got == []
    stopped = pipeline.breaker.stopped(pipeline.provider.id)
    assert stopped is not None and stopped.reason == "unusable_credential"
    seen = blind.provider(pipeline.provider.id)
    assert seen is not None and seen.kind == "webhook"


def test_what_was_missed_in_quiet_time_comes_as_a_digest(pipeline, receiver):
    pipeline.member("general", "leia", "han")
    pause = START + timedelta(hours=1)
    pipeline.publish(ev.QuietUpdated(**stamp(), user="han", pause_until=pause), message(mentioned=["han"]))
    pipeline.run()
    assert receiver.got == []
    pipeline.now += 2 * 3600
    pipeline.tell()
    [one] = receiver.got[0].recipients
    assert (one["user"], one["kind"], one["event_id"]) == ("han", "digest", f"digest:han:{int(pause.timestamp())}")
    assert one["payload"]["carillon"]["digest"]["messages"] == 1
