"""`carillon template`: what a push says, for each provider, kind of message and language."""

import hashlib
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worker.cli._groups import group
from worker.cli._options import App, Json, OnlyApp, providers, template_kinds, template_locales
from worker.cli._paths import given_path
from worker.cli._session import Row, app_named, provider_named, refuse, say, session, table
from worker.cli._terminal import json_shown, plain
from worker.process.by_hand import by_hand, changes

if TYPE_CHECKING:
    from worker.core.model import Provider
    from worker.process.runtime import Runtime

template = group("Templates: JSON whose strings may say {{ sender.name }}. Without one the default payload goes out.")

Of = Annotated[
    str | None,
    typer.Option(
        "--provider", "-p", help="The provider; may be left out where there is one.", autocompletion=providers
    ),
]
Kind = Annotated[
    str,
    typer.Option(
        help="Kind of message; left out: every kind without a template of its own.", autocompletion=template_kinds
    ),
]
Locale = Annotated[
    str,
    typer.Option(
        help="Language, as fr or fr-CA; left out: everybody without a better one.", autocompletion=template_locales
    ),
]
File = Annotated[str, typer.Argument(metavar="FILE", help="The template, JSON; - is standard input.")]


@template.command("set", epilog="Example: carillon template set message.json --app chat --kind regular --locale fr")
def set_(
    file: File, app: App = None, provider: Of = None, kind: Kind = "", locale: Locale = "", as_json: Json = False
) -> None:
    """Store a template. It is rendered against samples first; one that cannot be used changes nothing."""
    from worker.core.templates import normal_locale
    from worker.database.registry import StoredTemplate

    document = _read(file)
    locale = normal_locale(locale)
    with session() as runtime:
        of_app = app_named(runtime, app).name
        to = provider_named(runtime, of_app, provider)
        _checked(document, to, kind, locale)
        before = _stored(runtime, to, kind, locale)
        with by_hand(runtime) as hand:
            hand.runtime.registry.save_template(StoredTemplate(to.id, kind, locale, document))
            detail = _place(kind, locale) | changes(_identified(before), _identified(document))
            hand.record("template stored", app=of_app, provider=to.name, detail=detail)
    stored = {"app": of_app, "provider": to.name, "kind": kind or None, "locale": locale or None}
    text = f"stored: {_named(kind, locale)} of provider {to.name!r}, app {of_app!r}; workers use it within seconds"
    say(stored, text, as_json=as_json)


@template.command(epilog="Example: carillon template show --app chat --kind regular")
def show(app: App = None, provider: Of = None, kind: Kind = "", locale: Locale = "", as_json: Json = False) -> None:
    """Print a template as it was stored: JSON. With --json in an object that also names its app, provider, kind and language."""
    from worker.core.templates import normal_locale

    locale = normal_locale(locale)
    with session() as runtime:
        to = provider_named(runtime, app_named(runtime, app).name, provider)
        document = _stored(runtime, to, kind, locale)
    if document is None:
        refuse(
            f"provider {to.name!r} has no template {_named(kind, locale)}; carillon template list shows what there is"
        )
    about = {"app": to.app, "provider": to.name, "kind": kind or None, "locale": locale or None}
    say(about | {"template": document}, json_shown(document.rstrip("\n")), as_json=as_json)


@template.command("list", epilog="Example: carillon template list --app chat")
def list_(app: OnlyApp = None, as_json: Json = False) -> None:
    """List the templates."""
    with session() as runtime:
        only = None if app is None else app_named(runtime, app).name
        providers = runtime.registry.providers()
        stored = runtime.registry.templates()
    rows: list[Row] = [
        {"app": of.app, "provider": of.name, "kind": one.kind or None, "locale": one.locale or None}
        for one in stored
        if (of := providers.get(one.provider)) and only in (None, of.app)
    ]
    table(rows, as_json=as_json, empty="there is no template: the default payload goes out")


