"""`carillon user`: what is stored about a user."""

import time
from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer

from producers.events import active_key, online_key, viewing_key
from worker.cli._groups import group
from worker.cli._moments import rfc3339
from worker.cli._options import App, Json, apps
from worker.cli._session import Row, app_named, say, session
from worker.core.model import AppSettings
from worker.core.purposes import ALERT
from worker.core.quiet import silence
from worker.database.people import People
from worker.facts import preferences, quiet
from worker.pipeline.forgetting import Forgotten, forget_user
from worker.process.by_hand import by_hand
from worker.reports.words import counted
from worker.state import missed

user = group("What is known of a user: devices, channels, mutes, presence, quiet time; and how to delete it.")

#: Channels and mutes that are shown.
_SHOWN: Final = 100


@user.callback()
def _user() -> None:
    pass


@user.command(epilog="Example: carillon user show han --app chat")
def show(
    name: Annotated[str, typer.Argument(metavar="USER", help="The user's id, as events name it.")],
    app: App = None,
    as_json: Json = False,
) -> None:
    """Show whether a user can be pushed to: devices, channels, whom they muted, where they are, and whether it is quiet.

    At most 100 channels and mutes; no token is whole. A user of whom nothing is known is an empty list, not a fault.
    """
    with session() as runtime:
        of_app, people = app_named(runtime, app), People(runtime.pool)
        devices = runtime.devices.of_user(of_app.name, name)
        channels = people.channels_of(of_app.name, name, _SHOWN)
        muted = people.mutes(of_app.name, _SHOWN, user=name)
        where = [key(of_app.name, name) for key in (online_key, active_key, viewing_key)]
        values: Any = runtime.redis.mget(where)
        online, active, viewing = values
        rows = preferences.rows_of(runtime.pool, of_app.name, name, preferences.ROWS)
        settings = quiet.read(runtime.pool, {of_app.name: of_app.attention}, [(of_app.name, name)])
        digest = missed.digest_due(runtime.keyspace.of_app(of_app.name), of_app.name, name)
    now = time.time()
    silent = next((silence(one, now) for one in settings.values()), None)
    shown: Row = {
        "app": of_app.name,
        "user": name,
        "online": online is not None,
        "active": active is not None,
        "viewing": None if viewing is None else viewing.decode(errors="replace"),
        "devices": [
            {
                "id": one.id,
                "platform": one.platform,
                "purpose": one.purpose,
                "provider": one.provider,
                "locale": one.locale,
                "app_version": one.app_version,
                "registered": rfc3339(one.registered_at),
                "accepts": (one.traits or {}).get("accepts", []),
                "privacy": (one.traits or {}).get("privacy"),
                "key": (one.traits or {}).get("key"),
            }
            for one in devices
        ],
        "channels": [{"id": one.channel, "name": one.name, "push": one.push} for one in channels],
        "muted": [one.target for one in muted],
        "preferences": len(rows),
        "quiet": silent and {"reason": silent.reason, "until": silent.until and rfc3339(silent.until)},
        # One that is only to be looked at soon is due at 1.
        "digest_due": digest and rfc3339(max(digest, now)),
    }
    say(shown, _text(shown, of_app), as_json=as_json)


@user.command(epilog="Example: carillon user forget chat han --dry-run")
def forget(
    app: Annotated[str, typer.Argument(help="The app's name, as events name it.", autocompletion=apps)],
    name: Annotated[str, typer.Argument(metavar="USER", help="The user's id, as events name it.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be deleted.")] = False,
    as_json: Json = False,
) -> None:
    """Delete everything that is stored about a user, and print how much of what that was.

    Delete them in the chat server first: what is published later is stored again, and what is still on the streams names
    them until it is delivered. So run it a second time after that. The audit log keeps that it was done, without the id.
    """
    with session() as runtime:
        of_app = app_named(runtime, app).name
        if not dry_run:
            with by_hand(runtime) as hand:
                hand.record("user forgotten", app=of_app)
        found = forget_user(runtime.pool, runtime.keyspace, of_app, name, dry=dry_run)
    shown: Row = {"app": of_app, "user": name, "dry_run": dry_run, **found._asdict()}
    say(shown, _forgotten(name, found, dry=dry_run), as_json=as_json)


def _forgotten(name: str, found: Forgotten, *, dry: bool) -> str:
    lines = [f"{name}: {'this would be deleted' if dry else 'deleted'}"]
    lines += [f"  {what}: {n:,}" for what, n in found.postgres.items()]
    lines += [f"  {family} (Redis): {n:,}" for family, n in found.redis.items()]
    if len(lines) == 1:
        lines = [f"nothing is stored about {name}"]
    if found.waiting:
        lines.append(
            f"{counted(found.waiting, 'event')} on the streams still name them: run it again when these are delivered,"
            " see docs/forgetting.md"
        )
    return "\n".join(lines)


def _presence(shown: Row, app: AppSettings) -> str:
    """Where they are, and what becomes of messages meanwhile."""
    words = ["online now"] if shown["online"] else ["not online"]
    words += ["active"] if shown["active"] else []
    words += [f"has {shown['viewing']} open"] if shown["viewing"] else []
    delay = app.attention.online_delay
    if shown[app.attention.present] and not app.push_to_online:
        words.append(
            "and gets no push meanwhile" if delay is None else f"and gets a push after {delay} s, if it is unread"
        )
    return ", ".join(words)


def _text(shown: Row, app: AppSettings) -> str:
    name, devices, channels, muted = shown["user"], shown["devices"], shown["channels"], shown["muted"]
    lines = [f"{name} of app {shown['app']!r}"]
    lines.append(_presence(shown, app))
    lines.append(counted(len(devices), "device") if devices else "no device: nothing can be pushed to them")
    for one in devices:
        version = f", version {one['app_version']}" if one["app_version"] else ""
        purpose = "" if one["purpose"] == ALERT else f"for {one['purpose']}"
        words = [
            one["platform"],
            purpose,
            one["provider"] or "its provider was removed",
            one["locale"] or "no language",
        ]
        lines.append(f"  {one['id']}  {', '.join(filter(None, words))}{version}, registered {one['registered']}")
    lines.append(f"in {counted(len(channels), 'channel')}")
    lines += [f"  {one['id']}{'' if one['push'] else '  (its pushes are off)'}" for one in channels]
    lines.append(f"mutes {', '.join(muted)}" if muted else "mutes nobody")
    return "\n".join([*lines, *_chosen(shown)])


def _chosen(shown: Row) -> Iterator[str]:
    """What they chose, and what waits because of it."""
    of_user, rows, silent = f"show {shown['user']} --app {shown['app']}", shown["preferences"], shown["quiet"]
    if rows:
        yield f"{counted(rows, 'preference')}: carillon preferences {of_user}"
    if silent:
        end = f" until {silent['until']}" if silent["until"] else ", without an end"
        yield f"{silent['reason']}{end}: carillon quiet {of_user}"
    if shown["digest_due"]:
        yield f"what they missed is decided on at {shown['digest_due']}, for a digest"
