"""Push log, why, a user's devices, and the search, of events that were pushed, skipped, held back and refused."""

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from producers import events as ev
from tests.integration.dashboard.conftest import Site, Visitor
from tests.integration.pipeline.harness import Pipeline, message, stamp, token
from worker.core.ledger_entry import account
from worker.core.model import Answer
from worker.state.breaker import Breaker

HOSTILE = '"><svg onload=alert(1)>{{7*7}}\u202e'


@pytest.fixture(scope="module")
def reader(site: Site) -> Visitor:
    return site.visitor("vera")


@pytest.fixture(scope="module")
def talk(site: Site) -> Iterator[Pipeline]:
    """han got e1 and has a second device that waits for e2; luke muted leia; lando's device is gone; a document was refused."""
    pipeline = Pipeline(site.runtime.urls.postgres, site.runtime.urls.redis)
    pipeline.member("general", "leia", "han", "lando", "luke")
    pipeline.publish(ev.UserMuted(**stamp(), user="luke", target="leia"))
    pipeline.publish(
        ev.PreferencesUpdated(**stamp(), user="luke", channel=ev.ChannelId(id="general"), level="mentions")
    )
    pipeline.run()
    second = pipeline.add_provider("second")
    device = ev.Device(token=token("han", 1), provider="second")
    pipeline.publish(ev.DeviceRegistered(**stamp(), user="han", device=device))
    gone = Answer(410, "Unregistered", timestamp=int(pipeline.now * 1000) + 1)
    pipeline.apns.answers[token("lando")] = [gone]
    pipeline.publish(message(id="e1"))
    pipeline.run()
    Breaker(pipeline.partition).stop(second.id, "receiver moves", time.time() - 60, manual=True)
    pipeline.publish(message(id="e2"), message(HOSTILE, HOSTILE, id=HOSTILE, recipients=[HOSTILE]))
    pipeline.publish(message(id="e2"), b'{"id": "bad", "app": "demo"}')
    pipeline.run()
    pipeline.account("e1")
    yield pipeline
    pipeline.close()


def text(visitor: Visitor, path: str, status: int = 200, **query: str) -> str:
    """What a page says, without its marks."""
    answer = visitor.get(path, params=query or None)
    assert answer.status_code == status, answer.text
    assert "<svg onload" not in answer.text and "\u202e" not in answer.text
    for user in ("han", "lando"):
        assert token(user) not in answer.text
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.text))


def test_the_log_lists_notifications_and_on_demand_those_who_got_none(talk: Pipeline, reader: Visitor) -> None:
    shown = text(reader, "/log")
    assert "Accepted" in shown and "Refused" in shown and "message in general" in shown
    assert "Not pushed to" not in shown
    also = text(reader, "/log", also="1", user="luke")
    assert "Not pushed to muted the sender (muted_sender) luke" in also and "lando" not in also
    assert "without the filter ‘user’. Remove it" in text(reader, "/log", user="nobody")
    assert "This page of the log is unknown" in text(reader, "/log", 400, after="nonsense")


def test_what_is_new_is_said_and_does_not_move_the_list(talk: Pipeline, reader: Visitor) -> None:
    opened = reader.get("/log", params={"app": "demo"}).text
    assert re.findall(r'<section id="rows"([^>]*)>', opened) == [""], "nothing replaces the list"
    [source] = re.findall(r'<section id="new" data-src="([^"]+)"', opened)
    assert "Nothing new" in text(reader, unescape(source))
    talk.publish(message(id="e3", sender="luke"))
    talk.run()
    talk.account("e3")
    [source] = re.findall(r'data-src="([^"]+)"', reader.get(unescape(source)).text)
    # Of the first answer the panel would be kept for two seconds.
    answer = reader.get(f"{unescape(source)}&again=1").text
    [(link, number)] = re.findall(r'href="([^"]+)">Show (\d+) new<', answer)
    link = unescape(link).removesuffix("&again=1")
    assert (int(number), link) == (2, "/log?app=demo")
    [following] = re.findall(r'data-src="([^"]+)"', answer)
    assert "Show 2 new" in reader.get(unescape(following)).text, "what was counted stays counted"
    assert "m-e3" in text(reader, "/why", app="demo", event="e3")
    assert reader.get(f"{link}&fresh=1").text.count("event=e3") == 2
    assert (
        'id="new"'
        not in reader.get("/log", params={"after": parse_qs(urlsplit(unescape(source)).query)["newer"][0]}).text
    )


