"""Postgres' advisory locks are numbers that releases share."""

from pathlib import Path

from worker.database import locks

MIGRATIONS = Path(locks.__file__).parent / "migrations"


def test_no_two_locks_are_one():
    numbers = [value for name, value in vars(locks).items() if name.isupper()]
    assert len(numbers) == len(set(numbers)) == 8


def test_a_migration_takes_the_lock_that_is_named_for_it():
    assert f"pg_try_advisory_xact_lock({locks.RETENTION}," in (MIGRATIONS / "0015_retention.sql").read_text()


def test_no_lock_is_taken_by_a_bare_number():
    """But by a migration, which cannot import the name."""
    takers = [
        path.name
        for path in Path("worker").rglob("*.py")
        if "_xact_lock(" in path.read_text() and path.name != "locks.py"
    ]
    assert takers == ["outbox.py"], "whose number is a parameter, in one statement with its settings"
