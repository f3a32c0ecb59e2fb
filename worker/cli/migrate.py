"""`carillon migrate`."""

import sys
import time
from typing import TYPE_CHECKING, Annotated

from worker.cli._options import DAY, Json, duration
from worker.cli._terminal import echo, json_text

if TYPE_CHECKING:
    from config.settings import Settings
    from worker.embedded import Urls


def migrate(
    wait: Annotated[float, duration(0, DAY, "Seconds to wait for a Postgres that does not answer yet.")] = 30,
    as_json: Json = False,
) -> None:
    """Bring the database's schema up to date. Safe to repeat, and for several to run at once."""
    from config.settings import get_settings
    from producers.partitions import encoded
    from worker.cli._engines import tell
    from worker.core.errors import UnfitError
    from worker.database import kept_layout
    from worker.embedded import engines
    from worker.reports.faults import sentence
    from worker.state import layout
    from worker.state.redis import Error as RedisError
    from worker.state.redis import connect, unfit

    settings = get_settings()
    with engines(settings) as urls:
        tell(settings)
        found = None
        with connect(urls.redis) as client:
            if (fault := unfit(client)) is not None:
                sys.exit(f"carillon: {fault}: CARILLON_REDIS_URL")
            try:
                found = layout.agree(client, settings.partitions, kept_layout.try_read_at(urls.postgres))
            except UnfitError as unfitting:
                sys.exit(f"carillon: {unfitting}")
            except RedisError as away:
                echo(f"carillon: the partitions are not looked at, Redis does not answer: {sentence(away)}", err=True)
        applied = migrate_when_up(urls.postgres, wait)
        if found is not None and not found.closed:
            kept_layout.keep_at(urls.postgres, encoded(found))
    if as_json:
        echo(json_text({"applied": applied}))
        return
    for version in applied:
        echo(f"applied {version}")
    if not applied:
        echo("up to date")


def prepared(urls: "Urls", settings: "Settings") -> list[str]:
    """What new engines of our own need: an empty Redis gets its partitions, and the versions are applied that it returns."""
    from worker.core.errors import UnfitError
    from worker.database import kept_layout
    from worker.state import layout
    from worker.state.redis import connect

    try:
        with connect(urls.redis) as client:
            layout.agree(client, settings.partitions, kept_layout.try_read_at(urls.postgres))
    except UnfitError as fault:
        sys.exit(f"carillon: {fault}")
    return migrate_when_up(urls.postgres, 30)


def migrate_when_up(postgres_url: str, wait: float) -> list[str]:
    """The versions applied. Waits up to `wait` seconds for the server, then ends the command with what to do."""
    import psycopg

    from worker.database.migrate import migrate
    from worker.database.postgres import is_away
    from worker.reports.faults import sentence

    deadline = time.monotonic() + wait
    while True:
        try:
            applied = migrate(postgres_url)
            _record_fleet(postgres_url)
            _record_act(postgres_url, applied)
            return applied
        except psycopg.Error as fault:
            if not is_away(fault) or time.monotonic() > deadline:
                sys.exit(f"carillon: {sentence(fault)}")
            time.sleep(0.5)


def _record_fleet(postgres_url: str) -> None:
    """A database without a fleet gets the name of the fleet that migrates it."""
    from config.settings import get_settings
    from worker.database import postgres
    from worker.database.fleet import record

    if name := get_settings().fleet:
        with postgres.connect(postgres_url, autocommit=True) as db:
            record(db, name)


def _record_act(postgres_url: str, applied: list[str]) -> None:
    from worker.database import postgres
    from worker.reports import acts

    if applied:
        with postgres.connect(postgres_url, autocommit=True) as db:
            acts.record(db, acts.made("database migrated", detail={"versions": applied}))
