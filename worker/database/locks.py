"""Postgres' advisory locks. Each is held until its transaction ends.

Releases share the numbers, so none of them changes.
"""

from typing import Final

from worker.database.postgres import Connection

#: One command migrates the schema at a time.
MIGRATE: Final = 0x6361_7269
#: One process at a time writes the ledger: in the release before for all partitions. This one shares it, and has one a partition.
LEDGER: Final = 0x6361_726C
LEDGER_OF: Final = 0x6361_7250
#: One relay at a time moves rows of the outbox.
OUTBOX: Final = 0x6361_726F
#: One transaction at a time writes devices.
DEVICES: Final = 0x6361_726D
#: One process at a time samples the counters, or rolls up samples.
HISTORY: Final = 0x6361_7268
#: One process at a time makes and drops the partitions of a table. Only the migration that does it names it.
RETENTION: Final = 0x6361_7274
#: One process at a time chooses the apps whose counters have their names.
NAMED_APPS: Final = 0x6361_726E


def acquire(db: Connection, lock: int) -> None:
    """Waits until no other transaction has the lock."""
    db.execute("SELECT pg_advisory_xact_lock(%s)", (lock,))


def try_acquire(db: Connection, lock: int) -> bool:
    """Tries to get the lock without waiting; whether this transaction has it."""
    row = db.execute("SELECT pg_try_advisory_xact_lock(%s)", (lock,)).fetchone()
    return row is not None and bool(row[0])


def try_ledger(db: Connection, partition: int) -> bool:
    """Tries to get the lock of this partition's part of the ledger; whether this transaction has it."""
    row = db.execute(
        "SELECT pg_try_advisory_xact_lock_shared(%s) AND pg_try_advisory_xact_lock(%s, %s)",
        (LEDGER, LEDGER_OF, partition),
    ).fetchone()
    return row is not None and bool(row[0])


def await_ledger(db: Connection, partition: int) -> None:
    """Waits until nobody writes this partition's part of the ledger."""
    db.execute("SELECT pg_advisory_xact_lock_shared(%s)", (LEDGER,))
    db.execute("SELECT pg_advisory_xact_lock(%s, %s)", (LEDGER_OF, partition))
