"""P1 to P7: a push to a query over devices, page by page, whatever dies."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from producers import EventError
from producers import events as ev
from tests.integration.pipeline.harness import START, Pipeline, message, stamp, token, user_of
from worker.core.model import AppSettings
from worker.database.audience import Audience, AudiencePage, PageTooSlowError

PEOPLE: dict[str, dict[str, Any]] = {
    "han": {"team": "red", "level": 3, "city": "Paris", "beta": True},
    "leia": {"team": "red", "level": 10, "city": "Rome"},
    "luke": {"team": "blue", "level": 2.5, "city": "Paris", "beta": None},
    "chewie": {"team": ["red"], "level": "3", 'it\'s; "%s" --': 1},
    "yoda": {},
}


def push(where: dict[str, Any] | None = None, id: str = "p1", **fields: Any) -> ev.PushSend:
    content = fields if {"alert", "data"} & set(fields) else {**fields, "alert": "hello"}
    return ev.PushSend(**(stamp() | {"id": id}), where=ev.Where(**(where or {"everyone": True})), **content)


def people(pipeline: Pipeline, **who: dict[str, Any]) -> None:
    for user, attributes in who.items():
        device = ev.Device(token=token(user), locale="fr-CA" if user == "luke" else "en", attributes=attributes)
        pipeline.publish(ev.DeviceRegistered(**stamp(), user=user, device=device))
    pipeline.take()


def payloads(notifications) -> list[Any]:
    return [json.loads(n.payload) for n in notifications]


@pytest.fixture
def everybody(pipeline: Pipeline) -> Pipeline:
    people(pipeline, **PEOPLE)
    return pipeline


@pytest.mark.parametrize(
    ("where", "users"),
    [
        pytest.param({"user": "han"}, "han", id="P2 a user"),
        pytest.param({"user": ev.OneOf(any_of=["han", "yoda", "nobody"])}, "han yoda", id="any of some users"),
        pytest.param({"everyone": True}, "chewie han leia luke yoda", id="everybody, when it is said"),
        pytest.param({"attributes": {"team": "red"}}, "han leia", id="P2 equality, and a list is not its element"),
        pytest.param({"attributes": {"level": 3}}, "han", id="a number, and not the text of it"),
        pytest.param({"attributes": {"level": 3.0}}, "han", id="a number is its value"),
        pytest.param({"attributes": {"level": "3"}}, "chewie", id="a text"),
        pytest.param({"attributes": {"beta": True}}, "han", id="a truth"),
        pytest.param({"attributes": {"city": {"in": ["Paris", "Rome"]}}}, "han leia luke", id="in"),
        pytest.param({"attributes": {"beta": {"exists": True}}}, "han luke", id="exists, be it null"),
        pytest.param({"attributes": {"beta": {"exists": False}}}, "chewie leia yoda", id="exists not"),
        pytest.param({"attributes": {"level": {"gte": 3}}}, "han leia", id="at least"),
        pytest.param({"attributes": {"level": {"gt": 2.5, "lt": 10}}}, "han", id="between"),
        pytest.param({"attributes": {"level": {"lte": 3}}}, "han luke", id="at most"),
        pytest.param({"attributes": {"city": {"gte": "Q"}}}, "leia", id="texts in their order"),
        pytest.param({"attributes": {"team": "red", "city": "Paris"}}, "han", id="all conditions hold"),
        pytest.param({"user": "leia", "attributes": {"team": "blue"}}, "", id="and may hold for nobody"),
        pytest.param({"attributes": {'it\'s; "%s" --': {"gte": 1}}}, "chewie", id="a name is a value to the database"),
        pytest.param({"attributes": {"team": "' OR true --"}}, "", id="so is a value"),
        pytest.param({"locale": "fr"}, "luke", id="a language with its regions"),
        pytest.param({"locale": ev.OneOf(any_of=["EN", "de"])}, "chewie han leia yoda", id="any of some languages"),
        pytest.param({"provider": "apns", "user": "han"}, "han", id="a provider"),
        pytest.param({"provider": "another"}, "", id="a provider that nobody has"),
    ],
)
def test_P1_P2_the_devices_that_the_query_finds_get_the_push(everybody, where, users):
    everybody.publish(push(where))
    assert sorted(user_of(n) for n in everybody.run()) == users.split()
    counted = everybody.fan_out._devices.count("demo", ev.Where(**where))
    assert [(c.provider, c.environment, c.devices) for c in counted] == (
        [("apns", "production", len(users.split()))] if users else []
    )


@pytest.mark.parametrize(
    ("content", "payload"),
    [
        pytest.param({"alert": "hi"}, {"aps": {"alert": "hi", "sound": "default"}}, id="P3 a plain message"),
        pytest.param(
            {"alert": ev.Alert(title="T", subtitle="S", body="B")},
            {"aps": {"alert": {"title": "T", "subtitle": "S", "body": "B"}, "sound": "default"}},
            id="P3 a message with a title",
        ),
        pytest.param(
            {
                "data": {
                    "alert": {"loc-key": "X"},
                    "sound": "ping",
                    "category": "c",
                    "uri": "x://y",
                    "deep": {"a": [1, None]},
                }
            },
            {
                "aps": {"alert": {"loc-key": "X"}, "sound": "ping", "category": "c"},
                "uri": "x://y",
                "deep": {"a": [1, None]},
            },
            id="P7 keys of the app's own are untouched",
        ),
        pytest.param({"data": {"alert": "a", "badge": 4}}, {"aps": {"alert": "a", "badge": 4}}, id="P4 a number"),
        pytest.param({"data": {"badge": "Increment"}}, {"aps": {"badge": 1}}, id="P4 the first increment, alone"),
        pytest.param(
            {"data": {"sync": 1}, "push_type": "background"},
            {"aps": {"content-available": 1}, "sync": 1},
            id="background",
        ),
    ],
)
def test_P3_P7_what_is_sent_is_what_the_phone_gets(everybody, content, payload):
    everybody.publish(push({"user": "han"}, **content))
    [sent] = everybody.run()
    assert json.loads(sent.payload) == payload
    kind = content.get("push_type", "alert")
    assert (sent.heading.push_type, sent.heading.priority) == (kind, 5 if kind == "background" else 10)


def test_P4_increment_goes_up_for_each_device_by_itself_and_chat_counts_on(everybody):
    data = {"alert": "x", "badge": "Increment", "uri": "x"}
    everybody.publish(push({"user": "han"}, "p1", data=data), push({"everyone": True}, "p2", data=data))
    sent = everybody.run()
    badges = {(user_of(n), json.loads(n.payload)["aps"]["badge"]) for n in sent}
    assert badges == {("han", 1), ("han", 2), ("leia", 1), ("luke", 1), ("chewie", 1), ("yoda", 1)}
    everybody.publish(push({"user": "han"}, "p3", data={"badge": 40}), push({"user": "leia"}, "p4", alert="x"))
    everybody.run()
    everybody.publish(message(sender="yoda", recipients=["han", "leia"]))
    assert {(user_of(n), json.loads(n.payload)["aps"]["badge"]) for n in everybody.run()} == {("han", 41), ("leia", 2)}


def test_P6_an_id_is_sent_once_however_often_it_is_published(everybody):
    everybody.publish(push(), push())
    assert len(everybody.run()) == 5
    everybody.publish(push())
    assert everybody.run() == []
    assert everybody.journal.backlog() == (0, 0)


def test_it_is_no_chat_message_so_presence_and_mutes_have_no_say(everybody):
    everybody.redis.set(ev.online_key("demo", "han"), 1)
    everybody.publish(ev.UserMuted(**stamp(), user="han", target="leia"), push({"user": "han"}))
    assert [user_of(n) for n in everybody.run()] == ["han"]


@pytest.mark.parametrize(
    ("settings", "fields", "reason"),
    [
        pytest.param({"push_enabled": False}, {}, "app_push_off", id="an app that is switched off"),
        pytest.param({}, {"expires_at": START + timedelta(seconds=5)}, "too_old", id="its own end has come"),
        pytest.param({"max_age": 5}, {}, "too_old", id="the app's life time has passed"),
    ],
)
def test_what_is_not_to_go_out_is_accounted_for(everybody, settings, fields, reason):
    everybody.registry.save_app(AppSettings("demo", **settings))
    everybody.now += 10
    everybody.publish(push(**fields))
    assert everybody.run() == []
    assert everybody.account("p1") == {"page:0": {"message": reason}}
    assert everybody.journal.backlog() == (0, 0)


def test_a_large_audience_goes_out_page_by_page_and_each_device_once(small_pages):
    users = [f"u{n:02}" for n in range(25)]
    people(small_pages, **{user: {"team": "red"} for user in users})
    small_pages.publish(push({"attributes": {"team": "red"}}))
    small_pages.take()
    [opened] = small_pages.journal.take_messages("bulk", 1)
    assert small_pages.fan_out.expand([opened]).unfinished == 1
    assert small_pages.fan_out.expand([opened]).batches.total() == 0, "a page that was expanded is expanded once"
    small_pages.expand()
    small_pages.deliver()
    assert sorted(user_of(n) for n in small_pages.apns.sent) == users
    account = small_pages.account("p1")
    pages = {part: len(content["pushed"]) for part, content in account.items() if part.startswith("page:")}
    assert pages == {"page:0": 10, "page:1": 10, "page:2": 5}
    delivered = [pair for content in account.values() for pair in content.get("accepted", ())]
    assert sorted(user for user, _ in delivered) == users
    assert small_pages.journal.backlog() == (0, 0)


def test_a_worker_that_dies_amid_an_audience_is_made_up_for(small_pages):
    users = [f"u{n:02}" for n in range(25)]
    people(small_pages, **{user: {} for user in users})
    small_pages.publish(push(data={"alert": "x", "badge": "Increment"}))
    small_pages.take()
    small_pages.fan_out.expand(small_pages.journal.take_messages("bulk", 1))
    assert len(small_pages.journal.take_messages("bulk", 1)) == 1, "taken for the second page, and then it dies"
    small_pages.apns.half = {token(user) for user in users[:3]}
    with pytest.raises(small_pages.apns.Died):
        small_pages.deliver()
    small_pages.apns.half = None
    small_pages.apns.sent.clear()
    assert small_pages.later() == 2
    small_pages.expand()
    small_pages.deliver()
    assert sorted(user_of(n) for n in small_pages.apns.sent) == users[3:]
    assert {json.loads(n.payload)["aps"]["badge"] for n in small_pages.apns.sent} == {1}
    assert small_pages.journal.backlog() == (0, 0)


def test_a_scheduled_push_waits_for_its_time_and_is_no_load_until_then(everybody):
    at = datetime.now(UTC) + timedelta(hours=2)
    everybody.publish(push(send_at=at))
    assert everybody.run() == []
    assert everybody.journal.backlog() == (1, 0)
    assert everybody.lead() == 0, "a new leader lets it wait"
    assert everybody.journal.make_due_ready() == 0
    everybody.now = at.timestamp()
    assert everybody.later(7200) == 1
    assert everybody.journal.backlog() == (1, 1)
    assert len(everybody.run()) == 5
    assert {n.heading.expiration for n in everybody.apns.sent} == {int(at.timestamp()) + 3600}
    assert everybody.journal.backlog() == (0, 0)


def test_a_push_to_one_device_is_for_no_other_and_for_its_user_only(everybody):
    with everybody.pool.connection() as db:
        [(device,)] = db.execute("SELECT id FROM carillon.devices WHERE user_id = 'leia'").fetchall()
    everybody.publish(push({"device": device}), push({"device": device, "user": "han"}, id="p2"))
    assert [user_of(n) for n in everybody.run()] == ["leia"]


def test_devices_of_a_removed_provider_and_unregistered_ones_are_in_no_audience(everybody):
    everybody.publish(ev.DeviceUnregistered(**stamp(1), device=ev.DeviceToken(token=token("han"))))
    everybody.take()
    everybody.publish(push({"attributes": {"team": "red"}}))
    assert [user_of(n) for n in everybody.run()] == ["leia"]
    everybody.registry.remove_provider("demo", "apns")
    everybody.publish(push(id="p2"))
    assert everybody.run() == []
    assert everybody.journal.backlog() == (0, 0)


@pytest.mark.parametrize(
    "faulty", [pytest.param({"where": {}}, id="nobody named"), pytest.param({"alert": ""}, id="nothing to say")]
)
def test_a_push_that_is_none_is_dead_lettered_and_nothing_is_sent(everybody, faulty):
    with pytest.raises(EventError):
        ev.decode(json.dumps(_document(**faulty)))
    everybody.publish(json.dumps(_document(**faulty)).encode())
    assert everybody.run() == []
    [letter] = everybody.ledger.dead_letters()
    assert letter.letter.error.startswith(next(iter(faulty)))


def test_a_text_without_end_is_cut_to_what_apple_takes(everybody):
    everybody.publish(
        push({"user": "han"}, alert="ü" * 9000), push({"user": "han"}, "p2", alert=ev.Alert(body="x" * 9000))
    )
    assert sorted(len(n.payload) for n in everybody.run()) == [4095, 4096], "a character of two bytes is not cut in two"


def _document(**changed: Any) -> dict[str, Any]:
    envelope = {"v": 1, "type": "push.send", "id": "p1", "app": "demo", "at": START.isoformat()}
    return envelope | {"where": {"everyone": True}, "alert": "x"} | changed


def crowd(pipeline: Pipeline, n: int) -> None:
    with pipeline.pool.connection() as db:
        db.execute(
            "INSERT INTO carillon.devices (app, token, user_id, provider_id, locale, registered_at, active)"
            " SELECT 'demo', lpad(to_hex(n), 8, '0'), 'u' || n, %s, CASE WHEN n %% 7 = 0 THEN 'fr' ELSE 'en' END, 1, true"
            " FROM generate_series(1, %s) n",
            (pipeline.provider.id, n),
        )


@pytest.mark.parametrize(
    ("where", "devices"), [({"everyone": True}, 500), ({"locale": "fr"}, 71), ({"locale": "xx"}, 0)]
)
def test_an_audience_that_no_index_finds_is_walked_in_parts(small_pages, monkeypatch, where, devices):
    """Whatever takes too long is tried among fewer devices, and nobody is asked twice or left out."""
    pipeline = small_pages
    crowd(pipeline, 500)
    monkeypatch.setattr("worker.pipeline.targeted.SPAN", 800)
    page, spans = Audience.page, []

    def slow(
        self: Audience, app: str, where: ev.Where, after: int, size: int, *, span: int = 0, **_: object
    ) -> AudiencePage:
        spans.append(span)
        if not 0 < span <= 100:
            raise PageTooSlowError
        return page(self, app, where, after, size, span=span)

    monkeypatch.setattr(Audience, "page", slow)
    pipeline.publish(push(where))
    sent = pipeline.run()
    assert len(sent) == len({n.token for n in sent}) == devices
    assert spans[:3] == [0, 800, 100]
    assert set(spans[3:]) == {100}
    assert pipeline.journal.counts("demo")["targeted"] == 1
    assert pipeline.journal.backlog() == (0, 0)


def test_what_no_part_of_can_be_looked_at_is_given_up(pipeline, monkeypatch):
    monkeypatch.setattr("worker.database.audience.PAGE_MS", 50)
    crowd(pipeline, 5)
    pipeline.publish(push())
    pipeline.take()
    with psycopg.connect(pipeline.postgres_url) as other:
        other.execute("LOCK TABLE carillon.devices IN ACCESS EXCLUSIVE MODE")
        for _ in range(4):  # 50,000 devices, 6,250, 781, 97
            [opened] = pipeline.journal.take_messages("bulk", 1)
            assert pipeline.fan_out.expand([opened]).unfinished == 1
        [opened] = pipeline.journal.take_messages("bulk", 1)
        with pytest.raises(PageTooSlowError):
            pipeline.fan_out.expand([opened])
    pipeline.later()
    assert len(pipeline.run()) == 5, "it is not given up at the first try"
