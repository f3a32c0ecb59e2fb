"""`carillon why`."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from worker.cli._faults import refuse
from worker.cli._options import LARGEST_ID, App
from worker.cli._terminal import echo, json_text, prose, shown

if TYPE_CHECKING:
    from worker.database.lookups import Named
    from worker.process.runtime import Runtime
    from worker.reports.delivery_report import Facts, Report

EPILOG = "Examples: carillon why evt-1 --app demo --user han; carillon why --user han --since 1h"
#: An id may begin with a dash.
CONTEXT: Final = {"ignore_unknown_options": True}
#: Names shown of a longer list.
_SHOWN: Final = 12


def why(
    id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="The event's id, as it was published, or the message's.")
    ] = None,
    app: App = None,
    user: Annotated[
        str | None, typer.Option(help="Only this user; without an ID everything that they got or missed.")
    ] = None,
    device: Annotated[
        int | None, typer.Option(min=1, max=LARGEST_ID, help="Everything that this device got or missed, by its id.")
    ] = None,
    since: Annotated[
        str, typer.Option(help="Without an ID: from then on: 15m, 2h, 1d ago, or 2026-11-21T20:00Z.")
    ] = "1h",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, complete.")] = False,
) -> None:
    """Explain a message: who got a push, where and when, and why others did not. Or what a user or a device got and missed.

    Exit code 1: nothing is known of it. Times are those of the hosts: of Redis when it was published, of Postgres when it was
    taken, of a worker when it was expanded and answered.
    """
    from worker.cli._session import session
    from worker.reports.looking_up import write_up

    if id is not None and device is not None:
        refuse("give either an ID or --device")
    if id is None and user is None and device is None:
        refuse("of what? Give an ID, --user or --device")
    with session() as runtime:
        keyspace, silent = runtime.keyspace.answering()
        for number in silent:
            prose(f"partition {number} does not answer: what its apps' last seconds brought is not shown", err=True)
        for partition in keyspace:
            write_up(runtime.partitions[partition.index].journal, runtime.ledger)
        if id is not None:
            _event(runtime, id, app, user, as_json)
        else:
            _everything(runtime, app, user, device, since, as_json)


def _event(runtime: "Runtime", id: str, app: str | None, user: str | None, as_json: bool) -> None:
    from worker.database import lookups
    from worker.reports.delivery_report import as_json as report_json
    from worker.reports.delivery_report import unknown
    from worker.reports.looking_up import look_up

    apps = [*runtime.registry.apps()] if app is None else [app]
    with runtime.pool.connection() as db:
        named = lookups.events_named(db, apps, id, 100)
    if len(named) > 1:
        _list(id, named, as_json)
        return
    # Without an app what is not known of any may still be in a document whose app could not be read.
    name, event = (named[0].app, named[0].event) if named else (apps[0] if len(apps) == 1 else "", id)
    facts, report = look_up(runtime.keyspace, runtime.pool, name, event, user=None if as_json else user)
    if as_json:
        echo(json_text({"app": name, "event": event, "known": facts.known} | report_json(facts, report)))
        raise typer.Exit(0 if facts.known else 1)
    if not facts.known:
        prose(f"carillon: {unknown(name, event, facts)}", err=True)
        raise typer.Exit(1)
    if event != id:
        echo(shown(f"message {id} is event {event}"))
    for line in _lines(facts, report, user):
        prose(shown(line))
    if user is not None and (by := report.by.get(user)) is not None:
        channel = named[0].channel if named else ""
        prose(shown(f"  decided by {_decided(runtime, name, user, channel, by, facts)}"))


def _decided(runtime: "Runtime", app: str, user: str, channel: str, by: str, facts: "Facts") -> str:
    """Whose preference it was."""
    from worker.cli._preferences import decided

    at = max(part.at for part in facts.parts if user in part.account.get("by", ()))
    return decided(runtime.pool, app, user, channel, by, at)


def _list(id: str, named: "list[Named]", as_json: bool) -> None:
    """Several events have the id, in other apps, or as messages of several channels."""
    from worker.reports.words import counted, instant

    rows = [
        {
            "app": one.app,
            "event": one.event,
            "message": one.message or None,
            "channel": one.channel or None,
            "taken": None if one.at is None else instant(one.at),
        }
        for one in named
    ]
    if as_json:
        echo(json_text({"id": id, "events": rows}))
        return
    echo(f"{counted(len(rows), 'event has', 'events have')} this id:")
    for row in rows:
        where = f" in {row['channel']}" if row["channel"] else ""
        echo(shown(f"  {row['taken'] or 'not taken'}{where}: carillon why {row['event']} --app {row['app']}"))


def _everything(
    runtime: "Runtime", app: str | None, user: str | None, device: int | None, since: str, as_json: bool
) -> None:
    from worker.cli._moments import moment, rfc3339
    from worker.cli._session import app_named
    from worker.database import lookups
    from worker.reports import got_and_missed
    from worker.reports.push_log import TooMuchError

    first = moment(since, datetime.now(UTC), "--since")
    about: dict[str, Any] = {}
    if device is None:
        assert user is not None
        name, users = app_named(runtime, app).name, [user]
        about = {"user": user}
    else:
        found = runtime.devices.get(device)
        if found is None:
            refuse(f"there is no device {device}")
        name = found.app
        with runtime.pool.connection() as db:
            users = lookups.owners(db, device, first) if user is None else [user]
        about = {"device": str(device), "user": found.user, "active": found.active, "retired": found.retired_reason}
    try:
        history = got_and_missed.of_user(runtime.keyspace, runtime.pool, name, users, first.timestamp(), device=device)
    except TooMuchError:
        refuse("that is too much to look through: name a shorter time with --since")
    if as_json:
        echo(json_text(about | got_and_missed.as_json(history)))
        return
    if device is not None:
        ended = "" if about["active"] else f", retired: {about['retired'] or 'nobody owns it'}"
        prose(shown(f"device {device} of {about['user'] or 'nobody'}{ended}"))
    for line in got_and_missed.lines(history):
        prose(shown(line))
    if not history.happened:
        whom = user if device is None else f"device {device}"
        prose(shown(f"nothing was for {whom} since {rfc3339(first)}"))


def _lines(facts: "Facts", report: "Report", user: str | None) -> Iterator[str]:
    from worker.reports.delivery_report import heads

    yield from heads(facts)
    if not facts.parts:
        return
    if user is None:
        yield from (*_head(report), *_by_provider(facts, report))
        yield from (*_pushed(facts, report, _SHOWN), *_delayed(report), *_silent(report))
        return
    mine = report.only(user)
    if mine.pushed:
        yield from _pushed(facts, mine, _SHOWN)
    elif mine.delayed:
        yield f"{user} is {mine.delayed[user].words}"
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
    considered = counted(report.considered + len(report.delayed), "member was", "members were")
    pushed, skipped = counted(len(report.pushed), "gets a push", "get a push"), counted(silent, "does not", "do not")
    waits = f", {counted(len(report.delayed), 'is', 'are')} delayed" if report.delayed else ""
    return [f"{considered} considered: {pushed}, {skipped}{waits}"]


def _by_provider(facts: "Facts", report: "Report") -> list[str]:
    """What each provider answered, summed up."""
    return [
        f"  {facts.names[id]}: {', '.join(f'{n:,} {state}' for state, n in states.items())}"
        for id, states in report.by_provider().items()
        if id in facts.names
    ]


def _pushed(facts: "Facts", report: "Report", limit: int) -> list[str]:
    from worker.reports.delivery_report import device_line
    from worker.reports.reasons import PASSED
    from worker.reports.words import counted

    lines = []
    for user, devices in list(report.pushed.items())[:limit]:
        through = PASSED.get(report.passed.get(user, ""))
        lines.append(f"  {user} gets a push{f', for {through}' if through else ''}")
        tries = {**devices, **{id: [] for id in facts.devices.get(user, ())}}
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


def _delayed(report: "Report") -> list[str]:
    by_words: dict[str, list[str]] = {}
    for user, of in report.delayed.items():
        by_words.setdefault(of.words, []).append(user)
    return [f"  {words}: {_some(users)}" for words, users in by_words.items()]


def _some(users: list[str]) -> str:
    more = f" … and {len(users) - _SHOWN:,} more" if len(users) > _SHOWN else ""
    return f"{', '.join(users[:_SHOWN])}{more}"


def _silent(report: "Report") -> list[str]:
    from worker.reports.words import counted

    lines = []
    for reason, users in report.by_reason().items():
        lines.append(f"  {counted(len(users), 'does not', 'do not')}, {_words(reason)}:")
        lines.append(f"    {_some(users)}")
    for reason, n in report.counted.items():
        members = counted(n, "further member does not", "further members do not")
        lines.append(f"  {members}, counted without a look at each: {_words(reason)}")
    return lines


def _words(reason: str) -> str:
    from worker.reports.reasons import MEMBERS

    return f"{MEMBERS.get(reason, reason)} ({reason})"
