"""`carillon doctor`."""

import time
from typing import Annotated, Final

import typer

from worker.cli._options import apps, duration
from worker.cli._terminal import echo, folded, json_text, shown

_COLOURS: Final = {"ok  ": "green", "NOTE": "bold", "WARN": "bold yellow", "FAIL": "bold red"}
EPILOG = "Example: carillon doctor --json   (in a monitor: exit code 0 is well, 1 is not)"


def doctor(
    app: Annotated[str | None, typer.Option(help="Only this app's providers.", autocompletion=apps)] = None,
    timeout: Annotated[float, duration(0.1, 3_600, "Seconds that each part has to answer.")] = 10,
    workers: Annotated[
        bool, typer.Option("--workers/--no-workers", help="Whether workers and beat should be running.")
    ] = True,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also compare all keys and rows of the pipeline's state. Takes some seconds.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as a JSON array.")] = False,
) -> None:
    """Examine everything that pushes depend on, and say what to do about each finding. Exit code 1: something is wrong.

    Engines and their settings, the schema, clocks, secrets, workers, the intake; everything that `carillon health` warns of; and
    each provider by a push to a token that cannot exist, which its host must refuse as BadDeviceToken: then key, team, topic and
    environment are right. No phone gets a push.
    """
    from rich.console import Console
    from rich.text import Text

    from worker.cli import _checks, _examination
    from worker.reports.words import counted

    findings = _examination.examine(app, timeout, workers=workers, deep=deep)
    wrong = sum(finding.needs_somebody for finding in findings)
    if as_json:
        echo(json_text([finding.as_json() for finding in findings]))
        raise typer.Exit(1 if wrong else 0)
    console = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        line = shown(_checks.line(finding, time.time()))
        line = folded(line, console.width) if console.is_terminal else line
        console.print(Text(finding.mark, _COLOURS[finding.mark]).append(line.removeprefix(finding.mark)))
    console.print(
        f"{counted(wrong, 'finding')} of {len(findings)} {'needs' if wrong == 1 else 'need'} somebody"
        if wrong
        else "all is well",
        markup=False,
    )
    raise typer.Exit(1 if wrong else 0)
