"""A push as it would leave, without leaving: headers, bytes, size and cuts."""

import json
import time
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from producers import events
from producers.errors import EventError
from producers.events import MessageNew
from worker.cli._session import Row, app_named, provider_named, refuse
from worker.cli._tokens import hint
from worker.core import notification
from worker.core.batch import Job, Sending
from worker.core.model import Provider
from worker.core.notification import Rendered
from worker.core.places import NOW
from worker.core.refusal import Refused
from worker.core.sample_messages import sample
from worker.core.template_form import TemplateError
from worker.core.templates import Template, context_of, normal_locale
from worker.database.long_tokens import TOKEN, key_of
from worker.facts import channels
from worker.pipeline.rendering import named
from worker.process.runtime import Runtime
from worker.providers.base import SettingsError
from worker.providers.kinds import kind_of, token_forms


class Target(NamedTuple):
    """The recipient of a push. Never print `token`: print `hint`."""

    device: int
    user: str
    provider: int
    token: str
    locale: str | None
    platform: str = ""
    secret: str = ""

    def __repr__(self) -> str:
        return f"Target(device={self.device}, user={self.user!r})"

    @property
    def hint(self) -> str:
        """Enough of the token to know it by."""
        return hint(self.token)

    def job(self, token: str, **fields: Any) -> Job:
        """A job of the only sending."""
        return Job(0, self.device, self.user, token, 0, platform=self.platform, secret=self.secret, **fields)


class Rendering(NamedTuple):
    rendered: Rendered
    cuts: list[str]
    #: Which template it was, or why the default payload.
    source: str


def event_of(document: str | None, app: str, kind: str) -> MessageNew:
    """The message in a JSON document, or a sample; anything else ends the command."""
    if document is None:
        return sample(app, kind, at=datetime.now(UTC))
    try:
        event = events.decode(document)
    except EventError as fault:
        refuse(f"message: {fault}")
    if not isinstance(event, MessageNew):
        refuse("message: only a message.new makes a push")
    if event.app != app:
        refuse(f"message: is for app {event.app!r}, not {app!r}")
    return event


def target(
    runtime: Runtime, app: str, provider: str | None, token: str | None, user: str, locale: str
) -> tuple[Provider, Target]:
    """A registered device and its provider, or an imagined one of a provider."""
    if token is None:
        to = provider_named(runtime, app, provider)
        # As most of the kind's devices are.
        platform = min(kind_of(to).platforms, default="")
        return to, Target(0, user, to.id, "0" * 64, normal_locale(locale) or None, platform)
    found = [one for one in devices(runtime, app, token=token) if one.provider]
    if not found:
        refuse(f"--device: app {app!r} has no such device that could get a push")
    [one] = found
    to_id = runtime.registry.providers().get(one.provider)
    if to_id is None:
        refuse("--device: its provider was removed")
    return to_id, one._replace(locale=normal_locale(locale) or one.locale)


def devices(runtime: Runtime, app: str, *, user: str | None = None, token: str | None = None) -> list[Target]:
    """The active devices of a user for alerts, or the one of a token."""
    try:
        forms = None if token is None else token_forms(token, runtime.apps.providers_of(app))
    except Refused as fault:
        refuse(f"--device: {fault}")
    keys = None if forms is None else [key_of(form) for form in forms]
    with runtime.pool.connection() as db:
        rows = db.execute(
            (
                f"SELECT id, user_id, provider_id, {TOKEN}, locale, platform, secret FROM carillon.devices d WHERE app = %s"
                " AND active AND purpose = 'alert' AND user_id = coalesce(%s, user_id)"
                " AND (%s::text[] IS NULL OR token = ANY(%s)) ORDER BY id"
            ).encode(),
            (app, user, keys, keys),
        ).fetchall()
    return [Target(*row) for row in rows]


def render(runtime: Runtime, target: Target, event: MessageNew, template: Template | None = None) -> Rendering:
    """As a worker would: the template of the device's provider, kind and language, or the default payload."""
    key = (event.app, event.channel.id)
    stored = channels.read(runtime.pool, [key], NOW).get(key)
    event = named(event, stored and stored.now)
    source = "the template given"
    if template is None:
        if (templates := runtime.apps.templates_of(event.app).get(target.provider)) is not None:
            template = templates.choose(event.message.kind, target.locale)
        source = "the stored template"
    if template is None:
        return Rendering(notification.render(event), [], "the default payload, for there is no template")
    try:
        outcome = template.render(context_of(event, target.user))
        return Rendering(outcome.rendered, outcome.cuts, source)
    except TemplateError as fault:
        return Rendering(notification.render(event), [], f"the default payload, for {source} failed: {fault}")


def shown(
    runtime: Runtime, provider: Provider, target: Target, event: MessageNew, badge: int, template: Template | None
) -> Row:
    """Everything about the push, as JSON types."""
    found = render(runtime, target, event, template)
    settings = app_named(runtime, event.app)
    expiration = notification.expiration(event, settings.max_age)
    sending = sending_of(event, found.rendered, expiration)
    job = target.job(target.hint, badge=badge, why="message")
    try:
        request = kind_of(provider).preview(provider, sending, job, now=time.time())
    except SettingsError as fault:
        refuse(fault)
    return {
        "headers": request.headers,
        "body": request.body,
        "payload": request.payload,
        "bytes": len(request.payload.encode()),
        "limit": request.limit,
        "cut": found.cuts,
        "rendered_by": found.source,
        "too_old": expiration < time.time(),
    }


def sending_of(event: MessageNew, rendered: Rendered, expiration: int) -> Sending:
    """The message as the jobs of a batch share it. A preview and a test push stand at no place of the stream."""
    return Sending(
        "",
        event.id,
        rendered.prefix.decode(),
        rendered.suffix.decode(),
        expiration,
        notification.collapse_id(event.app, event.message.id, event.channel.id),
        kind=event.message.kind,
        own=rendered.own,
    )


def indented(body: str) -> str:
    """JSON for reading; anything else as it is."""
    try:
        return msgspec.json.format(json.dumps(json.loads(body), ensure_ascii=False), indent=2)
    except ValueError:
        return body


def text(shown: Row) -> str:
    """The same for a person."""
    lines = [f"{name}: {value}" for name, value in shown["headers"].items()]
    lines += ["", shown["body"], "", indented(shown["body"]), ""]
    lines.append(f"{shown['bytes']:,} of {shown['limit']:,} bytes, by {shown['rendered_by']}")
    lines += [f"cut: {one}" for one in shown["cut"]] or ["nothing was cut"]
    if shown["too_old"]:
        lines.append("it would not be sent: the message is older than the app's max_age")
    return "\n".join(lines)
