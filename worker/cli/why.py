"""`carillon why`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Final

import typer

from worker.cli._options import App
from worker.cli._terminal import echo, json_text, prose, shown

if TYPE_CHECKING:
    from worker.reports.delivery_report import Facts, Report

EPILOG = "Example: carillon why evt-1 --app demo --user han"
#: An id may begin with a dash.
CONTEXT: Final = {"ignore_unknown_options": True}
#: Names shown of a longer list.
_SHOWN: Final = 12


def why(
    event: Annotated[str, typer.Argument(metavar="EVENT_ID", help="The event's id, as it was published.")],
    app: App = None,
    user: Annotated[str | None, typer.Option(help="Only this user.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, complete.")] = False,
) -> None:
    """Explain a message: who got a push, where and when, and why others did not. Exit code 1: nothing is known of it.

    Times are those of the stream and of the ledger, which is written up to a second later.
    """
    from worker.cli._session import app_named, session
    from worker.reports.delivery_report import as_json as report_json
    from worker.reports.delivery_report import unknown
    from worker.reports.looking_up import look_up

    with session() as runtime:
        name = app_named(runtime, None).name if app is None else app
        facts, report = look_up(runtime.redis, runtime.pool, runtime.journal, runtime.ledger, name, event)
    if as_json:
        echo(json_text({"app": name, "event": event, "known": facts.known} | report_json(facts, report)))
        raise typer.Exit(0 if facts.known else 1)
    if not facts.known:
        prose(f"carillon: {unknown(name, event, facts.untaken)}", err=True)
        raise typer.Exit(1)
    for line in _lines(facts, report, user):
        prose(shown(line))


def _lines(facts: "Facts", report: "Report", user: str | None) -> Iterator[str]:
    from worker.reports.delivery_report import heads

    yield from heads(facts)
    if not facts.parts:
        return
    if user is None:
        yield from (*_head(report), *_pushed(facts, report, _SHOWN), *_silent(report))
        return
    mine = report.only(user)
    if mine.pushed:
        yield from _pushed(facts, mine, _SHOWN)
    elif mine.skipped:
        yield f"{user} got no push: {_words(mine.skipped[user])}"
    elif report.whole is not None:
        yield from _head(report)
    elif report.counted:
        counted = "; ".join(f"{n:,} {_words(reason)}" for reason, n in report.counted.items())
        yield f"{user} is not named: not a member then, or one of those who were only counted ({counted})"
    else:
        yield f"{user} was not considered: not a member of the channel when the message was expanded"


def _head(report: "Report") -> list[str]:
    from worker.reports.reasons import MESSAGES
    from worker.reports.words import counted

    if report.whole is not None:
        return [f"nobody got a push: {MESSAGES.get(report.whole, report.whole)} ({report.whole})"]
    silent = report.considered - len(report.pushed)
    considered = counted(report.considered, "member was", "members were")
    pushed, skipped = counted(len(report.pushed), "gets a push", "get a push"), counted(silent, "does not", "do not")
    return [f"{considered} considered: {pushed}, {skipped}"]


def _pushed(facts: "Facts", report: "Report", limit: int) -> list[str]:
    from worker.reports.delivery_report import device_line
    from worker.reports.words import counted

    lines = []
    for user, devices in list(report.pushed.items())[:limit]:
        lines.append(f"  {user} gets a push")
        tries = devices or {id: [] for id in facts.devices.get(user, ())}
        lines += [
            f"    device {id}: {device_line(of, facts.ways.get(id), facts.following.get(id))}"
            for id, of in sorted(tries.items())
        ]
        if not tries:
            lines.append("    on its way")
    if len(report.pushed) > limit:
        more = counted(len(report.pushed) - limit, "more gets a push", "more get a push")
        lines.append(f"  … and {more}; --user names one, --json names all")
    return lines


def _silent(report: "Report") -> list[str]:
    from worker.reports.words import counted

    lines = []
    for reason, users in report.by_reason().items():
        more = f" … and {len(users) - _SHOWN:,} more" if len(users) > _SHOWN else ""
        lines.append(f"  {counted(len(users), 'does not', 'do not')}, {_words(reason)}:")
        lines.append(f"    {', '.join(users[:_SHOWN])}{more}")
    for reason, n in report.counted.items():
        members = counted(n, "further member does not", "further members do not")
        lines.append(f"  {members}, counted without a look at each: {_words(reason)}")
    return lines


def _words(reason: str) -> str:
    from worker.reports.reasons import MEMBERS

    return f"{MEMBERS.get(reason, reason)} ({reason})"
