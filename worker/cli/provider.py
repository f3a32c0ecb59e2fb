"""`carillon provider`."""

import time
from typing import Annotated

import typer

from worker.cli._groups import group
from worker.cli._moments import rfc3339
from worker.cli._options import Json, OnlyApp, ProviderName, apps
from worker.cli._session import Row, app_named, provider_named, say, session, table
from worker.cli._terminal import prose
from worker.core.breaker import Stopped
from worker.core.way import Way
from worker.process.by_hand import by_hand
from worker.providers.kinds import commands, kind_of
from worker.reports import watch
from worker.reports.conditions import Condition, word
from worker.reports.reading import read

provider = group("See which providers flow, and stop or start one. What waits meanwhile is kept, until it is too old.")

App = Annotated[
    str | None,
    typer.Option("--app", "-a", help="The app; may be left out where there is only one.", autocompletion=apps),
]


@provider.command("list", epilog="Example: carillon provider list --app demo")
def list_(app: OnlyApp = None, as_json: Json = False) -> None:
    """Every provider, whether it flows, and what needs somebody."""
    with session() as runtime:
        only = None if app is None else app_named(runtime, app).name
        every = runtime.registry.providers()
        with runtime.pool.connection() as db:
            reading = read(
                runtime.keyspace,
                db,
                workers=False,
                readable={id: one.readable for id, one in every.items()},
                ends={id: end for id, one in every.items() if (end := kind_of(one).ends_at(one)) is not None},
            )
        found = [one for one in watch.agreed(reading, watch.known(runtime.fleet)) if one.provider is not None]
        stops = dict[Way, Stopped]()
        keyspace, silent = runtime.keyspace.answering()
        for number in silent:
            prose(f"partition {number} does not answer: whether the providers of its apps flow is not known", err=True)
        for partition in keyspace:
            theirs = [id for id, each in every.items() if partition.owns(each.app)]
            stops |= runtime.partitions[partition.index].breaker.stopped_among(theirs)
    rows: list[Row] = []
    for one in sorted(every.values(), key=lambda each: (each.app, each.name)):
        if only not in (None, one.app):
            continue
        stopped = stops.get(one.id)
        about = [each for each in found if (each.app, each.provider) == (one.app, one.name)]
        rows.append(
            {
                "app": one.app,
                "name": one.name,
                "environment": kind_of(one).environment(one),
                "flows": stopped is None,
                "reason": stopped and stopped.reason,
                "since": stopped and rfc3339(stopped.since),
                "by_hand": bool(stopped and stopped.manual),
                "conditions": [_as_json(c) for c in about],
            }
        )
    empty = f"there is no provider yet; make one with: {commands()}"
    table(rows if as_json else [_shown(row) for row in rows], as_json=as_json, empty=empty)


def _as_json(one: Condition) -> Row:
    return {
        "name": one.name,
        "severity": word(one.severity),
        "text": one.text,
        "origin": one.origin or None,
        "since": None if one.since is None else rfc3339(one.since),
        "waiting": one.waiting,
        "first_loss": None if one.first_loss is None else rfc3339(one.first_loss),
    }


def _shown(row: Row) -> Row:
    state = "flows" if row["flows"] else "paused" if row["by_hand"] else "stopped"
    texts = "; ".join(
        f"{each['origin']}: {each['text']}" if each["origin"] else each["text"] for each in row["conditions"]
    )
    return {name: row[name] for name in ("app", "name", "environment")} | {"state": texts or state}


@provider.command(epilog="Example: carillon provider pause apns --app demo --reason 'new key on Monday'")
def pause(
    name: ProviderName,
    app: App = None,
    reason: Annotated[str, typer.Option(help="What `list` shows.")] = "paused",
    as_json: Json = False,
) -> None:
    """Send nothing through a provider, whatever the origin, until it is resumed."""
    with session() as runtime:
        chosen = provider_named(runtime, app_named(runtime, app).name, name)
        with by_hand(runtime) as hand:
            hand.record("provider paused", app=chosen.app, provider=chosen.name, note=reason)
            runtime.breakers(chosen.app).stop(chosen.id, reason, time.time())
    words = f"{name} is paused. Resume it: carillon provider resume {name} --app {chosen.app}"
    say({"paused": name}, words, as_json=as_json)


@provider.command(epilog="Example: carillon provider resume apns --app demo")
def resume(name: ProviderName, app: App = None, as_json: Json = False) -> None:
    """Let a stopped or paused provider flow again, with all of its origins. Its waiting pushes are sent within seconds."""
    with session() as runtime:
        chosen = provider_named(runtime, app_named(runtime, app).name, name)
        stop = runtime.breakers(chosen.app).stopped(chosen.id)
        detail = None if stop is None else {"reason": stop.reason, "stopped": rfc3339(stop.since)}
        with by_hand(runtime) as hand:
            hand.record("provider resumed", app=chosen.app, provider=chosen.name, detail=detail)
            was_stopped = runtime.breakers(chosen.app).resume(chosen.id)
    words = f"{name} flows again." if was_stopped else f"{name} was flowing already."
    say({"resumed": name, "was_stopped": was_stopped}, words, as_json=as_json)
