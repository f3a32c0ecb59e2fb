"""`carillon demo`."""

import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli._options import DAY, LARGEST_ID, duration
from worker.cli._paths import existing_path
from worker.cli._terminal import echo, json_text

if TYPE_CHECKING:
    from worker.simulator import Script


def demo(
    users: Annotated[int, typer.Option(min=20, max=50_000, help="Users.")] = 6000,
    channels: Annotated[int, typer.Option(min=1, max=5000, help="Channels, of 2 to 5,000 members.")] = 320,
    messages: Annotated[int, typer.Option(min=1, max=100_000, help="Messages.")] = 4000,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_ID, help="The same seed says the same things.")] = 7,
    workers: Annotated[int, typer.Option(min=1, max=16, help="Workers on the urgent lane.")] = 2,
    script: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[KIND:]FILE",
            help="JSON script for the simulator of apns, fcm or web; repeatable: see what misbehaviour does.",
        ),
    ] = None,
    patience: Annotated[float, duration(1, DAY, "Seconds without progress after which it is over.")] = 45,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the data, to look around in it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The account as one JSON object, as the last line.")] = False,
) -> None:
    """Watch real chat traffic go to simulators of APNs, FCM and Web Push, with an account of every device. Exit code 1: it does
    not balance.

    Engines are embedded, in a directory that is removed afterwards, unless CARILLON_REDIS_URL and CARILLON_POSTGRES_URL
    name others.
    """
    from rich.console import Console

    from worker.demo.display import display
    from worker.demo.report import show
    from worker.demo.show import Demo, StalledError, Wish
    from worker.demo.show import as_json as json_of

    stop_on_signals()
    console = Console(stderr=as_json, highlight=False)
    wish = Wish(users, channels, messages, seed, workers, keep, _scripts(script or ()), patience)
    try:
        with display(console) as shown:
            outcome = Demo(wish, shown).run()
    except StalledError as fault:
        sys.exit(f"carillon: {fault}")
    except KeyboardInterrupt:
        console.print("stopped; nothing is left running")
        raise typer.Exit(130) from None
    show(console, outcome)
    if as_json:
        echo(json_text(json_of(outcome)))
    raise typer.Exit(0 if outcome.account.balances else 1)


def _scripts(given: Sequence[str]) -> "dict[str, Script]":
    """By kind; without one a script is for APNs."""
    from worker.demo.account import KINDS
    from worker.simulator import read_script

    found: dict[str, Script] = {}
    for text in given:
        kind, colon, path = text.partition(":")
        kind, path = (kind, path) if colon and kind in KINDS else (KINDS[0], text)
        found[kind] = read_script(existing_path(path).read_bytes())
    return found


def stop_on_signals() -> None:
    """It stops what it started, whatever ends it."""

    def asked(_signal: int, _frame: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)  # one request is enough: the clean-up must come to its end
        raise KeyboardInterrupt

    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, asked)
