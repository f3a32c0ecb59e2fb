"""`carillon partitions`."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli._groups import group
from worker.cli._options import Json
from worker.cli._session import Row, refuse, say, session, table
from worker.cli._terminal import echo, prose

if TYPE_CHECKING:
    from worker.process.repartition import Changed
    from worker.process.runtime import Runtime

partitions = group("How many partitions there are, and what lives in each; change their number, or spread a large app.")


@partitions.command(epilog="Example: carillon partitions status")
def status(
    apps: Annotated[bool, typer.Option("--apps", help="Which app lives where, instead of the partitions.")] = False,
    as_json: Json = False,
) -> None:
    """Show the partitions with their apps and backlog, the fullest first."""
    from worker.database import cursors
    from worker.process import repartition as process
    from worker.state.backlog import read

    with session() as runtime:
        found = process.in_force(runtime.redis)
        names = sorted(runtime.registry.apps())
        if (begun := process.under_way(runtime.redis)) is not None:
            echo(f"a change has begun: finish it with carillon partitions {process.command_of(*begun)}", err=True)
        if apps:
            rows: list[Row] = [
                {"app": name, "partition": found.home_of(name), "spread": found.is_spread(name)} for name in names
            ]
            return table(rows, as_json=as_json, empty="no app")
        with runtime.pool.connection() as db:
            taken = cursors.taken(db)
        keyspace, silent = process.of_any_number(runtime).keyspace.answering()
        backlogs = {of.index: read([of], taken) for of in keyspace}
    for number in silent:
        prose(f"partition {number} does not answer: what waits there is not known", err=True)
    rows = []
    for p in range(found.partitions):
        waiting = None if p not in backlogs else [one for one in backlogs[p].waiting if one.state != "scheduled"]
        rows.append(
            {
                "partition": p,
                "tag": found.tags[p] if found.tags else None,
                "apps": sum(found.home_of(name) == p for name in names),
                "messages": None if waiting is None else sum(one.messages for one in waiting),
                "batches": None if waiting is None else sum(one.batches for one in waiting),
                "oldest": max((one.oldest for one in waiting or () if one.oldest is not None), default=None),
            }
        )
    if found.spread:
        echo(f"spread over all of them: {', '.join(sorted(found.spread))}", err=True)

    def fullest_first(row: Row) -> tuple[int, int]:
        return -(row["messages"] or 0) - (row["batches"] or 0), row["partition"]

    table(sorted(rows, key=fullest_first), as_json=as_json, empty="")
    return None


@partitions.command("set", epilog="Example: carillon partitions set 16")
def set_(
    number: Annotated[int, typer.Argument(min=1, max=256, help="How many partitions there are to be.")],
    as_json: Json = False,
) -> None:
    """Change the number of partitions. Stop all workers first, and start them afterwards.

    Publishers wait while it runs; what waits moves with its app. Killed in the middle, the same command goes on.
    """
    from worker.process.repartition import change

    done = _done(lambda runtime, tell: change(runtime, number, tell), as_json=as_json)
    text = f"{done.after.partitions} partitions, before {done.before.partitions}: {_moved(done)}."
    _say(
        done,
        f"{text} Start the workers with CARILLON_PARTITIONS={done.after.partitions}, or without it",
        as_json=as_json,
    )


_App = Annotated[str, typer.Argument(metavar="APP", help="Its name.")]


@partitions.command(epilog="Example: carillon partitions spread acme")
def spread(
    app: _App,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Also while messages of its channels are taken and not delivered: later ones may overtake them.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Spread the channels of a large app over all partitions. Stop all workers first, and start them afterwards.

    Users, devices, badges and rates stay in its home. Publishers wait while it runs; those of a release before 0.8 are refused
    afterwards. Killed in the middle, the same command goes on.
    """
    from worker.process import repartition

    done = _done(lambda runtime, tell: repartition.spread(runtime, app, tell, force=force), as_json=as_json)
    already = f"{app} is spread over {done.after.partitions} partitions already"
    now = f"{app} is spread over {done.after.partitions} partitions: {_moved(done)}. Start the workers"
    _say(done, already if done.before == done.after else now, as_json=as_json)


@partitions.command(epilog="Example: carillon partitions gather acme")
def gather(app: _App, as_json: Json = False) -> None:
    """Bring a spread app back to its home partition. Stop all workers first, and start them afterwards.

    Publishers wait while it runs. Killed in the middle, the same command goes on.
    """
    from worker.process import repartition

    done = _done(lambda runtime, tell: repartition.gather(runtime, app, tell), as_json=as_json)
    home = done.after.home_of(app)
    now = f"{app} is in partition {home} again: {_moved(done)}. Start the workers"
    _say(done, f"{app} is not spread" if done.before == done.after else now, as_json=as_json)


def _done(change: Callable[["Runtime", Callable[[str], None]], "Changed"], *, as_json: bool) -> "Changed":
    """Carries a change out, and tells how it goes on."""
    from worker.process.repartition import RepartitionError

    with session() as runtime:
        try:
            return change(runtime, (lambda _: None) if as_json else (lambda line: echo(line, err=True)))
        except RepartitionError as fault:
            refuse(str(fault))


def _moved(done: "Changed") -> str:
    copied = done.copied
    keys, open_, unread = (copied.keys, copied.entries, copied.unread) if copied else (0, 0, 0)
    return (
        f"{keys:,} keys, {open_:,} open and {unread:,} unread events moved; publishers waited for {done.closed:.1f} s"
    )


def _say(done: "Changed", text: str, *, as_json: bool) -> None:
    copied = done.copied
    outcome: dict[str, Any] = {
        "before": done.before.partitions,
        "partitions": done.after.partitions,
        "generation": done.after.generation,
        "spread": sorted(done.after.spread),
        "seconds": round(done.closed, 3),
        "keys": copied.keys if copied else 0,
        "open": copied.entries if copied else 0,
        "unread": copied.unread if copied else 0,
    }
    say(outcome, text, as_json=as_json)
