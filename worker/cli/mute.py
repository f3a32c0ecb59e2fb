"""`carillon mute`: whose messages are not pushed to whom."""

from typing import Annotated

import typer

from worker.cli import _events
from worker.cli._groups import group
from worker.cli._moments import rfc3339
from worker.cli._options import App, Json, Limit, Wait
from worker.cli._session import app_named, refuse, say, session, table
from worker.database.people import People
from worker.process.by_hand import by_hand

mute = group("Mutes: a user gets no push for what another one writes. Events as a chat server publishes them.")

User = Annotated[str, typer.Argument(help="Who gets no push.")]
Targets = Annotated[list[str], typer.Argument(metavar="TARGET...", help="For what these users write.")]


@mute.command(epilog="Example: carillon mute add han greedo --app chat")
def add(user: User, targets: Targets, app: App = None, wait: Wait = 5.0, as_json: Json = False) -> None:
    """Mute users for a user. Publishes user.muted."""
    _change("user.muted", user, targets, app, wait, as_json=as_json)


@mute.command(epilog="Example: carillon mute remove han greedo --app chat")
def remove(user: User, targets: Targets, app: App = None, wait: Wait = 5.0, as_json: Json = False) -> None:
    """End mutes of a user. Publishes user.unmuted."""
    _change("user.unmuted", user, targets, app, wait, as_json=as_json)


def _change(kind: str, user: str, targets: list[str], app: str | None, wait: float, *, as_json: bool) -> None:
    mutes = kind == "user.muted"
    with session() as runtime:
        name, people = app_named(runtime, app).name, People(runtime.pool)
        wanted = set(targets) if mutes else set()
        events = _events.publish(runtime, name, kind, [{"user": user, "target": target} for target in targets])
        with by_hand(runtime) as hand:
            hand.record("mutes added" if mutes else "mutes removed", app=name, target=user, detail={"users": targets})
        applied = _events.applied(lambda: people.muted(name, user, targets) == wanted, wait)
    outcome = {
        "app": name,
        "user": user,
        "events": events,
        "applied": applied,
        "muted" if mutes else "unmuted": targets,
    }
    text = f"{user} {'gets no push' if mutes else 'gets pushes again'} for what they write: {', '.join(targets)}"
    say(outcome, f"{text}{_events.in_force(applied)}", as_json=as_json)


@mute.command("list", epilog="Example: carillon mute list --channel general --app chat")
def list_(
    app: App = None,
    user: Annotated[str | None, typer.Option(help="Only this user's.")] = None,
    channel: Annotated[str | None, typer.Option(help="Only those among the members of this channel.")] = None,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """List who muted whom."""
    with session() as runtime:
        name, people = app_named(runtime, app).name, People(runtime.pool)
        if channel is not None and not people.channel_known(name, channel):
            refuse(f"--channel: no channel {channel!r} is known in app {name!r}")
        found = people.mutes(name, limit, user=user, channel=channel)
    rows = [{"user": one.user, "muted": one.target, "since": rfc3339(one.at / 1e6)} for one in found]
    table(rows, as_json=as_json, empty="nobody is muted")
