"""What commands that look after apps share: the stores for the length of a command, and faults told in a sentence.

Exit codes: 0 done, 1 an engine is away or something is wrong, 2 the input is wrong and nothing was changed.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from worker.cli._faults import fail, refuse
from worker.cli._terminal import echo, json_text, shown
from worker.core.model import AppSettings, Provider
from worker.reports.faults import sentence
from worker.runtime import Runtime

__all__ = ["Row", "app_named", "desk", "provider_named", "providers_of", "refuse", "say", "table"]

Row = dict[str, Any]


@contextmanager
def desk() -> Iterator[Runtime]:
    """The stores. An engine that is away or a schema that is not there ends the command with what to do about it."""
    import psycopg
    import redis

    from config.settings import get_settings
    from worker.embedded import engines
    from worker.stores.postgres import CONNECT_ARGS

    missing = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.InvalidSchemaName)
    told = (psycopg.OperationalError, psycopg.errors.InsufficientPrivilege, *missing)
    settings = get_settings()
    with engines(settings) as urls:
        runtime = Runtime(settings, urls)
        try:
            psycopg.connect(urls.postgres, **CONNECT_ARGS).close()  # the pool would only say that it waited
            yield runtime
        except told as fault:
            fail(f"Postgres: {sentence(fault)}")
        except redis.RedisError as fault:
            fail(f"Redis: {sentence(fault)}")
        finally:
            runtime.close()


def app_named(runtime: Runtime, name: str | None) -> AppSettings:
    """The app of that name, or the only one there is; else the command ends."""
    apps = runtime.registry.apps()
    if name is None:
        if len(apps) == 1:
            return next(iter(apps.values()))
        if not apps:
            refuse("there is no app yet; make one with: carillon app create NAME")
        refuse(f"--app: there are {len(apps)} apps, name one: {', '.join(sorted(apps))}")
    if name not in apps:
        known = f"known: {', '.join(sorted(apps))}" if apps else "there is none yet"
        refuse(f"--app: no app {name!r}, {known}; make it with: carillon app create {name}")
    return apps[name]


def providers_of(runtime: Runtime, app: str) -> dict[str, Provider]:
    """The app's providers by name."""
    return {p.name: p for p in runtime.registry.providers().values() if p.app == app}


def provider_named(runtime: Runtime, app: str, name: str | None) -> Provider:
    """The app's provider of that name, or the only one it has; else the command ends."""
    known = providers_of(runtime, app)
    if name is None:
        if len(known) == 1:
            return next(iter(known.values()))
        if not known:
            refuse(f"app {app!r} has no provider yet; make one with: carillon push apn --app {app}")
        refuse(f"--provider: app {app!r} has {len(known)}, name one: {', '.join(sorted(known))}")
    if name not in known:
        listed = f"known: {', '.join(sorted(known))}" if known else "it has none"
        refuse(f"--provider: app {app!r} has no provider {name!r}; {listed}")
    return known[name]


def say(value: Any, text: str, *, as_json: bool) -> None:
    """The outcome: one JSON object or array, or the sentence."""
    echo(json_text(value) if as_json else text)


def table(rows: Sequence[Row], *, as_json: bool, empty: str) -> None:
    """Rows of the same keys as a table for a person, or as a JSON array."""
    if as_json:
        echo(json_text(list(rows)))
        return
    if not rows:
        echo(empty)
        return
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    grid = Table(box=SIMPLE, pad_edge=False)
    for key in rows[0]:
        grid.add_column(key.replace("_", " "), overflow="fold")
    for row in rows:
        grid.add_row(*(_cell(value) for value in row.values()))
    # Where nobody looks at a terminal, lines must not be cut to one.
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=200)
    console.print(grid)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return shown(str(value))
