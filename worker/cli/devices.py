"""`carillon push device`: a user's devices, one by one; `carillon devices`: all of them, when something went wrong."""

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from config import credentials
from worker.cli._attributes import attributes_of
from worker.cli._events import outcomes
from worker.cli._groups import group
from worker.cli._moments import moment, rfc3339
from worker.cli._options import DAY, LARGEST_ID, App, Json, OnlyApp, duration, providers
from worker.cli._secret_options import secret_given
from worker.cli._session import Row, app_named, refuse, say, session, table
from worker.cli._terminal import echo
from worker.cli._tokens import hint
from worker.process.by_hand import by_hand
from worker.reports.words import counted

if TYPE_CHECKING:
    from worker.database.devices import StoredDevice
    from worker.process.runtime import Runtime

device_app = group("A user's devices: add, list, remove, and what happened to one.")
devices_app = group("All devices: undo what a wrong answer did.")
#: Under these names the commands are found.
device, devices = device_app, devices_app

Wait = Annotated[float, duration(0.1, 60, "Seconds to wait for a worker's answer.")]
Token = Annotated[str, typer.Option(help="The device's token, its id for a webhook, or a browser's endpoint.")]


@device_app.callback()
def _device() -> None:
    pass


@devices_app.callback()
def _devices() -> None:
    pass


@device_app.command("add", epilog="Example: carillon push device add --user han --token 0f74…78ad")
def add(
    user: Annotated[str, typer.Option(help="Whose device it is from now on.")],
    token: Annotated[str | None, typer.Option(help="The device's token, or its id for a webhook.")] = None,
    subscription_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="A browser's subscription, as JSON.stringify writes it; - is standard input."
        ),
    ] = None,
    app: App = None,
    platform: Annotated[str | None, typer.Option(help="ios, android, web or another short name.")] = None,
    provider: Annotated[
        str | None, typer.Option(help="May be left out where only one fits the device.", autocompletion=providers)
    ] = None,
    locale: Annotated[str | None, typer.Option(help="As en-GB.")] = None,
    environment: Annotated[
        str | None, typer.Option(help="production or sandbox; checked against the provider's.")
    ] = None,
    app_version: Annotated[str | None, typer.Option(help="As 4.2.0.")] = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="For audiences, as team=red, level=3, beta=true; may be repeated."),
    ] = None,
    wait: Wait = 5.0,
    as_json: Json = False,
) -> None:
    """Register a device, as an app does when it starts. Returns when it is in force."""
    with session() as runtime, outcomes():
        name = app_named(runtime, app).name
        with _publisher(runtime) as publisher:
            publisher.register_device(
                app=name,
                user=user,
                token=token,
                subscription=_subscription(subscription_file),
                platform=platform,
                provider=provider,
                locale=locale,
                environment=environment,
                app_version=app_version,
                attributes=attributes_of(attribute or ()),
                wait=wait,
            )
        with by_hand(runtime) as hand:
            hand.record("device added", app=name, target=user, detail={"provider": provider, "platform": platform})
    say({"app": name, "user": user, "added": True}, f"added to the devices of {user}", as_json=as_json)


@device_app.command("delete", epilog="Example: carillon push device delete --token 0f74…78ad")
def delete(
    token: Token,
    app: App = None,
    user: Annotated[str | None, typer.Option(help="Only if it is this user's; default: whoever owns it.")] = None,
    wait: Annotated[float | None, duration(0, DAY, "Of older releases.", hidden=True)] = None,  # noqa: ARG001
    as_json: Json = False,
) -> None:
    """End a device's registration, whatever its time. After it returns, no further push begins for it.

    Exit code 2: nothing was changed, because the device is another user's or there is none with this token.
    """
    from worker.core.refusal import Refused
    from worker.providers.kinds import token_forms

    with session() as runtime:
        name = app_named(runtime, app).name
        try:
            forms = token_forms(token, runtime.apps.providers_of(name))
        except Refused as fault:
            refuse(fault)
        with by_hand(runtime) as hand:
            became, owner = hand.runtime.devices.end(name, forms, user)
            if became == "deleted":
                hand.record("device deleted", app=name, target=owner)
    words = {
        "deleted": "deleted",
        "ended": "nothing changed: it is registered to nobody any more",
        "not theirs": f"not theirs: it is {owner}'s, nothing changed",
        "unknown": "no such device",
    }[became]
    say({"app": name, "deleted": became == "deleted", "found": became, "user": owner}, words, as_json=as_json)
    raise typer.Exit(0 if became in ("deleted", "ended") else 2)


