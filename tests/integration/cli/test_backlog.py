"""`carillon backlog` says what waits."""

from tests.integration.cli.conftest import Cli
from tests.integration.pipeline.harness import Pipeline, message


def test_it_says_that_nothing_waits(cli: Cli) -> None:
    assert cli.ok("backlog") == "nothing waits\n"
    assert cli.json("backlog") == []


def test_it_says_what_waits_of_whom(cli: Cli, postgres_url: str, redis_url: str) -> None:
    pipeline = Pipeline(postgres_url, redis_url)
    try:
        cli.ok("app", "create", "other")
        pipeline.member("general", "leia", "han")
        pipeline.publish(message())
        pipeline.take()
        pipeline.expand()
        pipeline.take()
        pipeline.publish(message(id="e2"))
        on_stream, ready = sorted(cli.json("backlog"), key=lambda row: str(row["state"]), reverse=True)
        assert (on_stream["state"], on_stream["app"], on_stream["messages"]) == ("stream", None, 1)
        about = {"app": "demo", "provider": "apns", "origin": None, "lane": "urgent"}
        waits = {"messages": 0, "batches": 1, "notifications": 1}
        assert ready.items() >= {"state": "ready", **about, **waits}.items()
        assert [row["state"] for row in cli.json("backlog", "--app", "demo")] == ["ready"]
        assert cli.json("backlog", "--app", "other") == []
        assert "apns" in cli.ok("backlog")
    finally:
        pipeline.close()
