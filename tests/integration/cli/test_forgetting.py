"""`carillon user forget` and `carillon app delete`, as a person types them."""

import json

from tests.integration.cli.conftest import Cli, redis_of
from tests.integration.stores.test_forget_user import APP, USER, plant
from worker.database.postgres import open_pool


def test_the_command_says_what_it_deleted(cli: Cli) -> None:
    cli.ok("app", "create", APP, "--only-to", "chewie")
    redis, pool = redis_of(cli), open_pool(cli.postgres_url, size=1)
    with pool.connection() as db:
        plant(db, redis, USER, 1)
    pool.close()
    assert "this would be deleted" in cli.ok("user", "forget", APP, USER, "--dry-run")
    found = cli.json("user", "forget", APP, USER)
    assert found["postgres"]["devices"] == 2 and found["redis"]["online"] == 1
    assert found["waiting"] == 2
    redis.delete("carillon:events", "carillon:events:chat")
    assert cli.ok("user", "forget", APP, USER).strip() == f"nothing is stored about {USER}"
    assert {act["act"] for act in cli.json("audit")} >= {"user forgotten"}
    assert USER not in json.dumps(cli.json("audit"))
    assert "no app 'never'" in cli.refused("user", "forget", "never", USER)


def test_an_app_is_deleted_and_deleted_once_more_if_that_was_interrupted(cli: Cli) -> None:
    cli.ok("app", "create", APP)
    pool = open_pool(cli.postgres_url, size=1)
    with pool.connection() as db:
        db.execute(
            "INSERT INTO carillon.messages (app, event_id, position, message_id, channel, sender)"
            " VALUES (%s, 'e', 1, 'm', 'c', 'x')",
            (APP,),
        )
        assert "it had messages within the last 10 minutes" in cli.refused("app", "delete", APP, "--yes")
        assert "--yes: needed" in cli.refused("app", "delete", APP, "--force")
        found = cli.json("app", "delete", APP, "--force", "--yes")
        assert found["given_up"] and found["postgres"]["messages"] == 1
        assert "nothing is left of one" in cli.refused("app", "delete", APP, "--yes")
        db.execute("INSERT INTO carillon.channels (app, id) VALUES (%s, 'c')", (APP,))
    pool.close()
    assert "channels: 1" in cli.ok("app", "delete", APP, "--yes")
    assert [act["act"] for act in cli.json("audit", "--app", APP)] == ["app deleted", "app deleted", "app created"]
