"""The push log: every line of the ledger once, by time, in pages, and no more of them than were asked for."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from producers import events as ev
from tests.integration.pipeline.harness import START, Pipeline, message, stamp, token
from worker.core.ledger_entry import account
from worker.core.model import Answer
from worker.database.push_log import STATEMENT_MS, Choice, Place, newest
from worker.reports.push_log import (
    Filter,
    Following,
    Line,
    TooMuchError,
    UnknownPlaceError,
    as_json,
    read,
)

EVERYTHING = Filter(since=0.0, decisions=True)


@pytest.fixture
def pipeline(postgres_url: str, redis_url: str) -> Iterator[Pipeline]:
    made = Pipeline(postgres_url, redis_url)
    yield made
    made.close()


@pytest.fixture
def talk(pipeline: Pipeline) -> Pipeline:
    """han gets two messages; luke has muted leia; lando's device is gone."""
    pipeline.member("general", "leia", "han", "lando", "luke")
    pipeline.publish(ev.UserMuted(**stamp(), user="luke", target="leia"))
    pipeline.run()
    gone = Answer(410, "Unregistered", timestamp=int(pipeline.now * 1000) + 1)
    pipeline.apns.answers[token("lando")] = [gone]
    for id in ("e1", "e2"):
        pipeline.publish(message(id=id))
        pipeline.run()
    written(pipeline)
    return pipeline


def written(pipeline: Pipeline) -> None:
    while pipeline.ledger.flush(pipeline.journal):
        pass


def entry(pipeline: Pipeline, *entries: bytes) -> None:
    pipeline.redis.rpush("carillon:accounts", *entries)
    written(pipeline)


def lines(pipeline: Pipeline, **chosen: Any) -> list[Line]:
    return list(read(pipeline.pool, EVERYTHING._replace(**chosen), limit=1000).lines)


def short(found: list[Line]) -> set[tuple[str, str, str, str]]:
    return {(line.event, line.user, line.outcome, line.reason) for line in found}


def test_the_log_has_every_decision_and_every_outcome_once(talk: Pipeline) -> None:
    found = lines(talk)
    assert len(found) == len(short(found))
    assert short(found) == {
        ("e1", "leia", "skipped", "sender"),
        ("e1", "luke", "skipped", "muted_sender"),
        ("e1", "han", "pushed", ""),
        ("e1", "lando", "pushed", ""),
        ("e1", "han", "accepted", ""),
        ("e1", "lando", "retired", "Unregistered"),
        ("e2", "leia", "skipped", "sender"),
        ("e2", "luke", "skipped", "muted_sender"),
        ("e2", "lando", "skipped", "no_device"),
        ("e2", "han", "pushed", ""),
        ("e2", "han", "accepted", ""),
    }


CHOICES: list[tuple[dict[str, Any], set[tuple[str, str]]]] = [
    ({"decisions": False}, {("e1", "han"), ("e1", "lando"), ("e2", "han")}),
    ({"user": "luke"}, {("e1", "luke"), ("e2", "luke")}),
    ({"reason": "Unregistered"}, {("e1", "lando")}),
    ({"reason": "no_device"}, {("e2", "lando")}),
    ({"outcome": "accepted"}, {("e1", "han"), ("e2", "han")}),
    ({"outcome": "skipped", "user": "lando"}, {("e2", "lando")}),
    ({"provider": "apns"}, {("e1", "han"), ("e1", "lando"), ("e2", "han")}),
    ({"provider": "other"}, set()),
    ({"app": "other"}, set()),
    ({"until": 1.0}, set()),
]


def test_what_was_asked_for_is_shown_and_nothing_else(talk: Pipeline) -> None:
    for chosen, expected in CHOICES:
        assert {(line.event, line.user) for line in lines(talk, **chosen)} == expected, chosen


def test_a_device_has_its_own_lines_and_not_those_of_a_number_that_begins_alike(pipeline: Pipeline) -> None:
    entry(pipeline, account("demo", "e1", "batch:1", {"accepted": [["han", 7], ["luke", 17], ["leia", 71]]}))
    assert [(line.user, line.device) for line in lines(pipeline, device=7)] == [("han", 7)]


def test_any_name_is_found_and_no_other(pipeline: Pipeline) -> None:
    names = ('"; --', "\\", "\x01\n\x7f", "🙂\u202e", "accepted", "%", "'", "han")
    entry(pipeline, account("demo", "e1", "batch:1", {"accepted": [[name, 7] for name in names]}))
    for name in names:
        assert [line.user for line in lines(pipeline, user=name)] == [name]


def test_pages_of_every_size_have_each_line_once_and_in_order(talk: Pipeline) -> None:
    whole = lines(talk)
    for size in (1, 2, 3, 10):
        found: list[Line] = []
        after = None
        while True:
            page = read(talk.pool, EVERYTHING, after, limit=size)
            assert len(page.lines) <= size
            found += page.lines
            after = page.following
            if after is None:
                break
        assert found == whole


