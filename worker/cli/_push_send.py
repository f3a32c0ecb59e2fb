"""`carillon push send`: a push to every device that a query finds."""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer

from config import credentials
from producers import events
from producers.errors import EventError, PublishError
from producers.events import PushSend
from producers.publisher import Publisher
from worker.cli._attributes import attributes_of
from worker.cli._faults import fail
from worker.cli._moments import moment_ahead, rfc3339
from worker.cli._options import App, Json
from worker.cli._session import Row, app_named, refuse, say, session
from worker.core.model import Provider
from worker.database import lookups
from worker.database.audience import Audience, Share
from worker.process.by_hand import by_hand
from worker.process.runtime import Runtime
from worker.providers.kinds import kind_of
from worker.reports.words import counted

EPILOG = "Example: carillon push send --app chat --attribute team=red --alert 'Kick-off at eight' --dry-run"


def send(
    app: App = None,
    where: Annotated[str | None, typer.Option(metavar="JSON", help="The query, as in docs/targeted-pushes.md.")] = None,
    user: Annotated[list[str] | None, typer.Option(help="This user's devices; several times: any of them.")] = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Devices with this attribute; several: with all of them."),
    ] = None,
    everyone: Annotated[bool, typer.Option("--everyone", help="Every device of the app.")] = False,
    alert: Annotated[str | None, typer.Option(help="The text to show.")] = None,
    data: Annotated[
        str | None, typer.Option(metavar="JSON", help='Instead of --alert: {"alert": …, "badge": "Increment", …}.')
    ] = None,
    send_at: Annotated[
        str | None, typer.Option(metavar="TIME", help="Not before, as 2026-12-24T18:00:00+01:00 or +2h.")
    ] = None,
    expires_at: Annotated[str | None, typer.Option(metavar="TIME", help="Not after.")] = None,
    background: Annotated[bool, typer.Option("--background", help="Wake the app, show nothing; needs --data.")] = False,
    id: Annotated[str | None, typer.Option(help="Its id: the same one is sent once. Made up if left out.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Send nothing: count the audience as it is now.")] = False,
    as_json: Json = False,
) -> None:
    """Send a push to the devices that a query finds. Conditions of all options have to hold together.

    Returns once the push is written down; workers send it. `carillon why ID` says what became of it.
    """
    query, now = _query(where, user or [], attribute or [], everyone=everyone), datetime.now(UTC)
    with session() as runtime:
        document = {
            "v": 1,
            "type": "push.send",
            "id": id or f"push-{secrets.token_hex(8)}",
            "app": app_named(runtime, app).name,
            "at": now,
            "where": query,
            "alert": alert,
            "data": None if data is None else _json(data, "--data"),
            "send_at": send_at and moment_ahead(send_at, now, "--send-at"),
            "expires_at": expires_at and moment_ahead(expires_at, now, "--expires-at"),
            "push_type": "background" if background else "alert",
        }
        event = _event(document)
        shares = Audience(runtime.pool).count(event.app, event.where)
        named = {share.provider: runtime.registry.named(event.app, share.provider) for share in shares}
        audience = [_row(share, named[share.provider]) for share in shares]
        if not dry_run:
            _refuse_repeat(runtime, event)
            with by_hand(runtime) as hand:
                devices = sum(row["devices"] for row in audience)
                detail = {
                    "devices": devices,
                    "type": event.push_type,
                    "send_at": event.send_at and rfc3339(event.send_at),
                }
                hand.record("push sent", app=event.app, target=event.id, detail=detail)
                _publish(runtime, event)
    outcome = {
        "id": event.id,
        "app": event.app,
        "sent": not dry_run,
        "devices": sum(row["devices"] for row in audience),
        "audience": audience,
    }
    say(outcome, _text(outcome, audience, named), as_json=as_json)


def _query(where: str | None, users: list[str], attributes: list[str], *, everyone: bool) -> dict[str, Any]:
    query = {} if where is None else _json(where, "--where")
    if not isinstance(query, dict):
        refuse('--where: expected an object, such as {"attributes": {"team": "red"}}')
    if everyone:
        query["everyone"] = True
    if users:
        if "user" in query:
            refuse("--user: --where says who already")
        query["user"] = users[0] if len(users) == 1 else {"in": users}
    if attributes:
        known = query.setdefault("attributes", {})
        if not isinstance(known, dict):
            refuse("--where: attributes: expected an object")
        known.update(attributes_of(attributes))
    return query


def _json(given: str, option: str) -> Any:
    try:
        return msgspec.json.decode(given)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as fault:
        refuse(f"{option}: is not JSON: {fault}")


def _event(document: dict[str, Any]) -> PushSend:
    try:
        event = events.decode(events.dump(document))
    except EventError as fault:
        refuse(fault)
    assert isinstance(event, PushSend)
    return event


def _refuse_repeat(runtime: Runtime, event: PushSend) -> None:
    """An id is sent once, so a repeat would report devices that get nothing."""
    with runtime.pool.connection() as db:
        if lookups.recorded(db, event.app, event.id) is not None:
            refuse(
                f"--id: {event.id} was published already and is sent once; see: carillon why {event.id} --app {event.app}"
            )


def _publish(runtime: Runtime, event: PushSend) -> None:
    try:
        with Publisher(runtime.urls.redis, credentials=credentials.known(runtime.urls.redis)) as publisher:
            publisher.publish(event)
    except PublishError as fault:
        fail(f"not sent: {fault}")


def _row(share: Share, provider: Provider | None) -> Row:
    """As the provider's kind has it: not each knows environments."""
    return share._asdict() | ({} if provider is None else {"environment": kind_of(provider).environment(provider)})


def _text(outcome: dict[str, Any], audience: list[Row], named: Mapping[str, Provider | None]) -> str:
    devices = counted(outcome["devices"], "device")
    head = f"{outcome['id']} goes to {devices} of app {outcome['app']!r}"
    if not outcome["sent"]:
        head = f"{devices} of app {outcome['app']!r} would get it; nothing was sent"
    lines = []
    for one in audience:
        provider = named[one["provider"]]
        of = one["environment"] or (provider and provider.kind)
        lines.append(
            f"  {one['provider']} ({of}): {counted(one['devices'], 'device')} of {counted(one['users'], 'user')}"
        )
    return "\n".join([head, *lines])
