"""`carillon why`: every silence and every wait has a reason, with its time."""

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from producers import events as ev
from tests.integration.cli.conftest import Cli
from tests.integration.pipeline.harness import START, Pipeline, message, stamp, token
from worker.core.model import ACCEPTED, Answer
from worker.state.breaker import Breaker


@pytest.fixture
def pipeline(postgres_url: str, redis_url: str, cli: Cli) -> Iterator[Pipeline]:
    made = Pipeline(postgres_url, redis_url)
    made.member("general", "leia", "han")
    made.take()
    yield made
    made.close()


def why(cli: Cli, event: str = "e1", *flags: str) -> str:
    return cli.ok("why", event, "--app", "demo", *flags)


TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def test_what_was_accepted_says_when(pipeline: Pipeline, cli: Cli) -> None:
    pipeline.publish(message())
    pipeline.run()
    output = why(cli)
    assert re.search(rf"published {TIME}, taken {TIME}", output)
    assert re.search(rf"device \d+: accepted by APNs, {TIME}", output)
    found = cli.json("why", "e1", "--app", "demo")
    assert list(found["pushed"]["han"].values()) == [["accepted"]]
    for at in (found["published"], found["taken"]):
        assert abs(datetime.fromisoformat(at) - datetime.now(UTC)) < timedelta(minutes=10)
    # By the clock of the worker that did it, not of the ledger that wrote it down.
    for at in (*found["expanded"], *found["pushed_at"]["han"].popitem()[1]):
        assert datetime.fromisoformat(at) == START


def test_a_refused_document_is_known_by_its_app_and_id(pipeline: Pipeline, cli: Cli) -> None:
    bad = {"v": 1, "type": "message.new", "id": "evt-9", "app": "demo", "message": {"id": "m", "text": None}}
    pipeline.publish(json.dumps(bad).encode())
    pipeline.take()
    output = why(cli, "evt-9")
    assert re.search(rf"dead-lettered {TIME}: .*; see: carillon dead-letters show \d+", output)
    [letter] = pipeline.ledger.dead_letters()
    assert (letter.letter.app, letter.letter.event_id) == ("demo", "evt-9")
    assert cli.json("why", "evt-9", "--app", "demo")["dead_letters"][0]["id"] == letter.id


def test_what_is_scheduled_says_when_it_begins(pipeline: Pipeline, cli: Cli) -> None:
    at = datetime.now(UTC) + timedelta(hours=3)
    now = stamp() | {"id": "p1", "at": datetime.now(UTC)}
    pipeline.publish(ev.PushSend(**now, where=ev.Where(user="han"), alert="x", send_at=at))
    pipeline.take()
    assert f"scheduled: it begins at {at:%Y-%m-%dT%H:%M:%S}" in why(cli, "p1")
    assert cli.json("why", "p1", "--app", "demo")["scheduled"].startswith(f"{at:%Y-%m-%dT%H:%M:%S}")


@pytest.mark.parametrize("manual", [True, False])
def test_what_waits_for_a_stopped_provider_names_it_and_since_when(pipeline: Pipeline, cli: Cli, manual: bool) -> None:
    Breaker(pipeline.redis).stop(pipeline.provider.id, "new key", time.time() - 60, manual=manual)
    pipeline.publish(message())
    pipeline.run()
    what = "is paused by hand" if manual else "is stopped"
    assert re.search(rf"waits: its provider 'apns' {what} since {TIME} \(new key\)", why(cli))
    [wait] = cli.json("why", "e1", "--app", "demo")["waits"].values()
    assert wait["provider"] == "apns" and wait["stopped"]["reason"] == "new key"


def test_a_device_in_cooldown_says_until_when_and_tries_are_counted(pipeline: Pipeline, cli: Cli) -> None:
    pipeline.apns.answers[token("han")] = [Answer(429, "TooManyRequests", retry_after=120)]
    pipeline.publish(message())
    pipeline.run()
    assert re.search(rf"refused for now \(TooManyRequests\), will be tried again at {TIME}", why(cli))


def test_earlier_tries_are_counted_and_not_repeated(pipeline: Pipeline, cli: Cli) -> None:
    pipeline.apns.answers[token("han")] = [*[Answer(503, "Shutdown")] * 3, ACCEPTED]
    pipeline.publish(message())
    pipeline.run()
    for _ in range(3):
        pipeline.later()
        pipeline.deliver()
    output = why(cli)
    assert "after 3 earlier tries (Shutdown: 3 times)" in output
    assert output.count("Shutdown") == 1


def test_a_repeat_is_reported(pipeline: Pipeline, cli: Cli) -> None:
    for _ in range(3):
        pipeline.publish(message())
    pipeline.run()
    assert "published 3 times under this id" in why(cli) and "counted once" in why(cli)
    assert cli.json("why", "e1", "--app", "demo")["repeats"] == 2


def test_what_is_recorded_and_waits_is_on_its_way(pipeline: Pipeline, cli: Cli) -> None:
    pipeline.publish(message())
    pipeline.take()
    assert "on its way: it waits for a worker to expand it" in why(cli)
    pipeline.expand()
    assert re.search(r"device \d+: on its way", why(cli))


def test_a_webhook_is_not_apns(pipeline: Pipeline, cli: Cli) -> None:
    with pipeline.pool.connection() as db:
        db.execute("UPDATE carillon.providers SET kind = 'webhook'")
    pipeline.publish(message())
    pipeline.take()
    pipeline.expand()
    with pipeline.pool.connection() as db:
        db.execute("UPDATE carillon.providers SET kind = 'key'")
    pipeline.deliver()
    with pipeline.pool.connection() as db:
        db.execute("UPDATE carillon.providers SET kind = 'webhook'")
    assert "accepted by its webhook" in why(cli)


def test_an_id_may_begin_with_a_dash(pipeline: Pipeline, cli: Cli) -> None:
    pipeline.publish(message(id="-x1"))
    pipeline.run()
    assert "1 gets a push" in why(cli, "-x1")
    assert "accepted by APNs" in cli.ok("why", "--app", "demo", "--user", "han", "-x1")


def test_what_was_never_published_says_what_may_be_and_what_waits_to_be_taken(pipeline: Pipeline, cli: Cli) -> None:
    done = cli.run("why", "e9", "--app", "demo")
    assert done.exit_code == 1 and "nothing is known of event 'e9'" in done.stderr
    pipeline.publish(message(id="e9"))
    done = cli.run("why", "e9", "--app", "demo")
    assert done.exit_code == 1 and "Entries wait to be taken" in done.stderr


def test_control_characters_of_a_document_do_not_reach_the_terminal(pipeline: Pipeline, cli: Cli) -> None:
    pipeline.publish(b'{"id": "\x1b[31mred", "app": "demo"}')
    pipeline.take()
    done = cli.run("why", "\x1b[31mred", "--app", "demo")
    assert "\x1b" not in done.output
