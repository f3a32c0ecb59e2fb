"""`carillon user forget`, as a person types it. What it deletes is in tests/integration/stores/test_forget_user.py."""

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
