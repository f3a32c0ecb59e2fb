"""What `carillon log` and `carillon tail` share: their options, and a line in words."""

from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli._faults import refuse
from worker.cli._options import providers
from worker.cli._terminal import json_text, shown

if TYPE_CHECKING:
    from worker.process.runtime import Runtime
    from worker.reports.push_log import Filter, Line

User = Annotated[str | None, typer.Option(help="Only this user's.")]
Provider = Annotated[str | None, typer.Option(help="Only by this provider.", autocompletion=providers)]
Reason = Annotated[str | None, typer.Option(help="Only for this reason, as muted_sender.")]
Outcome = Annotated[
    str | None, typer.Option(help="Only this outcome, as accepted, retry, retired, dropped or skipped.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


def chosen_lines(
    runtime: "Runtime",
    since: float,
    app: str | None,
    user: str | None,
    provider: str | None,
    outcome: str | None,
    reason: str | None,
) -> "Filter":
    """The options that `log` and `tail` share, checked."""
    from worker.cli._session import app_named, providers_of
    from worker.reports.push_log import OUTCOMES, Filter

    if outcome is not None and outcome not in OUTCOMES:
        refuse(f"--outcome: one of {', '.join(OUTCOMES)}")
    if app is not None:
        app_named(runtime, app)
    if provider is not None:
        known = {one.name for one in runtime.registry.providers().values() if app in (None, one.app)}
        if provider not in known:
            of_app = "" if app is None else f" of app {app!r}"
            refuse(f"--provider: there is no provider {provider!r}{of_app}")
        if app is not None:
            assert provider in providers_of(runtime, app)
    return Filter(since, None, app, user, None, provider, outcome, reason)


def text_of(line: "Line", *, as_json: bool) -> str:
    """A line of the log for a person, or as one JSON object."""
    from worker.reports.push_log import as_json as json_of
    from worker.reports.words import instant

    if as_json:
        return json_text(json_of(line))
    whom = line.user or ("all" if line.number == 1 else f"{line.number:,} members")
    device = "" if line.device is None else f" device {line.device}"
    what = f"{line.outcome}.{line.reason}" if line.reason else line.outcome
    by = f"  {line.provider}" if line.provider else ""
    took = "" if line.took is None else f"  {line.took:,} ms"
    return shown(f"{instant(line.at)}  {line.app}  {line.event}  {whom}{device}  {what}{by}{took}")
