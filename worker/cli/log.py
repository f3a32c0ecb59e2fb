"""`carillon log`."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from worker.cli._faults import refuse
from worker.cli._log_lines import AsJson, Outcome, Provider, Reason, User, chosen_lines, text_of
from worker.cli._moments import moment
from worker.cli._options import LARGEST_ID, OnlyApp
from worker.cli._terminal import echo

if TYPE_CHECKING:
    from worker.process.runtime import Runtime
    from worker.reports.push_log import Filter, Line

EPILOG = "Example: carillon log --since 15m --outcome dropped --app chat"
#: Lines that are read at once.
_PAGE: Final = 500


def log(
    since: Annotated[str, typer.Option(help="From then on: 15m, 2h, 7d ago, or 2026-11-21T20:00Z.")] = "1h",
    until: Annotated[str | None, typer.Option(help="Before then.")] = None,
    app: OnlyApp = None,
    user: User = None,
    device: Annotated[int | None, typer.Option(min=1, max=LARGEST_ID, help="Only this device's, by its id.")] = None,
    provider: Provider = None,
    outcome: Outcome = None,
    reason: Reason = None,
    decisions: Annotated[
        bool, typer.Option("--decisions", help="Also who is to be pushed to, and who is not and why.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="The newest so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List what became of notifications, the newest first.

    An outcome is here within about a second. `accepted` means that the provider took it: whether a phone showed it, only the
    phone knows.
    """
    from worker.cli._session import session

    now = datetime.now(UTC)
    first = moment(since, now, "--since").timestamp()
    last = None if until is None else moment(until, now, "--until").timestamp()
    with session() as runtime:
        chosen = chosen_lines(runtime, first, app, user, provider, outcome, reason)
        chosen = chosen._replace(until=last, device=device, decisions=decisions or outcome in ("pushed", "skipped"))
        any_line = False
        for line in _lines(runtime, chosen, limit):
            any_line = True
            echo(text_of(line, as_json=as_json))
    if not any_line and not as_json:
        echo(f"no notification matches since {since}")


def _lines(runtime: "Runtime", chosen: "Filter", limit: int) -> "Iterator[Line]":
    from worker.reports.push_log import TooMuchError, read

    after, left = None, limit
    while left:
        try:
            page = read(runtime.pool, chosen, after, limit=min(left, _PAGE))
        except TooMuchError as fault:
            refuse(str(fault))
        yield from page.lines
        left, after = left - len(page.lines), page.following
        if after is None:
            return
