"""`carillon push send`: to whom, counted before it is sent, and nothing sent for a query that is none."""

import json

import pytest

from producers import events as ev
from tests.integration.cli.conftest import redis_of, rows


@pytest.fixture
def team(with_key, registry):
    """Five devices of five users; red has two."""
    [id] = registry.providers()
    with registry._pool.connection() as db:
        for n, attributes in enumerate(({"team": "red"}, {"team": "red", "level": 3}, {"team": "blue"}, {}, None)):
            db.execute(
                "INSERT INTO carillon.devices (app, token, user_id, provider_id, registered_at, active, attributes)"
                " VALUES ('chat', %s, %s, %s, 0, true, %s)",
                (f"aa0{n}", f"user{n}", id, None if attributes is None else json.dumps(attributes)),
            )
    return with_key


def published(cli) -> list[ev.AnyEvent]:
    return [ev.decode(fields[b"event"]) for _, fields in redis_of(cli).xrange(ev.STREAM)]


@pytest.mark.parametrize(
    ("query", "devices"),
    [
        pytest.param(["--attribute", "team=red"], 2, id="an attribute"),
        pytest.param(["--attribute", "team=red", "--attribute", "level=3"], 1, id="two of them, one a number"),
        pytest.param(["--attribute", 'level="3"'], 0, id="a text of digits"),
        pytest.param(["--user", "user0", "--user", "user3", "--user", "nobody"], 2, id="users"),
        pytest.param(["--where", '{"attributes": {"level": {"gte": 3}}}', "--user", "user1"], 1, id="both"),
        pytest.param(["--everyone"], 5, id="everyone"),
    ],
)
def test_P2_a_dry_run_counts_and_sends_nothing(team, query, devices):
    shown = team.json("push", "send", *query, "--alert", "hello", "--dry-run")
    assert (shown["devices"], shown["sent"]) == (devices, False)
    shares = [{"provider": "apns", "environment": "production", "devices": devices, "users": devices}]
    assert shown["audience"] == (shares if devices else [])
    assert published(team) == []


def test_P3_P6_what_was_asked_for_is_published(team):
    data = {"alert": "x", "badge": "Increment", "uri": "a://b"}
    at = "2026-12-01T00:00:00Z"
    said = team.ok("push", "send", "--attribute", "team=red", "--data", json.dumps(data), "--send-at", at, "--id", "p7")
    assert "p7 goes to 2 devices of app 'chat'" in said
    [event] = published(team)
    assert isinstance(event, ev.PushSend)
    assert (event.id, event.app, event.data, event.where) == ("p7", "chat", data, ev.Where(attributes={"team": "red"}))
    assert event.send_at is not None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["--alert", "x"], 'where: names nobody; for every device of the app say "everyone"', id="nobody"),
        pytest.param(["--where", "{", "--alert", "x"], "--where: is not JSON", id="no JSON"),
        pytest.param(["--where", "[]", "--alert", "x"], "--where: expected an object", id="a list"),
        pytest.param(
            ["--where", '{"usr": "x"}', "--alert", "x"], "where.usr: unknown field; known in where", id="a typo"
        ),
        pytest.param(["--attribute", "team", "--alert", "x"], "--attribute: expected NAME=VALUE", id="no value"),
        pytest.param(["--everyone"], "alert: either alert or data is required", id="nothing to say"),
        pytest.param(["--everyone", "--alert", "x", "--data", "{}"], "and not both", id="two contents"),
        pytest.param(["--everyone", "--data", "7"], "data: expected an object", id="data that is none"),
        pytest.param(
            ["--everyone", "--alert", "x", "--send-at", "noon"], "--send-at: expected how long from now", id="no time"
        ),
        pytest.param(
            ["--everyone", "--alert", "x", "--background"], "alert: a background push shows nothing", id="loud"
        ),
        pytest.param(["--everyone", "--alert", "x", "--app", "y"], "--app: no app 'y', known: chat", id="no such app"),
        pytest.param(
            ["--where", '{"user": "a"}', "--user", "b", "--alert", "x"], "--where says who already", id="twice"
        ),
    ],
)
def test_bad_input_is_one_message_and_nothing_is_sent(team, arguments, said):
    assert said in team.refused("push", "send", *arguments)
    assert published(team) == []
    assert rows(team, "dead_letters") == []