def test_a_notification_has_its_try_and_the_time_of_its_answer(talk: Pipeline, reader: Visitor) -> None:
    again = {"retry.Busy": [["rey", 70]], "accepted": [["finn", 71]]}
    for n, (content, took) in enumerate(
        ((again, 0), ({"retry.Busy": [["rey", 70]]}, 0), ({"accepted": [["rey", 70]]}, 88))
    ):
        entry = account("demo", "tried", f"batch:{n}", content, int(time.time() * 1_000) + n, talk.provider.id, took)
        talk.redis.rpush("carillon:accounts", entry)
    while talk.ledger.flush(talk.journal):
        pass
    shown = text(reader, "/log", user="rey", app="demo").split("Answered within")[1]
    assert re.findall(r"(Accepted|To be retried) .*?(88 ms|–) (\d)", shown) == [
        ("Accepted", "88 ms", "3"),
        ("To be retried", "–", "2"),
        ("To be retried", "–", "1"),
    ]
    assert re.findall(r"Accepted .*? (\d) ", text(reader, "/log", user="finn", app="demo"))[-1:] == ["1"]


def test_over_the_table_is_how_many_of_the_chosen_rows_had_which_outcome(talk: Pipeline, reader: Visitor) -> None:
    shown = text(reader, "/log", app="demo")
    strip, table = shown.partition("Accepted means")[0].split("Answered within")
    assert f" {table.count('demo / ')} notifications, " in strip
    for key, words in (
        ("accepted", "Accepted"),
        ("refused, given up", "Refused"),
        ("to be retried", "To be retried"),
        ("held back", "Held back"),
    ):
        number = table.count(words)
        assert (f" {key} {number} " in strip) == bool(number), key
    assert "1 notification, " in text(reader, "/log", user="lando")
    assert "2 notifications, " in text(reader, "/log", outcome="retry", reason="Busy", provider="apns", app="demo")
    assert " notifications, " not in text(reader, "/log", outcome="skipped")


def test_the_time_is_narrowed_by_two_fields(talk: Pipeline, reader: Visitor) -> None:
    now = datetime.now(UTC)
    first, last = (f"{now + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}" for seconds in (-30, 30))
    shown = reader.get("/log", params={"from": first, "to": last, "user": "rey"}).text
    assert f'name="from" value="{first}"' in shown and "The time that was chosen" in shown
    assert shown.count("user=rey") > 1 and "2 notifications" not in shown
    assert "No notification matches" in text(reader, "/log", to=first, time="15m", user="rey")
    assert "The time ends before it begins" in text(reader, "/log", 400, **{"from": last, "to": first})
    for wrong in ("yesterday", "2026-13-01T00:00"):
        assert "A time is written as" in text(reader, "/log", 400, **{"from": wrong})


def test_where_nothing_matches_a_filter_is_named_without_which_there_is_more(talk: Pipeline, reader: Visitor) -> None:
    shown = reader.get("/log", params={"user": "nobody", "app": "demo", "outcome": "retired"}).text
    assert re.search(r"In this time there were [1-9]\d* without the filter ‘user’\.", shown)
    assert 'href="/log?app=demo&amp;outcome=retired"' in shown
    assert "without the filter ‘outcome’" in text(reader, "/log", app="demo", outcome="overtook")


def test_beyond_what_is_kept_the_log_says_since_when_it_is(talk: Pipeline, reader: Visitor) -> None:
    today = datetime.now(UTC)
    assert f"Kept since {today.day} {today:%B}." in text(reader, "/log", time="24h")
    with talk.pool.connection() as db:
        db.execute("UPDATE carillon.migrations SET applied_at = now() - interval '400 days'")
    assert "Kept since" not in text(reader, "/log", time="7d")


