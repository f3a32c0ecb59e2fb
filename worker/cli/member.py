"""`carillon member`: who is in a channel."""

from typing import Annotated, Any

import typer

from worker.cli import _events
from worker.cli._groups import group
from worker.cli._moments import rfc3339
from worker.cli._options import App, Json, Limit, Wait
from worker.cli._session import app_named, refuse, say, session, table
from worker.cli._terminal import echo
from worker.database.people import People
from worker.process.by_hand import by_hand
from worker.reports.words import counted

member = group("Members of a channel: those whom a message to it is pushed to. Events as a chat server publishes them.")

Channel = Annotated[str, typer.Argument(help="The channel's id, as messages name it.")]
Users = Annotated[list[str], typer.Argument(metavar="USER...", help="Ids of users.")]


@member.command(epilog="Example: carillon member add general han leia --app chat")
def add(channel: Channel, users: Users, app: App = None, wait: Wait = 5.0, as_json: Json = False) -> None:
    """Add users to a channel; the first ones make it known. Publishes member.added."""
    _change("member.added", channel, users, app, wait, as_json=as_json)


@member.command(epilog="Example: carillon member remove general han --app chat")
def remove(channel: Channel, users: Users, app: App = None, wait: Wait = 5.0, as_json: Json = False) -> None:
    """Remove users from a channel: later messages are not pushed to them. Publishes member.removed."""
    _change("member.removed", channel, users, app, wait, as_json=as_json)


def _change(kind: str, channel: str, users: list[str], app: str | None, wait: float, *, as_json: bool) -> None:
    adds = kind == "member.added"
    with session() as runtime:
        name, people = app_named(runtime, app).name, People(runtime.pool)
        wanted = set(users) if adds else set()
        [event] = _events.publish(runtime, name, kind, [{"channel": {"id": channel}, "users": users}])
        with by_hand(runtime) as hand:
            hand.record(
                "members added" if adds else "members removed", app=name, target=channel, detail={"users": users}
            )
        applied = _events.applied(lambda: people.present(name, channel, users) == wanted, wait)
    outcome: dict[str, Any] = {"app": name, "channel": channel, "event": event, "applied": applied}
    verb, place = ("added", "to") if adds else ("removed", "from")
    text = f"{verb} {place} {channel}: {', '.join(users)}{_events.in_force(applied)}"
    say(outcome | {verb: users}, text, as_json=as_json)


@member.command("list", epilog="Example: carillon member list general --app chat --limit 1000 --json")
def list_(
    channel: Channel,
    app: App = None,
    limit: Limit = 100,
    after: Annotated[str, typer.Option(metavar="USER", help="Only those whose id sorts behind this one.")] = "",
    as_json: Json = False,
) -> None:
    """List a channel's members by their ids."""
    with session() as runtime:
        name, people = app_named(runtime, app).name, People(runtime.pool)
        found = people.members(name, channel, after, limit)
        total = people.count(name, channel)
        if not total and not people.channel_known(name, channel):
            refuse(
                f"no channel {channel!r} is known in app {name!r}: carillon member add {channel} USER makes it known"
            )
    rows = [{"user": one.user, "since": rfc3339(one.at / 1e6)} for one in found]
    table(rows, as_json=as_json, empty=f"{channel} has no members" if not total else f"nobody sorts behind {after}")
    if len(rows) < total and rows and not as_json:
        echo(f"{len(rows):,} of {counted(total, 'member')}; the next: --after {rows[-1]['user']}")
