"""What commands about apps share: the stores for the length of a command, and faults as one sentence.

Exit codes: 0 done, 1 an engine is away or something is wrong, 2 the input is wrong and nothing was changed.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from difflib import get_close_matches
from typing import Any, Final

from worker.cli._faults import fail, refuse
from worker.cli._moments import rfc3339
from worker.cli._terminal import echo, json_text, prose, shown
from worker.core.model import AppSettings, Provider
from worker.process.runtime import Runtime
from worker.providers.kinds import commands, kind_of
from worker.reports.faults import sentence

__all__ = ["Row", "about", "app_named", "provider_named", "providers_of", "refuse", "say", "session", "table"]

Row = dict[str, Any]

#: Characters that a column of a table needs beside its words.
_BETWEEN: Final = 3
#: Names of apps that a sentence lists.
_LISTED: Final = 20


@contextmanager
def session() -> Iterator[Runtime]:
    """The stores. An engine that is away or a schema that is not there ends the command with what to do about it."""
    import psycopg
    import redis

    from config.settings import get_settings
    from worker.cli._engines import in_use
    from worker.database.postgres import CONNECT_ARGS, connect

    missing = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.InvalidSchemaName)
    explained = (psycopg.OperationalError, psycopg.errors.InsufficientPrivilege, *missing)
    settings = get_settings()
    with in_use() as urls:
        runtime = Runtime(settings, urls)
        try:
            connect(urls.postgres, **CONNECT_ARGS).close()  # the pool would only say that it waited
            yield runtime
        except explained as fault:
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
        refuse(f"--app: there are {len(apps):,} apps, name one: {_listed(apps)}")
    if name not in apps:
        known = f"known: {_listed(apps)}" if apps else "there is none yet"
        refuse(f"--app: no app {name!r}{_meant(name, apps)}, {known}; make it with: carillon app create {name}")
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
            refuse(f"app {app!r} has no provider yet; make one with: {commands(app)}")
        refuse(f"--provider: app {app!r} has {len(known)}, name one: {_listed(known)}")
    if name not in known:
        listed = f"known: {_listed(known)}" if known else "it has none"
        refuse(f"--provider: app {app!r} has no provider {name!r}{_meant(name, known)}; {listed}")
    return known[name]


def _listed(names: Iterable[str]) -> str:
    every = sorted(names)
    more = f" … and {len(every) - _LISTED:,} more" if len(every) > _LISTED else ""
    return f"{', '.join(every[:_LISTED])}{more}"


def _meant(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def about(provider: Provider) -> str:
    """What the provider is for: such as an app and environment of Apple's, or where its requests go."""
    return kind_of(provider).about(provider)


def say(value: Any, text: str, *, as_json: bool) -> None:
    """The outcome: one JSON object or array, or the sentence."""
    if as_json:
        echo(json_text(value))
    else:
        prose(text)


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

    names = [key.replace("_", " ") for key in rows[0]]
    cells = [[_cell(value) for value in row.values()] for row in rows]
    # Without a terminal, lines must not be cut to its width.
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=200)
    elif not _fits(names, cells, console.width):
        echo("\n\n".join(_records(names, cells)))
        return
    grid = Table(box=SIMPLE, pad_edge=False)
    for name in names:
        grid.add_column(name, overflow="fold")
    for line in cells:
        grid.add_row(*line)
    console.print(grid)


def _fits(names: Sequence[str], cells: Sequence[Sequence[str]], width: int) -> bool:
    """Whether the columns can stand beside each other without a word torn in two."""
    longest = (
        max(len(word) for cell in column for word in cell.split() or [""]) for column in zip(names, *cells, strict=True)
    )
    return sum(longest) + _BETWEEN * len(names) <= width


def _records(names: Sequence[str], cells: Sequence[Sequence[str]]) -> Iterator[str]:
    """Each row as lines of its own, for a narrow terminal."""
    room = max(map(len, names))
    for line in cells:
        yield "\n".join(f"{name:<{room}}  {cell}" for name, cell in zip(names, line, strict=True))


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return shown(str(value))
