"""Whether devices are still their users': asked of all devices of a batch at once."""

from typing import Any

import psycopg
import pytest

from worker.database.devices import Devices
from worker.database.postgres import Pool


def registered(pool: Pool, *rows: tuple[str, str | None, bool, str | None, str | None]) -> list[int]:
    """Of each row (token, user, active, why it was retired, tombstones) the device's id."""
    with pool.connection() as db:
        return [
            db.execute(
                "INSERT INTO carillon.devices (app, token, user_id, active, retired_reason, tombstones, registered_at)"
                " VALUES ('demo', %s, %s, %s, %s, %s::jsonb, 1) RETURNING id",
                row,
            ).fetchall()[0][0]
            for row in rows
        ]


def test_devices_are_owned_only_where_each_belongs_to_its_user(pool: Pool) -> None:
    devices = Devices(pool)
    han, luke, retired, gone, nobody = registered(
        pool,
        ("a", "han", True, None, None),
        ("b", 'lu"ke,{}\\', True, None, None),
        ("c", "leia", False, "Unregistered", None),
        ("d", "lando", False, "Unregistered", '{"lando": 1}'),
        ("e", None, False, None, None),
    )
    theirs = {luke: 'lu"ke,{}\\', han: "han", retired: "leia"}
    assert devices.owners([*theirs, gone, nobody]) == theirs
    assert devices.are_owned(theirs)
    assert devices.are_owned({luke: theirs[luke]})
    for other in ({han: "luke"}, {han: theirs[luke], luke: "han"}, {gone: "lando"}, {nobody: ""}, {nobody + 1: "han"}):
        assert not devices.are_owned(theirs | other)
        assert not devices.are_owned(other)


def test_whatever_postgres_knows_of_the_table_it_reads_only_these_devices(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pool.connection() as db:
        db.execute(
            "INSERT INTO carillon.devices (app, token, user_id, active, registered_at)"
            " SELECT 'demo', n::text, 'u' || n, true, 1 FROM generate_series(1, 30000) AS n"
        )
        rows = db.execute("SELECT id, user_id FROM carillon.devices ORDER BY token LIMIT 500").fetchall()
        [query] = asked(pool, dict(rows), monkeypatch)
        for analyzed in (False, True):
            if analyzed:
                db.execute("ANALYZE carillon.devices")
            for mode in ("force_generic_plan", "force_custom_plan"):
                plan = planned(db, query, rows, mode)
                assert "devices_pkey" in plan, f"{mode}, analyzed: {analyzed}"
                assert "Seq Scan" not in plan, f"{mode}, analyzed: {analyzed}"


def planned(db: psycopg.Connection, query: bytes, rows: list[Any], mode: str) -> str:
    db.execute(f"SET plan_cache_mode = {mode}".encode())
    db.execute(b"PREPARE are_owned (bigint[], text[]) AS " + query.replace(b"%b", b"$1", 1).replace(b"%b", b"$2"))
    ids, users = ("{" + ",".join(map(str, column)) + "}" for column in zip(*rows, strict=True))
    found = db.execute(f"EXPLAIN EXECUTE are_owned ('{ids}', '{users}')".encode()).fetchall()
    db.execute("DEALLOCATE are_owned")
    return "\n".join(line for (line,) in found)


def asked(pool: Pool, owners: dict[int, str], monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The statement that says whether these are owned, which they are."""
    made: list[bytes] = []
    execute = psycopg.Connection.execute

    def noted(self: Any, query: Any, *args: Any, **more: Any) -> Any:
        # The pool may prepare a connection meanwhile.
        if isinstance(query, bytes) and b"carillon.devices" in query:
            made.append(query)
        return execute(self, query, *args, **more)

    with monkeypatch.context() as patched:
        patched.setattr(psycopg.Connection, "execute", noted)
        assert Devices(pool).are_owned(owners)
    return made