@device_app.command("get", epilog="Example: carillon push device get --user han --json")
def get(
    user: Annotated[str, typer.Option(help="Whose devices.")],
    app: App = None,
    every: Annotated[bool, typer.Option("--all", help="Also retired ones, with the reason.")] = False,
    as_json: Json = False,
) -> None:
    """List a user's devices, the newest first. Tokens are whole only with --json, and a browser's endpoint never is."""
    with session() as runtime:
        found = runtime.devices.of_user(app_named(runtime, app).name, user, retired=every)
    empty = (
        f"{user} has no device"
        if every
        else f"{user} has no device that could be pushed to; --all shows those that ended"
    )
    table([_row(one, whole=as_json) for one in found], as_json=as_json, empty=empty)


@device_app.command("history", epilog="Example: carillon push device history --id 42")
def history(
    app: App = None,
    id: Annotated[int | None, typer.Option(min=1, max=LARGEST_ID, help="The device's id, as `get` shows it.")] = None,
    token: Annotated[str | None, typer.Option(help="Or its token.")] = None,
    as_json: Json = False,
) -> None:
    """What happened to a device: registered, taken over, unregistered, refused, evicted, stale, restored; its last push."""
    from worker.core.refusal import Refused
    from worker.providers.kinds import token_forms

    if (id is None) == (token is None):
        refuse("give either --id or --token")
    with session() as runtime:
        if token is not None:
            name = app_named(runtime, app).name
            try:
                forms = token_forms(token, runtime.apps.providers_of(name))
            except Refused as fault:
                refuse(fault)
            id = runtime.devices.device_by_token(name, forms)
        found = None if id is None else runtime.devices.get(id)
        if found is None:
            refuse("there is no such device")
        lines = runtime.devices.history(found.id)
    rows = [line._asdict() for line in lines]
    shown = [row | {"at": rfc3339(row["at"])} for row in rows]
    if as_json:
        say({"device": _row(found, whole=True), "history": rows}, "", as_json=True)
        return
    accepted = "none yet" if found.last_accepted_at is None else f"{found.last_accepted_at:%Y-%m-%d}"
    echo(f"device {found.id} of {found.user or 'nobody'}, last push accepted: {accepted}")
    table(shown, as_json=False, empty="nothing is recorded")


@devices_app.command("restore", epilog="Example: carillon devices restore --since 2h --dry-run")
def restore(
    since: Annotated[str, typer.Option(help="What was retired since: 30m, 2h, 1d, or a time as 2026-11-21T20:00Z.")],
    until: Annotated[str | None, typer.Option(help="And before this time; default: until now.")] = None,
    app: OnlyApp = None,
    reason: Annotated[
        str | None, typer.Option(help="Only what was retired for this; default: whatever a provider refused.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Undo retirements: after a wrong key, topic or gateway. Devices registered or unregistered since stay as they are."""
    now = datetime.now(UTC)
    first, last = moment(since, now, "--since"), None if until is None else moment(until, now, "--until")
    with session() as runtime:
        only = None if app is None else app_named(runtime, app).name
        found = runtime.devices.restore(first, until=last, app=only, reason=reason, dry_run=dry_run)
        if found and not dry_run:
            detail = {
                "devices": sum(found.values()),
                "since": rfc3339(first),
                "until": last and rfc3339(last),
                "reason": reason,
            }
            with by_hand(runtime) as hand:  # they were restored in many transactions
                hand.record("devices restored", app=only, detail=detail)
    total = sum(found.values())
    outcome = {"restored": 0 if dry_run else total, "restorable": total, "by_reason": found}
    by_reason = "".join(f"\n  {why}: {n:,}" for why, n in sorted(found.items()))
    say(outcome, f"{counted(total, 'device')} {'would be ' if dry_run else ''}restored{by_reason}", as_json=as_json)


def _subscription(file: str | None) -> Any:
    text = secret_given("--subscription", None, file)
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError:
        refuse("--subscription-file: it is not the JSON of a browser's subscription")


def _publisher(runtime: "Runtime") -> Any:
    from producers import Publisher

    return Publisher(runtime.urls.redis, credentials=credentials.known(runtime.urls.redis))


def _row(one: "StoredDevice", *, whole: bool) -> Row:
    token = one.token if whole and "://" not in one.token else hint(one.token)
    row = one._asdict() | {"token": token}
    if whole:
        return row
    shown: Row = {
        name: row[name] for name in ("id", "token", "platform", "purpose", "provider", "locale", "app_version")
    }
    shown["registered"] = rfc3339(one.registered_at)
    shown["last_accepted"] = None if one.last_accepted_at is None else f"{one.last_accepted_at:%Y-%m-%d}"
    return shown | {"active": one.active, "reason": one.retired_reason}
