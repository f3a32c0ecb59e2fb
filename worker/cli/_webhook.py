"""`carillon push webhook`: the company's own API as a way out, checked before it is stored."""

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from worker.cli._credentials import check_name, read_ca
from worker.cli._options import App, Json, providers
from worker.cli._replacing import provider_before
from worker.cli._secret_options import secret_given
from worker.cli._session import app_named, refuse, say, session
from worker.core.model import Provider
from worker.process.by_hand import by_hand
from worker.process.runtime import Runtime
from worker.providers.base import SettingsError
from worker.providers.webhook.kind import KIND
from worker.providers.webhook.settings import WebhookSettings, check_secret, shown_url

if TYPE_CHECKING:
    from worker.providers.webhook.client import WebhookClient

EPILOG = (
    "Example: carillon push webhook --url https://api.example.com/push --app chat"
    "  …or a new secret, the old one signs too: carillon push webhook --app chat --rotate-secret"
)


def webhook(
    url: Annotated[str | None, typer.Option(help="Where the batches go: https://…")] = None,
    app: App = None,
    name: Annotated[str, typer.Option(help="Its name.", autocompletion=providers)] = "webhook",
    secret_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="A file with the secret to sign with, - is standard input; default: made here."
        ),
    ] = None,
    secret: Annotated[str | None, typer.Option(hidden=True)] = None,
    rotate_secret: Annotated[
        bool, typer.Option("--rotate-secret", help="Sign with a new secret, and with the one before as well.")
    ] = False,
    drop_old_secret: Annotated[
        bool, typer.Option("--drop-old-secret", help="Ends a rotation: sign with the new secret alone.")
    ] = False,
    signing: Annotated[str | None, typer.Option(help="hmac (Carillon-Signature) or jwt (Authorization).")] = None,
    ca: Annotated[str | None, typer.Option(metavar="FILE.pem", help="CA to trust instead of the public ones.")] = None,
    as_json: Json = False,
) -> None:
    """Store your own API as a provider: it gets signed batches of recipients instead of Apple (docs/webhooks.md).

    A secret that is made here is shown once. A webhook of the same name is changed by what is given and keeps the rest.
    """
    secret = secret_given("--secret", secret, secret_file)
    with session() as runtime:
        of_app = app_named(runtime, app).name
        before = provider_before(runtime, of_app, name, KIND)
        try:
            check_name(name)
            settings = _changed(WebhookSettings() if before is None else before.settings, url, signing, ca)
            kept = settings.secrets
            settings = _signed(settings, secret, rotate=rotate_secret, drop=drop_old_secret)
            provider = Provider(0, of_app, name, "production", settings)
            KIND.check(settings)
            if url is not None:
                _client(runtime, provider).check_place(url)
        except SettingsError as fault:
            refuse(fault)
        with by_hand(runtime) as hand:
            hand.store_provider(provider)
    replaced = before is not None
    made = settings.secrets[0] if secret is None and settings.secrets[0] not in kept else None
    outcome = described(provider) | {"replaced": replaced} | ({"secret": made} if made else {})
    say(outcome, _stored(provider, made, replaced=replaced), as_json=as_json)


def _client(runtime: Runtime, provider: Provider) -> "WebhookClient":
    from worker.providers.webhook.client import WebhookClient

    client = runtime.clients.of(provider)
    assert isinstance(client, WebhookClient)
    return client


def described(provider: Provider) -> dict[str, object]:
    """A webhook without its secrets."""
    settings: WebhookSettings = provider.settings
    return {
        "app": provider.app,
        "name": provider.name,
        "kind": settings.kind,
        "url": shown_url(settings.url),
        "signing": settings.signing,
        "secrets": len(settings.secrets),
    }


def _changed(before: WebhookSettings, url: str | None, signing: str | None, ca: str | None) -> WebhookSettings:
    if url is None and not before.url:
        raise SettingsError("--url: where the batches go, such as --url https://api.example.com/push")
    if signing not in (None, "hmac", "jwt"):
        raise SettingsError(f"--signing: hmac or jwt, not {signing!r}")
    how: Literal["hmac", "jwt"] = "jwt" if (signing or before.signing) == "jwt" else "hmac"
    return replace(before, url=url or before.url, signing=how, ca=before.ca if ca is None else read_ca(ca))


def _signed(before: WebhookSettings, secret: str | None, *, rotate: bool, drop: bool) -> WebhookSettings:
    if secret is not None:
        check_secret(secret)
    if rotate and drop:
        raise SettingsError("--rotate-secret begins a rotation and --drop-old-secret ends it: one after the other")
    kept = before.secrets[:1] if drop else before.secrets
    if rotate:
        if not kept:
            raise SettingsError("--rotate-secret: there is no secret yet; leave it out")
        kept = (secret or secrets.token_urlsafe(32), kept[0])
    elif secret is not None:
        kept = (secret,)
    return replace(before, secrets=kept or (secrets.token_urlsafe(32),))


def _stored(provider: Provider, made: str | None, *, replaced: bool) -> str:
    what, signing = "changed" if replaced else "stored", provider.settings.signing
    lines = [f"{what}: webhook {provider.name!r} of app {provider.app!r}, signed by {signing}"]
    if made:
        lines.append(f"secret, shown this once: {made}")
    if len(provider.settings.secrets) > 1:
        lines.append("the secret before it signs as well: give the new one to the receiver, then --drop-old-secret")
    return "\n".join([*lines, "docs/webhooks.md says how the receiver checks it"])
