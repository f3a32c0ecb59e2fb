"""`carillon health`: what a container, a load balancer or a person asks."""

import sys
import time
from typing import Annotated

import typer

from worker.cli._options import duration
from worker.cli._terminal import echo, json_text, prose, shown
from worker.cli.worker import Lane


def health(
    lane: Annotated[list[Lane] | None, typer.Option(help="Only this lane's worker; repeatable.")] = None,
    beat: Annotated[bool, typer.Option("--beat", help="Only beat.")] = False,
    engines: Annotated[bool, typer.Option("--engines", help="Only Redis, Postgres and its schema.")] = False,
    alarms: Annotated[
        bool,
        typer.Option(
            "--alarms",
            help="Only what needs somebody: stopped providers, an intake that does not move, a full Redis, dead letters.",
        ),
    ] = False,
    flower: Annotated[str, typer.Option(metavar="URL", help="Only the Flower at this address.")] = "",
    dashboard: Annotated[str, typer.Option(metavar="URL", help="Only the dashboard at this address.")] = "",
    timeout: Annotated[float, duration(0.1, 3_600, "Seconds that each part has to answer.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as a JSON array.")] = False,
) -> None:
    """Ask every part for a sign of life and for alarms, or only those named. Exit code 1 for any that fails.

    A warning (WARN) needs somebody, but everything flows: it alone leaves the exit code 0, and so does a notice (NOTE).

    A worker is well when a task put into its lane's queue came out of it done: a process can live and consume nothing.
    """
    from worker.cli import _checks

    everything = not (lane or beat or engines or alarms or flower or dashboard)
    lanes = [Lane.URGENT, Lane.BULK] if everything else list(lane or [])
    if Lane.ALL in lanes:
        lanes = [Lane.URGENT, Lane.BULK]
    plan = _checks.Plan(
        lanes=[str(name) for name in lanes],
        beat=beat or everything,
        engines=engines or everything,
        alarms=alarms or everything,
        flower=flower,
        dashboard=dashboard,
    )
    findings = _checks.examine(plan, timeout)
    fails = any(finding.fails for finding in findings)
    if as_json:
        echo(json_text([finding.as_json() for finding in findings]))
        sys.exit(fails)
    for finding in findings:
        prose(shown(_checks.line(finding, time.time())), err=not finding.well)
    sys.exit(fails)
