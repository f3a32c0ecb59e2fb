"""`carillon preferences`: how loud something is for a user."""

import time
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, get_args

import typer

from producers import EventError
from producers.events import MAX_DOCUMENT, MessageNew, decode
from producers.fields import Level, Privacy, Switch
from worker.cli import _events
from worker.cli._groups import group
from worker.cli._moments import moment_ahead, rfc3339
from worker.cli._options import App, Json, Wait
from worker.cli._paths import given_path
from worker.cli._preferences import as_json as explained_json
from worker.cli._preferences import explain, lines
from worker.cli._session import Row, app_named, refuse, say, session
from worker.facts.preferences import ROWS, Stored, rows_of
from worker.process.by_hand import by_hand

preferences = group("Preferences of a user: how loud everything, a channel or a thread is.")

User = Annotated[str, typer.Argument(metavar="USER", help="The user's id, as events name it.")]
Channel = Annotated[str | None, typer.Option(help="Of this channel; else of everything.")]
Thread = Annotated[str | None, typer.Option(help="Of the channel's thread with this root message.")]
_SWITCHES: Final = get_args(Switch)


@preferences.command(epilog="Example: carillon preferences show han --app chat --event message.json")
def show(
    user: User,
    app: App = None,
    channel: Channel = None,
    event: Annotated[
        str | None, typer.Option(metavar="FILE", help="A message.new, for which the rows are asked step by step.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a user chose, and with a message what follows from it. Nothing is published."""
    message = None if event is None else _message(event)
    with session() as runtime:
        of_app, now = app_named(runtime, app if message is None else app or message.app), time.time()
        if message is not None and message.app != of_app.name:
            refuse(f"--event: the message is of app {message.app!r}, not of {of_app.name!r}")
        rows = rows_of(runtime.pool, of_app.name, user, ROWS)
        found = None if message is None else explain(runtime.pool, runtime.redis, of_app, message, user, now)
    if channel is not None:
        rows = {key: row for key, row in rows.items() if key[0] == channel}
    shown: Row = {"app": of_app.name, "user": user, "rows": [_row(*key, row) for key, row in rows.items()]}
    text = [f"{user} of app {of_app.name!r}", *(_line(*key, row) for key, row in rows.items())]
    if not rows:
        text.append("has chosen nothing")
    if found is not None:
        shown |= {"event": explained_json(found, user, now)}
        text += lines(found, user, now)
    say(shown, "\n".join(text), as_json=as_json)


@preferences.command(
    "set", epilog="Example: carillon preferences set han --channel general --level mentions --app chat"
)
def set_(
    user: User,
    app: App = None,
    channel: Channel = None,
    thread: Thread = None,
    level: Annotated[Level | None, typer.Option(help="How loud it is.")] = None,
    trigger: Annotated[
        list[str] | None,
        typer.Option(metavar="TRIGGER=on|off", help="A switch that goes before the level, such as here=off."),
    ] = None,
    following: Annotated[
        bool | None, typer.Option("--follow/--unfollow", help="Whether the thread is followed by hand.")
    ] = None,
    muted_until: Annotated[str | None, typer.Option(metavar="TIME", help="Muted until then; +2h is in 2 h.")] = None,
    muted_level: Annotated[
        Literal["none", "mentions"], typer.Option(help="What comes through while it is muted.")
    ] = "none",
    keyword: Annotated[list[str] | None, typer.Option(help="A text that calls the user; may be repeated.")] = None,
    enabled: Annotated[bool, typer.Option("--on/--off", help="Whether the user gets any push at all.")] = True,
    privacy: Annotated[Privacy | None, typer.Option(help="How much of a message push services may read.")] = None,
    wait: Wait = 5.0,
    as_json: Json = False,
) -> None:
    """Set one row of a user, all of it: what is not given it does not say. Publishes preferences.updated."""
    part = {
        "user": user,
        "channel": None if channel is None else {"id": channel},
        "thread": thread,
        "level": level,
        "triggers": _switches(trigger or []),
        "following": following,
        "muted_until": None if muted_until is None else moment_ahead(muted_until, datetime.now(UTC), "--muted-until"),
        "muted_level": muted_level,
        "keywords": keyword or None,
        "enabled": enabled,
        "privacy": privacy,
    }
    key = (channel or "", thread or "")
    with session() as runtime:
        name = app_named(runtime, app).name
        before = rows_of(runtime.pool, name, user, ROWS).get(key)
        events = _events.publish(runtime, name, "preferences.updated", [part])
        with by_hand(runtime) as hand:
            detail = {name: part[name] for name in _RECORDED if part[name] not in (None, {})}
            detail |= {} if enabled else {"enabled": False}
            hand.record("preferences set", app=name, target=user, detail=detail)
        silent = before is None and not _says(part)
        applied = silent or _events.applied(lambda: rows_of(runtime.pool, name, user, ROWS).get(key) != before, wait)
    where = f"thread {thread} of {channel}" if thread else channel or "everything"
    text = f"{where} is set for {user}" if _says(part) else f"{user} has chosen nothing for {where}"
    outcome = {"app": name, "user": user, "events": events, "applied": applied}
    say(outcome, f"{text}{_events.in_force(applied)}", as_json=as_json)


#: What the audit log keeps of a row.
_RECORDED: Final = ("channel", "thread", "level", "triggers", "following", "muted_until", "privacy")


def _says(part: dict[str, Any]) -> bool:
    """Whether the row says anything."""
    return not part["enabled"] or any(
        part[name] not in (None, {})
        for name in ("level", "triggers", "following", "muted_until", "keywords", "privacy")
    )


def _switches(given: list[str]) -> dict[str, bool]:
    found = {}
    for text in given:
        name, _, value = text.partition("=")
        if value not in ("on", "off") or name not in _SWITCHES:
            refuse(f"--trigger: {text!r} is not TRIGGER=on or TRIGGER=off; triggers are {', '.join(_SWITCHES)}")
        found[name] = value == "on"
    return found


def _message(file: str) -> MessageNew:
    try:
        with given_path(file).open("rb") as opened:
            event = decode(opened.read(MAX_DOCUMENT + 1))
    except (OSError, EventError) as fault:
        refuse(f"--event: {fault}")
    if not isinstance(event, MessageNew):
        refuse("--event: not a message.new")
    return event


def _row(channel: str, thread: str, row: Stored) -> Row:
    return {
        "channel": channel or None,
        "thread": thread or None,
        "at": rfc3339(row.at / 1e6),
        "level": row.level,
        "triggers": dict(row.switches),
        "following": row.following,
        "muted_until": None if row.muted_until is None else rfc3339(row.muted_until),
        "muted_level": row.muted_level,
        "keywords": None if row.keywords is None else list(row.keywords),
        "enabled": row.enabled,
        "privacy": row.privacy,
    }


def _line(channel: str, thread: str, row: Stored) -> str:
    where = f"thread {thread} of {channel}" if thread else channel or "everything"
    return f"  {where}: {row.words}; set at {rfc3339(row.at / 1e6)}"
