"""A backup by `pg_dump`, as docs/backup.md says, restored into another database: the system goes on from it."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.pipeline.harness import Pipeline, message, user_of
from tests.programs import needs
from tests.system.environments.postgres import PostgresServer, of_debian
from worker.database.migrate import migrate
from worker.database.retention import keep_days

PAGE = Path(__file__).parents[3] / "docs" / "backup.md"
_SHAPE = (
    "SELECT relname::text, relkind::text FROM pg_class WHERE relnamespace = 'carillon'::regnamespace"
    " UNION ALL SELECT proname::text, 'function' FROM pg_proc WHERE pronamespace = 'carillon'::regnamespace"
    " UNION ALL SELECT tgname::text, 'trigger' FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2"
)


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """Debian's newest, whose `pg_dump` is of its version."""
    made = PostgresServer(tmp_path_factory.mktemp("debian"), of_debian())
    made.make()
    made.start()
    yield made
    made.stop()


def test_a_dump_is_restored_and_work_goes_on_from_it(debian: PostgresServer, redis_url: str, tmp_path: Path) -> None:
    for name in ("before", "after"):
        debian.database(name)
    before, after, dump = debian.url("before"), debian.url("after"), tmp_path / "carillon.dump"
    migrate(before)
    pipeline = Pipeline(before, redis_url)
    pipeline.member("general", "leia", "han")
    pipeline.publish(message(id="e1"))
    assert [user_of(n) for n in pipeline.run()] == ["han"]
    pipeline.publish(message(id="e2"))
    pipeline.take()
    pipeline.close()
    subprocess.run([needs("pg_dump"), "--format=custom", "--schema=carillon", f"--file={dump}", before], check=True)
    subprocess.run([needs("pg_restore"), "--exit-on-error", f"--dbname={after}", str(dump)], check=True)
    assert debian.sql(_SHAPE, database="after") == debian.sql(_SHAPE, database="before")
    debian.sql(*statements(), database="after")
    assert migrate(after) == []
    pipeline = Pipeline(after, redis_url)
    assert [user_of(n) for n in pipeline.run()] == ["han"]
    pipeline.publish(message(id="e3"))
    assert [user_of(n) for n in pipeline.run()] == ["han"]
    assert keep_days(pipeline.pool, "ledger", 30) == 0
    pipeline.close()


def statements() -> list[str]:
    """What the page runs after a restore of an older Postgres."""
    [block] = re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return [one.strip() for one in block.split(";") if one.strip()]
