"""`carillon outbox`: the table, its relay and its content."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from producers.wire import MAX_BACKLOG
from worker.cli._groups import group
from worker.cli._options import duration
from worker.cli._terminal import echo, json_text, shown

outbox = group("Events written in the chat server's own transaction, and the relay that publishes them.")

_Url = Annotated[
    str | None,
    typer.Option(
        "--url", help="Where the outbox is; with a password in it: CARILLON_OUTBOX_URL. Default: that, else our own."
    ),
]


@outbox.command()
def sql(
    notify: Annotated[bool, typer.Option(help="With a trigger that wakes the relay at commit.")] = True,
) -> None:
    """Print the SQL that makes the outbox in the chat server's database; it may be run again."""
    from producers import outbox as table

    sys.stdout.write(table.sql(notify=notify))


@outbox.command()
def relay(
    url: _Url = None,
    batch: Annotated[int, typer.Option(min=1, max=5_000, help="Rows moved at once.")] = 500,
    poll: Annotated[float, duration(0.01, 60, "Seconds between looks without a notification.")] = 1.0,
    keep_hours: Annotated[float, duration(0, 24 * 3_650, "Hours for which moved rows are kept.")] = 0.0,
    max_backlog: Annotated[
        int, typer.Option(min=1, max=10**9, help="Unread events of an app at which rows wait.")
    ] = MAX_BACKLOG,
) -> None:
    """Move committed rows of the outbox to the stream. Run as many as you like: one works, the others stand by."""
    from config.logs import set_up
    from config.settings import get_settings
    from worker.database.outbox import Outbox
    from worker.metrics.engines import of_relay
    from worker.pipeline.outbox_relay import Pace, Relay
    from worker.process import exporter
    from worker.process.host import STOPS, Stop, check_files, disown_orphans, on_stop
    from worker.state.fence import Fence
    from worker.state.redis import await_fit, connect

    check_files()
    disown_orphans()
    settings = get_settings()
    set_up(settings)
    stop = Stop()
    with _engines(url) as (postgres_url, redis_url):
        with connect(redis_url) as client:
            await_fit(client, worker=False)
        on_stop(stop.heed, (*STOPS, signal.SIGINT))
        relay = Relay(
            Outbox(postgres_url),
            lambda source: Fence(redis_url, source, max_backlog=max_backlog),
            Pace(batch, poll, keep_hours),
            stop.wait,
        )
        exporter.moving("relay", lambda: relay.stepped_at)
        exporter.start("relay", lambda _: of_relay(redis_url, postgres_url))
        try:
            relay.run(stop.is_set)
        finally:
            exporter.stop()
            relay.close()


@outbox.command()
def status(
    url: _Url = None,
    limit: Annotated[int, typer.Option(min=0, max=1_000, help="Failed rows to show.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what waits in the outbox, and failed rows with their errors. Exit code 1 if there are failed rows."""
    import psycopg

    from worker.database.outbox import Outbox
    from worker.pipeline.outbox_relay import URL
    from worker.reports.faults import sentence

    with _engines(url) as (postgres_url, _):
        table = Outbox(postgres_url)
        try:
            state = table.state(limit)
        except psycopg.errors.UndefinedTable:
            raise SystemExit("carillon: there is no outbox: run what `carillon outbox sql` prints") from None
        except psycopg.Error as fault:
            raise SystemExit(f"carillon: the outbox: {sentence(fault, postgres=URL)}") from None
        finally:
            table.close()
    if as_json:
        failures = [{"id": id, "age": round(age, 3), "error": error} for id, age, error in state.failures]
        echo(json_text(state._asdict() | {"failures": failures}))
    else:
        since = "" if state.oldest_waiting is None else f", the oldest for {state.oldest_waiting:.1f} s"
        echo(f"{state.waiting:,} waiting{since}; {state.kept:,} kept; {state.failed:,} failed")
        for id, age, error in state.failures:
            echo(shown(f"  {id}  {age:,.0f} s ago  {error}"))
    raise typer.Exit(1 if state.failed else 0)


@contextmanager
def _engines(url: str | None) -> Iterator[tuple[str, str]]:
    """The outbox's Postgres, and Redis."""
    from config.settings import get_settings
    from worker.cli._engines import in_use
    from worker.cli._secret_options import warn_of_password

    warn_of_password("--url", url, "CARILLON_OUTBOX_URL")
    settings = get_settings()
    own = url or settings.outbox_url
    if own is not None and settings.redis_url is not None:  # a relay needs no database of Carillon's
        yield own, settings.redis_url
        return
    with in_use() as urls:
        yield url or settings.outbox_url or urls.postgres, urls.redis
