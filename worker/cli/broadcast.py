"""`carillon broadcast`: the broadcast channels of Live Activities, which Apple keeps."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final

import typer

from worker.cli._faults import fail
from worker.cli._groups import group
from worker.cli._options import App, Json
from worker.cli._options import providers as completed
from worker.cli._session import app_named, providers_of, refuse, say, session
from worker.core.model import Provider
from worker.process.by_hand import by_hand
from worker.process.host import at_terminal
from worker.process.runtime import Runtime
from worker.providers.kinds import kind_of

if TYPE_CHECKING:
    from worker.providers.apns.channels import Channels

broadcast = group("Broadcast channels of Live Activities: one push reaches every phone that follows a channel.")

Channel = Annotated[str, typer.Argument(help="The channel's id, as Apple gave it.")]
OfProvider = Annotated[
    str | None,
    typer.Option(
        "--provider", help="The app's provider at APNs; may be left out if it has one.", autocompletion=completed
    ),
]
#: Seconds that Apple has for an answer.
_TIMEOUT: Final = 10.0


@broadcast.command(epilog="Example: carillon broadcast create --stored --app chat")
def create(
    app: App = None,
    provider: OfProvider = None,
    stored: Annotated[
        bool, typer.Option("--stored/--not-stored", help="Whether the newest update is kept for phones that are off.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a channel, and print its id. Whether it stores updates cannot be changed later."""
    with session() as runtime, _of(runtime, app, provider) as (of, channels), by_hand(runtime) as hand:
        id = channels.create(stored=stored)
        hand.record("broadcast channel created", app=of.app, target=id, detail={"provider": of.name, "stored": stored})
    outcome = {"app": of.app, "provider": of.name, "channel": id, "stored": stored}
    say(outcome, f"broadcast channel {id}, {_policy(stored=stored)}", as_json=as_json)


@broadcast.command("list", epilog="Example: carillon broadcast list --app chat")
def list_(app: App = None, provider: OfProvider = None, as_json: Json = False) -> None:
    """List the ids of the channels."""
    with session() as runtime, _of(runtime, app, provider) as (of, channels):
        ids = channels.ids()
    outcome = {"app": of.app, "provider": of.name, "channels": ids}
    say(outcome, "\n".join(ids) or f"provider {of.name!r} has no broadcast channel", as_json=as_json)


@broadcast.command(epilog="Example: carillon broadcast show dHN0LXNyY2gtY2hubA== --app chat")
def show(channel: Channel, app: App = None, provider: OfProvider = None, as_json: Json = False) -> None:
    """Show whether a channel stores updates."""
    with session() as runtime, _of(runtime, app, provider) as (of, channels):
        stored = channels.is_stored(channel)
    outcome = {"app": of.app, "provider": of.name, "channel": channel, "stored": stored}
    say(outcome, f"broadcast channel {channel}, {_policy(stored=stored)}", as_json=as_json)


@broadcast.command(epilog="Example: carillon broadcast delete dHN0LXNyY2gtY2hubA== --app chat")
def delete(
    channel: Channel,
    app: App = None,
    provider: OfProvider = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Delete a channel for good. An update that Apple has stored may still reach phones."""
    with session() as runtime, _of(runtime, app, provider) as (of, channels):
        if not yes:
            if not at_terminal(sys.stdin):
                refuse("--yes: needed where nobody can be asked")
            typer.confirm(f"Delete channel {channel} of {of.app!r} for good?", abort=True, err=True)
        with by_hand(runtime) as hand:
            hand.record("broadcast channel deleted", app=of.app, target=channel, detail={"provider": of.name})
            channels.delete(channel)
    say(
        {"app": of.app, "provider": of.name, "deleted": channel},
        f"deleted: broadcast channel {channel}",
        as_json=as_json,
    )


@contextmanager
def _of(runtime: Runtime, app: str | None, name: str | None) -> Iterator[tuple[Provider, "Channels"]]:
    """The provider at APNs and its channels. What Apple refuses ends the command with a sentence."""
    from worker.providers.apns.channels import ManagementError
    from worker.providers.apns.client import ApnsClient
    from worker.providers.apns.settings import manager_of
    from worker.providers.base import SettingsError

    of_app = app_named(runtime, app).name
    known = {one.name: one for one in providers_of(runtime, of_app).values() if kind_of(one).broadcasts}
    if (name is None and len(known) != 1) or (name is not None and name not in known):
        listed = ", ".join(sorted(known)) or "none"
        wrong = "" if name is None else f"{name!r} is none; "
        refuse(f"--provider: {wrong}name one of app {of_app!r} at APNs; known: {listed}")
    provider = known[name] if name is not None else next(iter(known.values()))
    client, settings = runtime.clients.of(provider), runtime.settings
    assert isinstance(client, ApnsClient)
    manager = manager_of(provider, settings.apns_manage_host, settings.apns_manage_port)
    proxy = None if settings.apns_proxy is None else settings.apns_proxy.get_secret_value()
    try:
        yield provider, client.channels(provider, manager, now=time.time(), timeout=_TIMEOUT, proxy=proxy)
    except (ManagementError, SettingsError) as fault:
        fail(str(fault))


def _policy(*, stored: bool) -> str:
    return "which stores the newest update" if stored else "which stores nothing"
