"""`carillon partitions`."""

from typing import Annotated, Any

import typer

from worker.cli._groups import group
from worker.cli._options import Json
from worker.cli._session import Row, refuse, say, session, table
from worker.cli._terminal import echo

partitions = group("How many partitions there are, and what lives in each; change their number.")


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
            n = begun[1].partitions
            echo(f"a change from {begun[0].partitions} to {n} has begun: carillon partitions set {n}", err=True)
        if apps:
            rows: list[Row] = [{"app": name, "partition": found.partition_of(name)} for name in names]
            return table(rows, as_json=as_json, empty="no app")
        with runtime.pool.connection() as db:
            taken = cursors.taken(db)
        backlog = read(process.of_any_number(runtime).keyspace, taken)
    rows = []
    for p in range(found.partitions):
        live = [name for name in names if found.partition_of(name) == p]
        waiting = [one for one in backlog.waiting if one.app in live and one.state != "scheduled"]
        rows.append(
            {
                "partition": p,
                "tag": found.tags[p] if found.tags else None,
                "apps": len(live),
                "messages": sum(one.messages for one in waiting),
                "batches": sum(one.batches for one in waiting),
                "oldest": max((one.oldest for one in waiting if one.oldest is not None), default=None),
            }
        )
    table(
        sorted(rows, key=lambda row: (-row["messages"] - row["batches"], row["partition"])), as_json=as_json, empty=""
    )
    return None


@partitions.command("set", epilog="Example: carillon partitions set 16")
def set_(
    number: Annotated[int, typer.Argument(min=1, max=256, help="How many partitions there are to be.")],
    as_json: Json = False,
) -> None:
    """Change the number of partitions. Stop all workers first, and start them afterwards.

    Publishers wait while it runs; what waits moves with its app. Killed in the middle, the same command goes on.
    """
    from worker.process.repartition import RepartitionError, change

    with session() as runtime:
        try:
            done = change(runtime, number, (lambda _: None) if as_json else (lambda line: echo(line, err=True)))
        except RepartitionError as fault:
            refuse(str(fault))
    copied = done.copied
    outcome: dict[str, Any] = {
        "before": done.before.partitions,
        "partitions": done.after.partitions,
        "generation": done.after.generation,
        "seconds": round(done.closed, 3),
        "keys": copied.keys if copied else 0,
        "open": copied.entries if copied else 0,
        "unread": copied.unread if copied else 0,
    }
    text = (
        f"{done.after.partitions} partitions, before {done.before.partitions}: {outcome['keys']:,} keys,"
        f" {outcome['open']:,} open and {outcome['unread']:,} unread events moved; publishers waited for {done.closed:.1f} s."
        f" Start the workers with CARILLON_PARTITIONS={done.after.partitions}, or without it"
    )
    say(outcome, text, as_json=as_json)
