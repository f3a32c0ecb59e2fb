"""`carillon tail`."""

import time
from datetime import UTC, datetime
from typing import Annotated, Final

import typer

from worker.cli._log_lines import AsJson, Outcome, Provider, Reason, User, chosen_lines, text_of
from worker.cli._options import OnlyApp
from worker.cli._terminal import echo

EPILOG = "Example: carillon tail --app chat --user han"
#: Seconds between two looks.
_PAUSE: Final = 0.5


def tail(
    app: OnlyApp = None,
    user: User = None,
    provider: Provider = None,
    outcome: Outcome = None,
    reason: Reason = None,
    as_json: AsJson = False,
    rate: Annotated[int, typer.Option(min=1, max=10_000, help="Lines a second at most; the others are counted.")] = 50,
) -> None:
    """Show decisions and outcomes as they come, until Ctrl-C.

    Lines come about a second late: as soon as they are in the ledger.
    """
    from worker.cli._session import refuse, session
    from worker.database.push_log import Place, clock
    from worker.reports.push_log import Following, TooMuchError

    with session() as runtime:
        chosen = chosen_lines(runtime, time.time(), app, user, provider, outcome, reason)
        with runtime.pool.connection() as db:
            now = clock(db)
        follow = Following(runtime.pool, chosen._replace(since=now.timestamp(), decisions=True))
        place, second, printed, missed = Place(now), 0.0, 0, 0
        while True:
            try:
                lines, place = follow.read(place)
            except TooMuchError as fault:
                refuse(str(fault))
            if time.monotonic() - second >= 1.0:
                if missed:
                    _more(missed, as_json=as_json)
                second, printed, missed = time.monotonic(), 0, 0
            for line in lines[: rate - printed]:
                echo(text_of(line, as_json=as_json))
            missed += max(0, len(lines) - (rate - printed))
            printed = min(rate, printed + len(lines))
            if not lines:
                time.sleep(_PAUSE)


def _more(missed: int, *, as_json: bool) -> None:
    echo(f'{{"more": {missed}}}' if as_json else f"{datetime.now(UTC):%H:%M:%S}  + {missed:,} more")
