"""One of the engines comes back from an older copy: what is lost is said, and what is there is delivered."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from producers import events as ev
from tests.databases import create
from tests.integration.pipeline.harness import Pipeline, message, user_of
from tests.integration.pipeline.test_rounds import ids, says
from tests.valkey import Valkey
from worker.core.errors import LeaseLost
from worker.reports.conditions import find
from worker.reports.reading import read
from worker.state.streams import trimmed

#: docs/backup.md has it for who restores Postgres.
AHEAD = (
    "UPDATE carillon.lease SET token = token + 1000000",
    "UPDATE carillon.places SET next = next + 1000000000000",
)


def conditions(pipeline: Pipeline) -> set[str]:
    with pipeline.pool.connection() as db:
        return {one.name for one in find(read(pipeline.keyspace, db).snapshot)}


class Servers:
    """A Postgres and a Valkey that can be copied, and be replaced by the copy."""

    def __init__(self, postgres_url: str, home: Path) -> None:
        self.postgres_url, self._home, self._number = postgres_url, home, 0
        self.redis = self._valkey(home / "first")

    def _valkey(self, home: Path) -> Valkey:
        home.mkdir(exist_ok=True)
        server = Valkey(home)
        server.start()
        return server

    def pipeline(self) -> Pipeline:
        return Pipeline(self.postgres_url, self.redis.url)

    def copy_of_redis(self) -> Path:
        """As docs/backup.md makes it: the folder of the AOF, after it was rewritten."""
        self._number += 1
        copy = self._home / f"copy-{self._number}"
        self.redis.stop()
        subprocess.run(["cp", "-r", self.redis._home, copy], check=True)
        self.redis.start()
        return copy

    def restore_redis(self, copy: Path) -> None:
        self.redis.stop()
        self.redis = self._valkey(copy)

    def copy_of_postgres(self) -> str:
        """The server's own copy of the database. pg_dump is tried in tests/system/environments."""
        return create(self.postgres_url, urlsplit(self.postgres_url).path[1:])

    def restore_postgres(self, copy: str) -> None:
        self.postgres_url = copy

    def close(self) -> None:
        self.redis.stop()


@pytest.fixture
def servers(postgres_url: str, tmp_path: Path) -> Iterator[Servers]:
    made = Servers(postgres_url, tmp_path)
    yield made
    made.close()


def begun(servers: Servers) -> Pipeline:
    """A channel with two people, and a message that was delivered."""
    pipeline = servers.pipeline()
    pipeline.member("general", "leia", "han")
    pipeline.publish(message(id="e1"))
    assert [user_of(n) for n in pipeline.run()] == ["han"]
    pipeline.rounds.look()
    return pipeline


def test_an_older_redis_is_noticed_by_its_ids_and_what_it_has_is_delivered(
    servers: Servers, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = begun(servers)
    pipeline.publish(says("demo", "e2"))
    pipeline.take()  # it was read, and waits to be expanded
    pipeline.close()
    copy = servers.copy_of_redis()
    pipeline = servers.pipeline()
    pipeline.publish(says("demo", "e3"))
    pipeline.run()
    pipeline.close()
    servers.restore_redis(copy)
    pipeline = servers.pipeline()
    sent = pipeline.run()
    assert [user_of(n) for n in sent] == ["han"], "e2 was delivered before as well; e3 is lost, and was delivered"
    assert "the stream ends before what was read of it" in caplog.text
    assert trimmed(pipeline.partition)[ev.STREAM][0] == 1
    assert "entries_trimmed" in conditions(pipeline)
    pipeline.publish(says("demo", "e4"))
    assert [user_of(n) for n in pipeline.run()] == ["han"]
    pipeline.close()


def test_an_older_redis_to_which_somebody_has_published_since_is_noticed_too(
    servers: Servers, caplog: pytest.LogCaptureFixture
) -> None:
    """Its newest id is newer than what was read: only the number of its entries tells."""
    pipeline = begun(servers)
    pipeline.close()
    copy = servers.copy_of_redis()
    pipeline = servers.pipeline()
    pipeline.publish(*(says("demo", f"lost-{n}") for n in range(5)))
    pipeline.take()
    pipeline.close()
    servers.restore_redis(copy)
    pipeline = servers.pipeline()
    pipeline.publish(says("demo", "new"))
    assert [user_of(n) for n in pipeline.run()] == ["han"]
    assert "has had fewer entries" in caplog.text
    assert trimmed(pipeline.partition)[ev.STREAM][0] == 4, "five are lost, and one is there since"
    assert "entries_trimmed" in conditions(pipeline)
    pipeline.rounds.look()
    assert trimmed(pipeline.partition)[ev.STREAM][0] == 4, "it is said once"
    pipeline.close()


def test_an_older_postgres_is_noticed_and_what_is_on_the_stream_is_delivered(
    servers: Servers, caplog: pytest.LogCaptureFixture
) -> None:
    begun(servers).close()
    dump = servers.copy_of_postgres()
    pipeline = servers.pipeline()
    pipeline.member("general", "luke")
    pipeline.publish(message(id="e2"))
    assert {user_of(n) for n in pipeline.run()} == {"han", "luke"}
    pipeline.publish(message(id="e3"))
    pipeline.take()
    pipeline.publish(message(id="e4"))
    for _ in range(3):
        pipeline.lead()
    pipeline.close()
    servers.restore_postgres(dump)
    with psycopg.connect(servers.postgres_url) as db:
        for statement in AHEAD:
            db.execute(statement.encode())
    pipeline = servers.pipeline()
    sent = pipeline.run()
    pipeline.rounds.look()
    assert sorted(user_of(n) for n in sent) == ["han", "han"], "Luke's membership is lost, and that is said"
    assert set(ids(pipeline, "demo")) == {"e1", "e3", "e4"}
    assert "or Postgres came back from an older copy" in caplog.text
    assert "entries_trimmed" in conditions(pipeline)
    pipeline.publish(message(id="e5"))
    assert [user_of(n) for n in pipeline.run()] == ["han"]
    pipeline.close()


def test_without_the_steps_after_a_restore_nobody_leads_until_the_token_is_higher(servers: Servers) -> None:
    begun(servers).close()
    dump = servers.copy_of_postgres()
    pipeline = servers.pipeline()
    for _ in range(3):
        pipeline.lead()
    pipeline.close()
    servers.restore_postgres(dump)
    pipeline = servers.pipeline()
    with pytest.raises(LeaseLost):
        pipeline.lead()
    tries = 0
    while tries < 10:
        tries += 1
        try:
            pipeline.lead()
            break
        except LeaseLost:
            continue
    assert 1 <= tries <= 3
    pipeline.publish(message(id="e2"))
    assert [user_of(n) for n in pipeline.run()] == ["han"]
    pipeline.close()


def test_both_from_copies_of_one_time_go_on_as_if_nothing_had_happened(servers: Servers) -> None:
    pipeline = begun(servers)
    pipeline.publish(message(id="e2"))
    pipeline.take()
    pipeline.publish(message(id="e3"))
    pipeline.close()
    dump = servers.copy_of_postgres()
    copy = servers.copy_of_redis()
    servers.restore_redis(copy)
    servers.restore_postgres(dump)
    pipeline = servers.pipeline()
    assert [user_of(n) for n in pipeline.run()] == ["han", "han"]
    assert trimmed(pipeline.partition) == {}
    pipeline.close()
