"""Which fleet the database belongs to."""

from worker.database.postgres import Connection


def recorded(db: Connection) -> str:
    """The fleet's name; empty if it was never set."""
    row = db.execute("SELECT name FROM carillon.fleet").fetchone()
    return "" if row is None else str(row[0])


def record(db: Connection, name: str) -> bool:
    """Sets the fleet's name if it has none; False if it has one."""
    return db.execute("INSERT INTO carillon.fleet (name) VALUES (%s) ON CONFLICT DO NOTHING", (name,)).rowcount == 1


def take_over(db: Connection, name: str) -> None:
    """Gives the database to this fleet, whichever had it; '' gives it to every fleet. Workers notice within seconds."""
    with db.transaction():
        db.execute("DELETE FROM carillon.fleet")
        if name:
            record(db, name)
        # Workers check for changes of apps.
        db.execute("UPDATE carillon.apps SET name = name")
