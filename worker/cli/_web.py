"""`carillon push web`: browsers as a way out. The key pair that they subscribe with is made here, or brought along."""

import sys
from dataclasses import replace
from typing import Annotated

import typer

from worker.cli._credentials import check_name, read_ca, read_private
from worker.cli._options import App, Json, providers
from worker.cli._replacing import provider_before
from worker.cli._session import app_named, refuse, say, session
from worker.core.model import Provider
from worker.process.by_hand import by_hand
from worker.process.host import at_terminal
from worker.process.runtime import Runtime
from worker.providers.apns.settings import check_host
from worker.providers.base import SettingsError
from worker.providers.web.kind import KIND
from worker.providers.web.settings import WebSettings
from worker.providers.web.vapid import KeyPair, key_pair, new_key_pair
from worker.reports.words import counted

EPILOG = (
    "Example: carillon push web --subject mailto:push@example.com --page 'https://chat.example.com/c/{channel}' --app chat"
    "  …or with the key of another sender: carillon push web --subject mailto:push@example.com --private-key FILE --app chat"
)
_MORE = "More"


def web(
    subject: Annotated[
        str | None, typer.Option(help="Whom a push service writes to: mailto:… or https://…", metavar="URL")
    ] = None,
    app: App = None,
    name: Annotated[str, typer.Option(help="Its name.", autocompletion=providers)] = "web",
    page: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="What a notification opens, with {channel} and {message} for their ids; '' for nothing."
        ),
    ] = None,
    private_key: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A key that browsers subscribed with: PEM, or base64url of the number."),
    ] = None,
    new_key: Annotated[
        bool, typer.Option("--new-key", help="Replace the key pair: every browser has to subscribe anew.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before a key is replaced.")] = False,
    host: Annotated[
        str | None, typer.Option(help="A simulator in place of all push services.", rich_help_panel=_MORE)
    ] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Its port.", rich_help_panel=_MORE)] = None,
    ca: Annotated[
        str | None, typer.Option(metavar="FILE.pem", help="CA to trust for that host.", rich_help_panel=_MORE)
    ] = None,
    as_json: Json = False,
) -> None:
    """Store a key pair for Web Push, and print its public key for PushManager.subscribe (docs/web-push.md).

    The key pair is made here. A provider of the same name is changed by what is given, and keeps its key pair.
    """
    with session() as runtime:
        of_app = app_named(runtime, app).name
        before = provider_before(runtime, of_app, name, KIND)
        try:
            check_name(name)
            keys = _keys(before, private_key, new=new_key)
            settings = _changed(None if before is None else before.settings, keys, subject, page)
            if host is not None or port is not None or ca is not None:
                settings = _at(settings, host, port, ca)
            KIND.check(settings)
        except SettingsError as fault:
            refuse(fault)
        if before is not None and settings.public_key != before.settings.public_key:
            _may_replace(runtime, before, yes=yes)
        provider = Provider(0, of_app, name, "production", settings)
        with by_hand(runtime) as hand:
            hand.store_provider(provider)
    replaced = before is not None
    stored = {"app": provider.app, "name": provider.name} | KIND.describe(provider) | {"replaced": replaced}
    say(stored, _stored(provider, replaced=replaced), as_json=as_json)


def _keys(before: Provider | None, file: str | None, *, new: bool) -> KeyPair:
    """The key pair to subscribe with: that which is given, or a new one, or the one there was."""
    if file is not None and new:
        raise SettingsError("--private-key brings a key along and --new-key makes one: not both")
    if file is not None:
        return key_pair(read_private(file))
    if new or before is None:
        return new_key_pair()
    if not before.readable:
        raise SettingsError(
            f"--private-key: the key of {before.name!r} cannot be read with CARILLON_SECRET_KEYS, so give it again"
        )
    return KeyPair(before.settings.public_key, before.settings.private_key)


def _changed(before: WebSettings | None, keys: KeyPair, subject: str | None, page: str | None) -> WebSettings:
    if before is None:
        if subject is None:
            raise SettingsError("--subject: by whom a push service reaches you, such as mailto:push@example.com")
        return WebSettings(subject, keys.public, keys.private, page or "")
    return replace(
        before,
        subject=before.subject if subject is None else subject,
        public_key=keys.public,
        private_key=keys.private,
        page=before.page if page is None else page,
    )


def _at(settings: WebSettings, host: str | None, port: int | None, ca: str | None) -> WebSettings:
    at = settings.host if host is None else check_host(host) if host else ""
    if not at and (port is not None or ca is not None):
        raise SettingsError("--port and --ca belong to a simulator: give its --host")
    return replace(
        settings, host=at, port=settings.port if port is None else port, ca=settings.ca if ca is None else read_ca(ca)
    )


def _may_replace(runtime: Runtime, before: Provider, *, yes: bool) -> None:
    """A browser's subscription is bound to the key for good."""
    devices = runtime.registry.devices_of(before.id)
    if yes or not devices:
        return
    cost = f"{counted(devices, 'browser')} of {before.name!r} would get nothing until they subscribe anew"
    if not at_terminal(sys.stdin):
        refuse(f"--yes: needed where nobody can be asked, for with another key {cost}")
    typer.confirm(f"With another key {cost}. Replace it?", abort=True, err=True)


def _stored(provider: Provider, *, replaced: bool) -> str:
    what = "changed" if replaced else "stored"
    return "\n".join(
        (
            f"{what}: provider {provider.name!r} of app {provider.app!r}, for browsers ({provider.settings.subject})",
            f"public key, for applicationServerKey of PushManager.subscribe: {provider.settings.public_key}",
            "docs/web-push.md has the page's script and the service worker",
        )
    )
