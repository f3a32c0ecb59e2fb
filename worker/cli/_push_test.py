"""`carillon push test`: a real push to a user's own devices."""

import random
import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer

from producers import events
from producers.errors import EventError
from producers.events import Message, MessageNew
from worker.cli import _preview
from worker.cli._moments import rfc3339
from worker.cli._options import App, Json
from worker.cli._preview import Rendering, Target
from worker.cli._session import Row, app_named, refuse, say, session
from worker.cli._simulated import simulated
from worker.core.batch import Sending
from worker.core.fleet import may_push_to
from worker.core.model import ACCEPTED, Answer, Provider, Response
from worker.core.notification import collapse_id
from worker.core.places import NOW
from worker.core.privacy import strictest
from worker.core.sample_messages import sample
from worker.database.audience import Audience
from worker.facts import members, used
from worker.pipeline.expansion.disclose import asked_now
from worker.process.by_hand import by_hand
from worker.process.runtime import Runtime
from worker.providers.base import Request, SettingsError, Simulated
from worker.providers.kinds import kind_of
from worker.state import recent

EPILOG = "Example: carillon push test han --app chat --dry-run"
#: Seconds for which Apple keeps a test push for a phone that is off.
_LIFE = 3600


def push_test(
    user: Annotated[str, typer.Argument(help="The user whose devices get it.")],
    app: App = None,
    message: Annotated[
        str | None, typer.Option(help="Text, or a message.new event as JSON, instead of a recent message.")
    ] = None,
    device: Annotated[str | None, typer.Option(metavar="TOKEN", help="Only this one of the user's devices.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Send nothing: show what would be sent.")] = False,
    simulator: Annotated[
        bool,
        typer.Option("--simulator", help="Send to simulators of this command's own: show what the device would get."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Send a random recent message from a channel the user is part of to all of the user's devices; report each outcome.

    It is rendered with the templates of each device's provider. Badges, counts, the breaker and the devices stay as they are.
    Exit code 1 if a device did not take it. A dry run asks FCM whether it would take it; nobody gets it.
    """
    if dry_run and simulator:
        refuse("--dry-run sends nothing, --simulator sends to no phone: one of them")
    with session() as runtime, simulated(asked=simulator) as instead:
        of_app = app_named(runtime, app).name
        if not (dry_run or simulator):
            _check_allowed(runtime, of_app, user)
        targets = _targets(runtime, of_app, user, device)
        event, origin = _event(runtime, of_app, user, message)
        # An id of its own, so that it replaces no banner and does not depend on the message's outcome.
        event = msgspec.structs.replace(event, id=f"test-{secrets.token_hex(8)}")
        results = [_one(runtime, one, event, instead, dry_run=dry_run) for one in targets]
        if not (dry_run or simulator):
            accepted = sum(one["accepted"] for one in results)
            with by_hand(runtime) as hand:
                hand.record(
                    "push tested", app=of_app, target=user, detail={"devices": len(results), "accepted": accepted}
                )
    outcome = {
        "app": of_app,
        "user": user,
        "message": origin,
        "sent": not dry_run,
        "simulated": simulator,
        "devices": results,
    }
    say(outcome, _text(outcome), as_json=as_json)
    well = all(one.get("valid", True) if dry_run else one["accepted"] for one in results)
    raise typer.Exit(0 if well else 1)


def _targets(runtime: Runtime, app: str, user: str, token: str | None) -> list[Target]:
    found = _preview.devices(runtime, app, user=user, token=token)
    if not found and token is not None:
        refuse(f"--device: user {user!r} of app {app!r} has no such device that could get a push")
    if not found:
        refuse(f"user {user!r} of app {app!r} has no device that could get a push; see: carillon push device --help")
    return found


def _check_allowed(runtime: Runtime, app: str, user: str) -> None:
    settings = runtime.apps.app(app)
    if settings is not None and not may_push_to(settings, user):
        refuse(
            f"user {user!r} is not among those whom this environment may push to (not_allowed_here): carillon fleet says why,"
            f" carillon app set {app} --only-to {user} allows it"
        )


def _event(runtime: Runtime, app: str, user: str, given: str | None) -> tuple[MessageNew, str]:
    """The message and where it comes from."""
    if given is not None:
        if given.lstrip().startswith("{"):
            return _preview.event_of(given, app, ""), "given"
        made = sample(app, channel="test", name=None, at=datetime.now(UTC))
        return msgspec.structs.replace(made, message=Message(id="test", text=given)), "given"
    kept = [
        event
        for of in runtime.keyspace.all_of(app)
        for document in recent.documents(of, app, now=time.time())
        if (event := _decoded(document))
    ]
    theirs = members.memberships(runtime.pool, {(app, event.channel.id, user): NOW for event in kept})
    mine = [event for event in kept if (app, event.channel.id, user) in theirs]
    random.shuffle(mine)
    for event in mine:
        if _may_be_read(runtime, app, user, event.channel.id):
            return event, f"a recent one of {rfc3339(event.at)} from channel {event.channel.id!r}"
    why = "those kept may not be read on the way" if mine else "no recent message from a channel of theirs is kept"
    return sample(app, at=datetime.now(UTC)), f"a sample, for {why}"


def _may_be_read(runtime: Runtime, app: str, user: str, channel: str) -> bool:
    """Whether nobody asks for privacy: a test push is neither cut down nor sealed."""
    settings = app_named(runtime, app)
    asked = asked_now(runtime.pool, settings, used.of_app(runtime.pool, app), channel, [user])
    devices = Audience(runtime.pool).active({(app, user)}).get(app, {}).get(user, ())
    return strictest(asked.of_all, asked.users.get(user), *(device.privacy for device in devices)) == "full"


def _decoded(document: bytes) -> MessageNew | None:
    try:
        event = events.decode(document)
    except EventError:
        return None
    return event if isinstance(event, MessageNew) else None


def _one(runtime: Runtime, target: Target, event: MessageNew, instead: Simulated | None, *, dry_run: bool) -> Row:
    provider = runtime.registry.providers().get(target.provider)
    row: Row = {"device": target.device, "token": target.hint, "provider": provider and provider.name}
    if provider is None:
        return row | {"accepted": False, "answer": "not sent", "advice": "its provider was removed"}
    found = _preview.render(runtime, target, event)
    sending = _sending(event, found)
    try:
        request = kind_of(provider).preview(provider, sending, target.job(target.hint), now=time.time())
    except SettingsError as fault:
        return row | {"accepted": False, "answer": "not sent", "advice": str(fault)}
    size = len(request.payload.encode())
    row |= {"locale": target.locale, "rendered_by": found.source, "cut": found.cuts, "bytes": size}
    if dry_run:
        shown = {"accepted": None, "payload": request.body}
        return row | shown | _validated(runtime, provider, target, sending)
    if instead is not None:
        return row | {"payload": request.body} | _simulated(runtime, instead, provider, target, sending)
    return row | _sent(runtime, provider, target, sending)


def _simulated(runtime: Runtime, instead: Simulated, provider: Provider, target: Target, sending: Sending) -> Row:
    kind = kind_of(provider)
    there = kind.at_simulator(provider, instead)
    if there is None:
        text = f"there is no simulator of its kind: a {kind.name} is tried without it"
        return {"accepted": False, "answer": "not sent", "advice": text}
    return _sent(runtime, there, target, sending)


def _sent(runtime: Runtime, provider: Provider, target: Target, sending: Sending) -> Row:
    if not provider.readable:
        text = "none of the keys in CARILLON_SECRET_KEYS decrypts its credential: add the key it was stored with"
        return {"accepted": False, "answer": "not sent", "advice": text}
    client, seconds = runtime.clients.of(provider), runtime.settings.apns_timeout
    requests = _requests(provider, target, sending)
    try:
        [response] = client.send(provider, requests, now=time.time, deadline=seconds).responses
    except SettingsError as fault:
        return {"accepted": False, "answer": "not sent", "advice": str(fault)}
    return _answered(response, provider)


def _validated(runtime: Runtime, provider: Provider, target: Target, sending: Sending) -> Row:
    """What the provider says of the push that it is not to send on, where it can be asked that."""
    if not provider.readable:
        return {}
    client, seconds = runtime.clients.of(provider), runtime.settings.apns_timeout
    try:
        responses = client.validate(provider, _requests(provider, target, sending), deadline=seconds)
    except SettingsError as fault:
        return {"valid": False, "answer": "not asked", "advice": str(fault)}
    if responses is None:
        return {}
    said = _answered(responses[0], provider)
    valid = said.pop("accepted")
    return said | {"valid": valid} | ({"answer": f"{kind_of(provider).words.by} would accept it"} if valid else {})


def _sending(event: MessageNew, found: Rendering) -> Sending:
    made = _preview.sending_of(event, found.rendered, int(time.time()) + _LIFE)
    return msgspec.structs.replace(made, collapse_id=collapse_id(event.app, event.id))


def _requests(provider: Provider, target: Target, sending: Sending) -> Sequence[Request]:
    # A test push says no reason: no rule was asked.
    return kind_of(provider).render(provider, [sending], [target.job(target.token)], [None])


def _answered(response: Response, provider: Provider) -> Row:
    if response == ACCEPTED:
        return {"accepted": True, "answer": "accepted"}
    advice = kind_of(provider).advice(response, provider)
    if isinstance(response, Answer):
        answer = f"{response.status} {response.reason or ''}".strip()
        return {"accepted": False, "answer": answer, "advice": advice}
    return {"accepted": False, "answer": f"no answer: {response.cause}", "advice": advice}


def _text(outcome: dict[str, Any]) -> str:
    lines = [f"message: {outcome['message']}"]
    for one in outcome["devices"]:
        place = f"device {one['device']} ({one['token']}) by {one['provider'] or 'nobody'}"
        if "payload" in one:
            lines += ["", f"{place}: {one['bytes']:,} bytes, {one['rendered_by']}", _preview.indented(one["payload"])]
        if "answer" in one:
            well = one["accepted"] or one.get("valid")
            lines.append(f"{'ok  ' if well else 'FAIL'} {place}: {one['answer']}")
            lines += [f"     {one['advice']}"] if one.get("advice") else []
        lines += [f"     cut: {cut}" for cut in one.get("cut", ())]
    if outcome["simulated"]:
        lines.append("\nsent to a simulator, to nobody's phone")
    if not outcome["sent"]:
        lines.append("\nnothing was sent")
    return "\n".join(lines)
