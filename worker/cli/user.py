"""`carillon user`: what is stored about a user."""

from typing import Annotated, Final

import typer

from producers.events import online_key
from worker.cli._groups import group
from worker.cli._moments import rfc3339
from worker.cli._options import App, Json
from worker.cli._session import Row, app_named, say, session
from worker.core.purposes import ALERT
from worker.database.people import People
from worker.reports.words import counted

user = group("What is known of a user: devices, channels, mutes, presence.")

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
    """Show whether a user can be pushed to: devices, channels, whom they muted, and whether they are online.

    At most 100 channels and mutes; no token is whole. A user of whom nothing is known is an empty list, not a fault.
    """
    with session() as runtime:
        of_app, people = app_named(runtime, app), People(runtime.pool)
        devices = runtime.devices.of_user(of_app.name, name)
        channels = people.channels_of(of_app.name, name, _SHOWN)
        muted = people.mutes(of_app.name, _SHOWN, user=name)
        online = bool(runtime.redis.exists(online_key(of_app.name, name)))
    shown: Row = {
        "app": of_app.name,
        "user": name,
        "online": online,
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
    }
    say(shown, _text(shown, push_to_online=of_app.push_to_online), as_json=as_json)


def _text(shown: Row, *, push_to_online: bool) -> str:
    name, devices, channels, muted = shown["user"], shown["devices"], shown["channels"], shown["muted"]
    lines = [f"{name} of app {shown['app']!r}"]
    quiet = "" if push_to_online else ", and gets no push meanwhile"
    lines.append(f"online now{quiet}" if shown["online"] else "not online")
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
    return "\n".join(lines)