@template.command(epilog="Example: carillon template remove --app chat --kind regular --locale fr")
def remove(app: App = None, provider: Of = None, kind: Kind = "", locale: Locale = "", as_json: Json = False) -> None:
    """Remove a template; the next best one takes its place, or the default payload."""
    from worker.core.templates import normal_locale

    locale = normal_locale(locale)
    with session() as runtime:
        of_app = app_named(runtime, app).name
        to = provider_named(runtime, of_app, provider)
        before = _stored(runtime, to, kind, locale)
        with by_hand(runtime) as hand:
            if not hand.runtime.registry.remove_template(to.id, kind, locale):
                refuse(f"provider {to.name!r} has no template {_named(kind, locale)}")
            detail = _place(kind, locale) | changes(_identified(before), {})
            hand.record("template removed", app=of_app, provider=to.name, detail=detail)
    gone = {"app": of_app, "provider": to.name, "kind": kind or None, "locale": locale or None, "removed": True}
    say(gone, f"removed: {_named(kind, locale)} of provider {to.name!r}, app {of_app!r}", as_json=as_json)


@template.command(epilog="Example: carillon template preview --app chat --message event.json --locale fr")
def preview(
    app: App = None,
    provider: Of = None,
    message: Annotated[
        str | None, typer.Option(metavar="FILE", help="A message.new event, JSON; left out: a sample.")
    ] = None,
    kind: Annotated[str, typer.Option(help="Kind of the sample.")] = "regular",
    device: Annotated[
        str | None, typer.Option(metavar="TOKEN", help="A registered device: its provider, user and language.")
    ] = None,
    locale: Locale = "",
    user: Annotated[str, typer.Option(help="The recipient, where no device is given.")] = "sample-user",
    badge: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="The badge that would be due.")] = 1,
    file: Annotated[
        str | None, typer.Option("--template", metavar="FILE", help="Try this template instead of what is stored.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the exact request of a push, its size, and what was cut. Sends and stores nothing.

    For a browser the text before encryption.
    """
    from worker.cli import _preview

    given = None if file is None else _read(file)
    with session() as runtime:
        of_app = app_named(runtime, app).name
        event = _preview.event_of(None if message is None else _read(message), of_app, kind)
        to, target = _preview.target(runtime, of_app, provider, device, user, locale)
        chosen = None if given is None else _checked(given, to, event.message.kind, target.locale or "")
        shown = _preview.shown(runtime, to, target, event, badge, chosen)
    say(shown, _preview.text(shown), as_json=as_json)


def _checked(document: str, provider: "Provider", kind: str, locale: str) -> Any:
    from worker.core.sample_messages import samples
    from worker.core.template_form import TemplateError
    from worker.core.templates import Template, check
    from worker.providers.kinds import kind_of

    if len(kind) > 255 or len(locale) > 35:
        refuse("--kind has at most 255 characters, --locale at most 35")
    if not plain(kind + locale):
        refuse("--kind and --locale have no control characters: no message has such a kind")
    try:
        made = Template.parse(document, kind_of(provider).template, locale=locale)
        check(made, samples(provider.app, kind or "regular"))
    except TemplateError as fault:
        refuse(f"provider {provider.name!r} ({provider.kind}): {fault}")
    return made


def _read(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else given_path(file).read_text(encoding="utf-8")
    except OSError as fault:
        refuse(f"{file}: cannot be read: {fault.strerror}")
    except UnicodeDecodeError:
        refuse(f"{file}: is not UTF-8 text")


def _stored(runtime: "Runtime", provider: "Provider", kind: str, locale: str) -> str | None:
    """The provider's template of that kind and language."""
    place = (provider.id, kind, locale)
    return next((one.document for one in runtime.registry.templates() if one[:3] == place), None)


def _place(kind: str, locale: str) -> dict[str, str]:
    return {name: value for name, value in (("kind", kind), ("locale", locale)) if value}


def _identified(document: str | None) -> dict[str, str]:
    """What tells a template from another one in the audit log, which keeps no texts."""
    return {} if document is None else {"sha256": hashlib.sha256(document.encode()).hexdigest()[:16]}


def _named(kind: str, locale: str) -> str:
    return f"the template for {kind or 'every kind'}, {locale or 'every language'}"
