"""`carillon bench`: what things cost on this machine, and what a load needs of such machines."""

from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli._options import duration
from worker.cli._terminal import echo, json_text, prose

if TYPE_CHECKING:
    from worker.bench.answer import Answer

EPILOG = "Example: carillon bench --messages-per-second 2000 --members 50 --devices 1.2 --apps 100 --kinds apns=60,fcm=30,web=10"


def bench(
    messages_per_second: Annotated[float, duration(0, 1e9, "Messages a second at the peak, of all apps.")] = 1_000,
    events_per_second: Annotated[
        float, duration(0, 1e9, "Other events a second at the peak: members, devices, preferences.")
    ] = 0,
    members: Annotated[float, duration(1, 1e8, "Members of a message's channel on average, the sender included.")] = 50,
    devices: Annotated[float, duration(0, 100, "Devices of a member that get a push, on average.")] = 1,
    apps: Annotated[int, typer.Option(min=1, max=100_000, help="Apps; each lies in one partition.")] = 1,
    even: Annotated[
        bool,
        typer.Option("--even", help="All apps have as much traffic; without it the n-th has 1/n of the busiest's."),
    ] = False,
    kinds: Annotated[
        str, typer.Option(metavar="KIND=PARTS,…", help="Parts of the pushes by apns, fcm and web.")
    ] = "apns=1",
    seconds: Annotated[float, duration(0.5, 60, "Seconds for which each sort of message is measured.")] = 3.5,
    as_json: Annotated[bool, typer.Option("--json", help="The outcome as one JSON object, as the last line.")] = False,
) -> None:
    """Measure this machine for about a minute, and say how many workers, Redis nodes and Postgres cores a load needs.

    It starts embedded engines of its own, two workers and simulators, in a directory that is removed afterwards. Nothing else
    should work on the machine meanwhile; what others used is printed.
    """
    from worker.bench.answer import answered
    from worker.bench.measure import measure
    from worker.bench.stage import StalledError, stage
    from worker.cli.demo import stop_on_signals
    from worker.core.capacity import Load
    from worker.embedded.machine import this_machine

    load = Load(messages_per_second, members, devices, apps, _shares(kinds), events_per_second, even)
    stop_on_signals()
    machine = this_machine()
    for label, value in machine.rows():
        echo(f"{label + ':':12}{value}", err=as_json)
    prose("starting engines, workers and simulators", err=as_json)
    try:
        with stage() as place:
            costs, points = measure(place, seconds, lambda line: echo(line, err=as_json))
    except StalledError as fault:
        raise SystemExit(f"carillon: {fault}") from None
    except KeyboardInterrupt:
        echo("stopped; nothing is left running", err=True)
        raise typer.Exit(130) from None
    answer = answered(machine, load, costs, points)
    _show(answer, err=as_json)
    if as_json:
        echo(json_text(answer.as_json()))


def _show(answer: "Answer", *, err: bool) -> None:
    for line in answer.lines():
        prose(line, err=err)


def _shares(text: str) -> dict[str, float]:
    """`apns=60,fcm=40` as shares that add up to 1."""
    from worker.bench.measure import KINDS

    parts: dict[str, float] = {}
    for pair in text.split(","):
        kind, _, number = pair.partition("=")
        try:
            parts[kind.strip()] = float(number)
        except ValueError:
            raise typer.BadParameter(f"expected KIND=PARTS, got {pair!r}", param_hint="--kinds") from None
    whole = sum(parts.values())
    if not set(parts) <= set(KINDS) or not 0 < whole < float("inf") or min(parts.values()) < 0:
        raise typer.BadParameter(
            f"expected parts of {', '.join(KINDS)}, of which some are above 0", param_hint="--kinds"
        )
    return {kind: number / whole for kind, number in parts.items()}
