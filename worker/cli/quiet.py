"""`carillon quiet`: when a user wants no notification."""

import time
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import msgspec
import typer

from worker.cli import _events
from worker.cli._app_settings import windows
from worker.cli._groups import group
from worker.cli._moments import moment_ahead, rfc3339
from worker.cli._options import App, Json, Wait
from worker.cli._session import Row, app_named, refuse, say, session
from worker.core.quiet import Quiet, Silence, always_quiet, silence
from worker.facts.quiet import check_zone, read, row_of
from worker.process.by_hand import by_hand

quiet = group("Quiet time of a user: weekly windows in a time zone, and a pause.")

User = Annotated[str, typer.Argument(metavar="USER", help="The user's id, as events name it.")]
_WINDOW: Final = "[DAY-DAY,]HH:MM-HH:MM"


@quiet.command(epilog="Example: carillon quiet show han --app chat")
def show(user: User, app: App = None, as_json: Json = False) -> None:
    """Show a user's quiet time, whether it is quiet for them now, and until when."""
    with session() as runtime:
        of_app, now = app_named(runtime, app), time.time()
        row = row_of(runtime.pool, of_app.name, user)
        setting = read(runtime.pool, {of_app.name: of_app.attention}, [(of_app.name, user)]).get((of_app.name, user))
    now_silent = None if setting is None else silence(setting, now)
    shown: Row = {
        "app": of_app.name,
        "user": user,
        "row": row and {"at": rfc3339(row[0]), **msgspec.to_builtins(row[1])},
        "by": "row" if row else "app" if setting else None,
        "quiet_now": now_silent and now_silent.reason,
        "until": now_silent and now_silent.until and rfc3339(now_silent.until),
        "always": _is_always(setting, now),
    }
    say(shown, _text(shown, setting, now_silent), as_json=as_json)


@quiet.command("set", epilog="Example: carillon quiet set han --quiet 22:00-07:00 --zone Europe/Berlin --app chat")
def set_(
    user: User,
    app: App = None,
    quiet: Annotated[
        list[str] | None, typer.Option(metavar=_WINDOW, help="A window without notifications; may be repeated.")
    ] = None,
    notify: Annotated[
        list[str] | None, typer.Option(metavar=_WINDOW, help="A window outside of which there are none.")
    ] = None,
    zone: Annotated[str | None, typer.Option(help="Their time zone, such as Europe/Berlin.")] = None,
    pause: Annotated[
        str | None, typer.Option(metavar="TIME", help="No notification until then; +2h is in 2 h.")
    ] = None,
    allow_urgent: Annotated[
        bool, typer.Option("--urgent/--no-urgent", help="Whether urgent messages come through.")
    ] = True,
    trigger: Annotated[list[str] | None, typer.Option(help="A trigger that comes through, such as direct.")] = None,
    sender: Annotated[list[str] | None, typer.Option(help="A user whose messages come through.")] = None,
    channel: Annotated[list[str] | None, typer.Option(help="A channel whose messages come through.")] = None,
    after: Annotated[Literal["digest", "nothing"], typer.Option(help="What comes when it is over.")] = "digest",
    badge: Annotated[
        Literal["after", "silent"], typer.Option(help="When the number on the icon comes: with the digest, or at once.")
    ] = "after",
    wait: Wait = 5.0,
    as_json: Json = False,
) -> None:
    """Set a user's quiet time, all of it. Without windows and a pause there is none. Publishes quiet.updated."""
    if zone is not None:
        with _events.outcomes():
            check_zone(zone, "--zone")
    part = {
        "user": user,
        "zone": zone,
        "quiet": _windows("--quiet", quiet),
        "notify": _windows("--notify", notify),
        "pause_until": None if pause is None else moment_ahead(pause, datetime.now(UTC), "--pause"),
        "allow": {
            "urgent": allow_urgent,
            **({"triggers": trigger} if trigger is not None else {}),
            "users": sender or [],
            "channels": channel or [],
        },
        "after": after,
        "badge": badge,
    }
    with session() as runtime:
        name = app_named(runtime, app).name
        before = row_of(runtime.pool, name, user)
        events = _events.publish(runtime, name, "quiet.updated", [part])
        with by_hand(runtime) as hand:
            hand.record(
                "quiet time set", app=name, target=user, detail={key: part[key] for key in _RECORDED if part[key]}
            )
        applied = _events.applied(lambda: row_of(runtime.pool, name, user) != before, wait)
    text = f"{user} {'has a quiet time' if quiet or notify or pause else 'has no quiet time'}"
    outcome = {"app": name, "user": user, "events": events, "applied": applied}
    say(outcome, f"{text}{_events.in_force(applied)}", as_json=as_json)


#: What the audit log keeps of a row.
_RECORDED: Final = ("zone", "quiet", "notify", "pause_until")


def _windows(option: str, given: list[str] | None) -> list[dict[str, Any]] | None:
    try:
        return windows(given) if given else None
    except ValueError as fault:
        refuse(f"{option}: {fault}")


def _is_always(setting: Quiet | None, now: float) -> bool:
    return setting is not None and setting.hours is not None and always_quiet(setting.hours, now)


def _text(shown: Row, setting: Quiet | None, now: Silence | None) -> str:
    lines = [f"{shown['user']} of app {shown['app']!r}"]
    if setting is None:
        return "\n".join([*lines, "no quiet time"])
    if shown["by"] == "app":
        lines.append("no row of their own: the app's default counts")
    if now is None:
        lines.append("not quiet now")
    else:
        end = f" until {shown['until']}" if shown["until"] else ""
        lines.append(f"{'paused' if now.reason == 'paused' else 'quiet'} now{end}")
    if shown["always"]:
        lines.append(
            "always quiet: these windows have no end, so nothing but what is allowed ever comes, and no digest"
        )
    row = shown["row"]
    if row:
        lines += [f"set at {row['at']}"]
        lines += [
            f"  {word} {', '.join(one['days'])} from {one['from']} to {one['to']}, {row.get('zone')}"
            for word in ("quiet", "notify")
            for one in row.get(word, ())
        ]
    return "\n".join(lines)
