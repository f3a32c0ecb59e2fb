"""`carillon provider`: a person's hand on the breaker."""

import json

from tests.integration.cli.conftest import redis_of
from worker.reports.acts import log_acts
from worker.state.partition import Keyspace


def test_a_provider_is_paused_shown_and_resumed(with_key):
    cli = with_key
    cli.ok("provider", "pause", "apns", "--app", "chat", "--reason", "new key")
    [row] = cli.json("provider", "list", "--app", "chat")
    assert (row["flows"], row["reason"], row["by_hand"]) == (False, "new key", True)
    assert "flows again" in cli.ok("provider", "resume", "apns", "--app", "chat")
    assert "flows" in cli.ok("provider", "list", "--app", "chat")
    assert "apns" in cli.refused("provider", "pause", "other", "--app", "chat")


def test_what_operators_do_leaves_a_line_in_the_workers_log(with_key, caplog):
    cli = with_key
    log_acts(Keyspace(redis_of(cli)).fleet)
    cli.ok("provider", "pause", "apns", "--app", "chat", "--reason", "new key")
    cli.ok("provider", "resume", "apns", "--app", "chat")
    cli.ok("app", "set", "chat", "--no-push")
    cli.ok("push", "remove", "apns", "--app", "chat", "--yes")
    with redis_of(cli) as redis:
        caplog.clear()
        assert log_acts(Keyspace(redis).fleet) == 4
        assert log_acts(Keyspace(redis).fleet) == 0
    lines = [(r.getMessage(), vars(r).get("provider"), vars(r).get("detail")) for r in caplog.records]
    assert lines == [
        ("by hand: provider paused", "apns", "new key"),
        ("by hand: provider resumed", "apns", f"reason new key, stopped {lines[1][2][-20:]}"),
        ("by hand: app changed", None, "push_enabled on -> off"),
        ("by hand: provider removed", "apns", lines[3][2]),
    ]
    assert all(vars(r)["app"] == "chat" and "@" in vars(r)["by"] for r in caplog.records)


def test_the_list_says_what_needs_somebody_and_takes_every_app(with_key):
    cli = with_key
    assert cli.json("provider", "list")[0]["conditions"] == []
    cli.ok("provider", "pause", "apns", "--app", "chat", "--reason", "new key")
    [row] = cli.json("provider", "list")
    assert (row["app"], row["conditions"][0]["name"]) == ("chat", "provider_paused")
    assert "carillon provider resume apns --app chat" in cli.ok("provider", "list")
    assert cli.run("doctor", "--no-workers").exit_code == 1
    health = cli.run("health", "--alarms", "--json")
    assert health.exit_code == 0, "somebody wants it so, and nothing is lost yet"
    assert "provider_paused" in {one["condition"] for one in json.loads(health.stdout)}
