"""`carillon push webhook`: the company's own API as a way out, checked before it is stored."""

import dataclasses
import re
import secrets
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import typer

from worker.cli._credentials import CredentialFault, check_name, read_ca
from worker.cli._options import App, Json, providers
from worker.cli._secret_options import secret_given
from worker.cli._session import app_named, refuse, say, session
from worker.core.addresses import Network, permitted
from worker.core.model import Provider
from worker.process.runtime import Runtime
from worker.providers.apns.certificate import CertificateError
from worker.reports import acts
from worker.reports.words import counted

EPILOG = (
    "Example: carillon push webhook --url https://api.example.com/push --app chat"
    "  …or a new secret, the old one signs too: carillon push webhook --app chat --rotate-secret"
)
#: What HS256 asks for (RFC 7518), and no blanks, so that it survives every shell and file.
_SECRET: Final = re.compile(r"[\x21-\x7e]{32,256}")


class WebhookFault(ValueError):
    """What was given cannot be used; the text says what is wrong and what to do."""


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
        before = _before(runtime, of_app, name)
        try:
            check_name(name)
            provider = _changed(before or Provider(0, of_app, name, "production", "", kind="webhook"), url, signing, ca)
            if url is not None:
                check_url(url, runtime.settings.webhook_allow)
            kept = provider.secrets
            provider = _signed(provider, secret, rotate=rotate_secret, drop=drop_old_secret)
        except (WebhookFault, CredentialFault, CertificateError) as fault:
            refuse(fault)
        runtime.registry.save_provider(provider)
        acts.tell(runtime.redis, "provider stored", app=provider.app, provider=provider.name)
    replaced = before is not None
    made = provider.secrets[0] if secret is None and provider.secrets[0] not in kept else None
    outcome = described(provider) | {"replaced": replaced} | ({"secret": made} if made else {})
    say(outcome, _stored(provider, made, replaced=replaced), as_json=as_json)


def check_url(url: str, allowed: tuple[Network, ...]) -> None:
    """Raises `WebhookFault` unless it is an https URL whose host is, right now, where a webhook may be."""
    from worker.providers.webhook.backend import resolve

    try:
        parts = urlsplit(url)
        host, port = parts.hostname, 443 if parts.port is None else parts.port
    except ValueError:
        raise WebhookFault("url: not a URL, such as https://api.example.com/push") from None
    if parts.scheme != "https" or not host:
        raise WebhookFault("url: only https, such as https://api.example.com/push")
    if port == 0:
        raise WebhookFault("url: nothing listens on port 0")
    if "@" in parts.netloc or parts.fragment or not url.isascii() or not url.isprintable() or " " in url:
        raise WebhookFault("url: without a user, a password, a fragment or characters beyond ASCII")
    try:
        found = resolve(host, port)
    except (OSError, UnicodeError):
        raise WebhookFault(f"url: {host} does not resolve here; check its name and this machine's DNS") from None
    if not any(permitted(address, allowed) for address in found):
        raise WebhookFault(
            f"url: {host} is at {', '.join(sorted(found))}, which is not public; if it is meant to be there, put its"
            " network into CARILLON_WEBHOOK_ALLOW, for the workers as well, such as CARILLON_WEBHOOK_ALLOW=10.20.0.0/16"
        )


def shown_url(url: str) -> str:
    """The address without its query, which may hold a token."""
    address, query, _ = url.partition("?")
    return f"{address}?…" if query else address


def described(provider: Provider) -> dict[str, object]:
    """A webhook without its secrets."""
    return {
        "app": provider.app,
        "name": provider.name,
        "kind": "webhook",
        "url": shown_url(provider.url),
        "signing": provider.signing,
        "secrets": len(provider.secrets),
    }


def _before(runtime: Runtime, app: str, name: str) -> Provider | None:
    """The webhook of that name, if there is one; a name that devices of another kind use is refused."""
    named = runtime.registry.named(app, name)
    if named is None:
        return None
    if named.kind != "webhook" and (devices := runtime.registry.devices_of(named.id)):
        refuse(
            f"--name: {name!r} of app {app!r} is of another kind and has {counted(devices, 'device')}; choose another name"
        )
    found = runtime.registry.providers().get(named.id)
    return found if found is not None and found.kind == "webhook" else None


def _changed(provider: Provider, url: str | None, signing: str | None, ca: str | None) -> Provider:
    if url is None and not provider.url:
        raise WebhookFault("--url: where the batches go, such as --url https://api.example.com/push")
    if signing not in (None, "hmac", "jwt"):
        raise WebhookFault(f"--signing: hmac or jwt, not {signing!r}")
    how: Literal["hmac", "jwt"] = "jwt" if (signing or provider.signing) == "jwt" else "hmac"
    trusted = provider.ca if ca is None else read_ca(ca)
    return dataclasses.replace(provider, url=url or provider.url, signing=how, ca=trusted)


def _signed(provider: Provider, secret: str | None, *, rotate: bool, drop: bool) -> Provider:
    if secret is not None and not _SECRET.fullmatch(secret):
        raise WebhookFault("--secret: 32 to 256 letters, digits and signs, without blanks")
    if rotate and drop:
        raise WebhookFault("--rotate-secret begins a rotation and --drop-old-secret ends it: one after the other")
    kept = provider.secrets[:1] if drop else provider.secrets
    if rotate:
        if not kept:
            raise WebhookFault("--rotate-secret: there is no secret yet; leave it out")
        kept = (secret or secrets.token_urlsafe(32), kept[0])
    elif secret is not None:
        kept = (secret,)
    return dataclasses.replace(provider, secrets=kept or (secrets.token_urlsafe(32),))


def _stored(provider: Provider, made: str | None, *, replaced: bool) -> str:
    lines = [
        f"{'changed' if replaced else 'stored'}: webhook {provider.name!r} of app {provider.app!r}, signed by {provider.signing}"
    ]
    if made:
        lines.append(f"secret, shown this once: {made}")
    if len(provider.secrets) > 1:
        lines.append("the secret before it signs as well: give the new one to the receiver, then --drop-old-secret")
    return "\n".join([*lines, "docs/webhooks.md says how the receiver checks it"])
