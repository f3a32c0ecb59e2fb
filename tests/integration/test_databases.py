"""A test finds its database as the template is, whatever another did to the same one."""

import psycopg
import pytest

from tests.conftest import TEMPLATE
from tests.databases import Databases
from worker.embedded import Urls

OBJECTS = "SELECT count(*) FROM pg_class WHERE relnamespace = 'carillon'::regnamespace"


@pytest.fixture
def url(migrated: Urls) -> str:
    return migrated.postgres


def contents(url: str) -> dict[str, object]:
    with psycopg.connect(url) as db:
        tables = db.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'carillon'::regnamespace AND relkind = 'r'"
        )
        found: dict[str, object] = {
            name: db.execute(f"SELECT json_agg(t)::text FROM carillon.{name} t".encode()).fetchall()
            for (name,) in tables.fetchall()
        }
        found[""] = db.execute(OBJECTS).fetchall()
        found["sequences"] = db.execute("SELECT sequencename, last_value FROM pg_sequences ORDER BY 1").fetchall()
    return found


@pytest.mark.parametrize(
    ("did", "stays"),
    [
        pytest.param("INSERT INTO carillon.apps (name) VALUES ('chat'), ('chess')", True, id="rows"),
        pytest.param(
            "DELETE FROM carillon.lease; UPDATE carillon.places SET next = 1", True, id="rows of the template"
        ),
        pytest.param("SELECT nextval(sequencename::regclass) FROM pg_sequences", True, id="numbers"),
        pytest.param("CREATE TABLE carillon.more (x text)", False, id="a table"),
        pytest.param("ALTER TABLE carillon.apps ADD more text", False, id="a column"),
        pytest.param("GRANT SELECT ON carillon.apps TO PUBLIC", False, id="a right"),
        pytest.param("DROP SCHEMA carillon CASCADE", False, id="no schema"),
        pytest.param(
            "INSERT INTO carillon.apps (name) SELECT n::text FROM generate_series(1, 20000) n", False, id="much room"
        ),
    ],
)
def test_a_database_is_given_again_as_the_template_is_or_not_at_all(url: str, did: str, stays: bool) -> None:
    databases = Databases(url, TEMPLATE)
    with databases.one() as first, psycopg.connect(first) as db:
        before = contents(first)
        db.execute("SET search_path = carillon")
        db.execute(did.encode())
    with databases.one() as _, databases.one() as third:
        assert (third == first) == stays
        assert contents(third) == before
    databases.close()