def test_a_page_is_not_moved_by_what_is_written_meanwhile(talk: Pipeline) -> None:
    first = read(talk.pool, EVERYTHING, limit=4)
    entry(talk, account("demo", "e9", "batch:9", {"accepted": [["han", 7]]}))
    second = read(talk.pool, EVERYTHING, first.following, limit=1000)
    assert [*first.lines, *second.lines] == [line for line in lines(talk) if line.event != "e9"]


def test_a_text_that_is_no_place_is_refused(pipeline: Pipeline) -> None:
    for text in ("", "x", "bm8", "W10"):
        with pytest.raises(UnknownPlaceError):
            read(pipeline.pool, EVERYTHING, text)


def test_what_was_not_looked_at_one_by_one_is_one_line_with_its_number(pipeline: Pipeline) -> None:
    entry(
        pipeline,
        account("demo", "e1", "page:0", {"considered": 5, "pushed": [], "skipped": {}, "rest": {"over_member_cap": 5}}),
        account("demo", "e2", "page:0", {"message": "skip_push"}),
    )
    assert {(line.event, line.user, line.reason, line.number) for line in lines(pipeline)} == {
        ("e1", "", "over_member_cap", 5),
        ("e2", "", "skip_push", 1),
    }


def test_a_line_as_json_has_the_provider_the_message_and_when_it_was(talk: Pipeline) -> None:
    [line] = lines(talk, outcome="accepted", user="han", app="demo")[:1]
    found = as_json(line)
    assert found["at"] == START.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert (found["message"], found["channel"], found["provider"]) == ("m-e2", "general", "apns")
    assert json.dumps(found)


def test_an_entry_of_the_release_before_has_no_provider_and_the_time_of_its_writing(pipeline: Pipeline) -> None:
    entry(pipeline, b'["demo","e1","batch:1",{"accepted":[["han",7]]}]')
    [line] = lines(pipeline)
    assert (line.provider, line.took) == ("", None)
    assert abs(time.time() - line.at) < 600


def test_who_follows_gets_each_line_once_as_it_comes(talk: Pipeline) -> None:
    follow, place = Following(talk.pool, EVERYTHING), Place(START)
    found: list[Line] = []
    for step in range(3):
        some, place = follow.read(place)
        found += some
        entry(talk, account("demo", f"f{step}", f"batch:{step}", {"accepted": [["han", 7]]}))
    some, place = follow.read(place)
    found += some
    assert len(found) == len(short(found)) == 11 + 3
    assert follow.read(place) == ([], place)


def test_a_page_by_time_is_read_by_the_index_and_not_from_the_whole_day(pipeline: Pipeline) -> None:
    with pipeline.pool.connection() as db:
        db.execute(
            "INSERT INTO carillon.ledger (app, event_id, part, account, at) SELECT 'demo', 'e' || n, 'batch:0',"
            " '{\"accepted\": [[\"han\", 7]]}', now() - n * interval '1 ms' FROM generate_series(1, 20000) n"
        )
        db.execute("ANALYZE carillon.ledger")
        found = newest(db, Choice(START), None, 50)
        choices = (Choice(START), Choice(START, app="demo"), Choice(START, needles=['"han"'], parts="batches"))
        for choice in choices:
            for before in (None, found[-1].place):
                plan = explained(db, choice, before)
                tables = {line.split(" on ")[1].split()[0] for line in plan if "Seq Scan on" in line}
                full = {name for (name,) in db.execute("SELECT DISTINCT tableoid::regclass::text FROM carillon.ledger")}
                assert not {f"carillon.{table}" for table in tables} & full, plan


def explained(db: Any, choice: Choice, before: Place | None) -> list[str]:
    class Explaining:
        def execute(self, statement: bytes, values: Any) -> Any:
            self.plan = [line for (line,) in db.execute(b"EXPLAIN " + statement, values).fetchall()]
            return db.execute(statement, values)

    explaining: Any = Explaining()
    newest(explaining, choice, before, 50)
    plan: list[str] = explaining.plan
    return plan


def test_what_takes_too_long_says_so(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    assert STATEMENT_MS == 2_000
    monkeypatch.setattr("worker.database.push_log.STATEMENT_MS", 1)
    with pipeline.pool.connection() as db:
        db.execute(
            "INSERT INTO carillon.ledger (app, event_id, part, account) SELECT 'demo', 'e' || n, 'batch:0',"
            ' \'{"accepted": [["han", 7]]}\' FROM generate_series(1, 30000) n'
        )
    with pytest.raises(TooMuchError, match="name an app, or a shorter time"):
        read(pipeline.pool, EVERYTHING._replace(user="nobody"))
