"""Dead letters of the release before, which kept documents of any size."""

from importlib.resources import files

import psycopg

from worker.database.ledger import Ledger
from worker.database.migrate import migrate
from worker.database.postgres import open_pool


def test_they_get_their_size_and_of_too_large_ones_the_beginning_is_kept(empty_postgres_url):
    scripts = sorted(path.name for path in files("worker.database.migrations").iterdir() if path.name.endswith(".sql"))
    with psycopg.connect(empty_postgres_url) as db:
        db.execute("CREATE SCHEMA carillon")
        db.execute("CREATE TABLE carillon.migrations (version text PRIMARY KEY, applied_at timestamptz DEFAULT now())")
        for name in scripts:
            if name < "0017":
                db.execute(files("worker.database.migrations").joinpath(name).read_text().encode())
                db.execute("INSERT INTO carillon.migrations (version) VALUES (%s)", (name.removesuffix(".sql"),))
        db.execute(
            "INSERT INTO carillon.dead_letters (entry, error, document)"
            " VALUES ('1-0', 'bad', '{}'), ('2-0', 'large', convert_to(repeat('x', 3000000), 'UTF8'))"
        )
    assert "0017_dead_letters" in migrate(empty_postgres_url)
    pool = open_pool(empty_postgres_url, size=1)
    try:
        large, small = Ledger(pool).dead_letters()
        assert (small.size, small.whole, large.size, large.whole) == (2, True, 3_000_000, False)
        found = Ledger(pool).dead_letter(large.id)
        assert found is not None
        assert found.letter.document == b"x" * 1024
    finally:
        pool.close()