def test_why_says_what_became_of_an_event_and_of_each_candidate(talk: Pipeline, reader: Visitor) -> None:
    shown = text(reader, "/why", app="demo", event="e1")
    assert "2 of 4 were to be notified: 1 refused, 1 accepted" in shown
    assert "m-e1 in general , by leia" in shown and "Text not kept here" in shown
    assert "muted the sender muted_sender" in shown and "second : 1 accepted" in shown
    held = text(reader, "/why", app="demo", event="e2")
    assert "1 of 4 was to be notified: 1 waits" in held
    assert "Published 2 times, counted once" in held
    assert "paused by hand since" in held and "(receiver moves)" in held
    assert "Everybody who was considered" in text(reader, "/why", app="demo", event=HOSTILE)


def test_why_tells_refused_documents_from_events_that_were_never_published(talk: Pipeline, reader: Visitor) -> None:
    assert "Refused: it is a dead letter" in text(reader, "/why", app="demo", event="bad")
    unknown = text(reader, "/why", 404, app="demo", event="e99")
    assert "it was never published under this id" in unknown
    assert "Of which event?" in text(reader, "/why", 400)


def test_a_user_has_devices_what_happened_to_them_and_what_they_got_and_missed(
    talk: Pipeline, reader: Visitor, site: Site
) -> None:
    shown = text(reader, "/apps/demo/user", user="han")
    assert "active" in shown and "registered" in shown and "Accepted" in shown and "Waits" in shown
    gone = text(reader, "/apps/demo/user", user="lando")
    assert "lando has no device in app demo that could be pushed to" in gone and "without a device (no_device)" in gone
    assert "Unregistered" in text(reader, "/apps/demo/user", user="lando", ended="1")
    assert "Restore…" not in gone and "Test push…" not in shown
    otto = site.visitor("otto")
    assert "Restore…" in text(otto, "/apps/demo/user", user="lando", ended="1")
    assert "Test push…" in text(otto, "/apps/demo/user", user="han")
    shown = text(reader, "/apps/demo/user", user="luke")
    assert "Mutes leia" in shown and "general: level mentions" in shown
    assert "Nothing was for nobody in this time" in text(reader, "/apps/demo/user", user="nobody")


@pytest.mark.parametrize(
    ("wanted", "place"),
    [
        ("e1", "/why?app=demo&event=e1"),
        ("m-e1", "/why?app=demo&event=e1"),
        ("bad", "/why?app=demo&event=bad"),
        ("han", "/apps/demo/user?user=han"),
    ],
)
def test_the_search_goes_straight_to_the_only_hit(talk: Pipeline, reader: Visitor, wanted: str, place: str) -> None:
    answer = reader.get("/find", params={"q": f" {wanted} "})
    assert (answer.status_code, answer.headers["location"]) == (303, place)


def test_the_search_lists_several_hits_and_says_where_it_looked_without_any(talk: Pipeline, reader: Visitor) -> None:
    talk.publish(ev.DeviceRegistered(**stamp(1), user="e1", device=ev.Device(token=token("e1"), provider="apns")))
    talk.take()
    assert "Several have the id" in text(reader, "/find", q="e1")
    shown = text(reader, "/find", 404, q="m-99")
    assert "Nothing is known of ‘m-99’. Ids are exact. Looked in: events and messages of the last 30 days" in shown
    with talk.pool.connection() as db:
        [(id,)] = db.execute("SELECT id FROM carillon.devices WHERE user_id = 'luke'").fetchall()
    assert reader.get("/find", params={"q": str(id)}).headers["location"] == "/apps/demo/user?user=luke"


def test_everything_is_read_by_few_statements(talk: Pipeline, reader: Visitor) -> None:
    """A panel that asks the store once a row would be slow as soon as there are many."""
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        execute = psycopg.Connection.execute

        def counting(self: Any, query: Any, *arguments: Any, **options: Any) -> Any:
            seen.append(query)
            return execute(self, query, *arguments, **options)

        patch.setattr(psycopg.Connection, "execute", counting)
        for path, most in (("/log?also=1", 19), ("/why?app=demo&event=e2", 40), ("/apps/demo/user?user=han", 40)):
            seen.clear()
            assert reader.get(path).status_code == 200
            assert len(seen) <= most, (path, len(seen))
