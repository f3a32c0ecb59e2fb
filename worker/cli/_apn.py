"""`carillon push apn`: stores the credential of one way to Apple, from flags or from the answers to questions."""

import sys
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlsplit

import typer

from worker.apns.certificate import Certificate, CertificateError
from worker.apns.route import HOSTS
from worker.cli import _credentials as credentials
from worker.cli._asking import Asker, Faults, one_of
from worker.cli._desk import Row, app_named, desk, refuse, say
from worker.cli._secret_options import secret_given
from worker.cli._terminal import echo
from worker.core.model import AppSettings, Environment, Provider
from worker.reports import acts
from worker.runtime import Runtime

EPILOG = (
    "Example: carillon push apn -a AuthKey_ABC123DEFG.p8 -k ABC123DEFG -t DEF123GHIJ -b io.team.App --app chat"
    "  …or with a certificate: carillon push apn -c Push.p12 --p12-password-file FILE --app chat --environment sandbox"
)
_KEY, _CERTIFICATE, _MORE = "A key (.p8), preferred", "…or a certificate (.p12)", "More"
_INTRO = """This stores the credential with which Carillon pushes to your iOS app. Nothing is stored before the end.
You need one of these, from developer.apple.com, Certificates, Identifiers & Profiles:
  key          preferred: one AuthKey_….p8 for all apps of a team, never expires
  certificate  a .p12 for one app, expires after a year"""


class Credential(NamedTuple):
    """What proves who we are; the fields of a provider that belong to it."""

    fields: dict[str, Any]
    certificate: Certificate | None


def apn(
    auth_key: Annotated[
        str | None, typer.Option("-a", "--auth-key", metavar="FILE.p8", help="The key file.", rich_help_panel=_KEY)
    ] = None,
    key_id: Annotated[
        str | None,
        typer.Option("-k", "--key-id", help="10 characters, as in AuthKey_<key id>.p8.", rich_help_panel=_KEY),
    ] = None,
    team_id: Annotated[
        str | None, typer.Option("-t", "--team-id", help="10 characters, of the membership.", rich_help_panel=_KEY)
    ] = None,
    p12_cert: Annotated[
        str | None,
        typer.Option("-c", "--p12-cert", metavar="FILE.p12", help="The file.", rich_help_panel=_CERTIFICATE),
    ] = None,
    p12_password_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="A file with its password, - is standard input; asked for where it is needed.",
            rich_help_panel=_CERTIFICATE,
        ),
    ] = None,
    p12_password: Annotated[str | None, typer.Option(hidden=True)] = None,
    bundle_id: Annotated[
        str | None, typer.Option("-b", "--bundle-id", help="Of the iOS app; a certificate knows it.")
    ] = None,
    app: Annotated[str | None, typer.Option(help="The app of Carillon; may be left out where there is one.")] = None,
    name: Annotated[str | None, typer.Option(help="Its name; default: apns, or apns-sandbox.")] = None,
    environment: Annotated[
        str | None, typer.Option(help="production (App Store, TestFlight) or sandbox (Xcode).")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Instead of Apple's: a simulator.", rich_help_panel=_MORE)] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="443, or 2197.", rich_help_panel=_MORE)] = 443,
    ca: Annotated[
        str | None, typer.Option(metavar="FILE.pem", help="CA to trust for that host.", rich_help_panel=_MORE)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON; asks nothing.")] = False,
) -> None:
    """Store a key or certificate for Apple's push service. Called without flags it asks for everything, step by step.

    What is given is checked at once: the file, the password, the curve, expiry, and that a certificate is for the bundle id. A
    provider of the same name is replaced, and keeps its devices.
    """
    password = secret_given("--p12-password", p12_password, p12_password_file)
    given = (auth_key, key_id, team_id, p12_cert, password, bundle_id, app, name, environment, host, ca)
    interactive = sys.stdin.isatty() and not as_json
    asker = Asker(interactive=interactive, bare=interactive and not any(given))
    if auth_key and p12_cert:
        refuse("give --auth-key or --p12-cert, not both")
    asker.tell(_INTRO)
    with desk() as runtime:
        of_app = _app(runtime, asker, app)
        if not of_app.name:
            refuse("app: its name has at least one character")
        credential = _credential(asker, auth_key, key_id, team_id, p12_cert, password, bundle_id)
        provider = _provider(asker, of_app.name, credential, bundle_id, environment, name, host, port, ca)
        _may_replace(runtime, provider)
        if asker.bare:
            _confirm(provider)
        runtime.registry.create_app(of_app)
        runtime.registry.save_provider(provider)
        acts.tell(runtime.redis, "provider stored", app=provider.app, provider=provider.name)
    say(described(provider, credential.certificate), _stored(provider), as_json=as_json)


def _app(runtime: Runtime, asker: Asker, given: str | None) -> AppSettings:
    """The app; a new one is made at the end, together with its first provider."""
    apps = runtime.registry.apps()
    if given is not None or not asker.bare:
        return app_named(runtime, given)
    listed = f"one of {', '.join(sorted(apps))}, or a new name" if apps else "a name for it, such as chat"
    default = next(iter(apps)) if len(apps) == 1 else None
    chosen = asker.word("--app", None, f"Which app of Carillon ({listed})", credentials.check_name, default=default)
    return apps.get(chosen, AppSettings(chosen))


def _credential(
    asker: Asker,
    auth_key: str | None,
    key_id: str | None,
    team_id: str | None,
    p12: str | None,
    password: str | None,
    bundle_id: str | None,
) -> Credential:
    kind = "certificate" if p12 else "key"
    if asker.bare:
        kind = asker.word("", None, "key or certificate", one_of("kind", "key", "certificate"), default="key")
    if kind == "certificate":
        return _certificate(asker, p12, password, bundle_id)
    if password is not None:
        refuse("--p12-password: belongs to --p12-cert")
    found: dict[str, str] = {}

    def read(path: str) -> str:
        named = credentials.KEY_FILE.fullmatch(Path(path).name)
        found.update({"id": named[1]} if named else {})
        return credentials.read_key(path)

    key = asker.word("--auth-key", auth_key, "Path of the .p8 file", read)
    key_id = asker.word("--key-id", key_id, "Key ID", credentials.check_key_id, default=found.get("id"))
    team_id = asker.word("--team-id", team_id, "Team ID (Membership details)", credentials.check_team_id)
    if found.get("id", key_id) != key_id:
        refuse(f"--key-id: the file is named AuthKey_{found['id']}.p8, so its key id is {found['id']}, not {key_id}")
    if key_id == team_id:
        refuse("--team-id: the same as the key id; it stands at developer.apple.com, Membership details")
    return Credential({"key": key, "key_id": key_id, "team_id": team_id}, None)


def _certificate(asker: Asker, p12: str | None, password: str | None, bundle_id: str | None) -> Credential:
    path = asker.word("--p12-cert", p12, "Path of the .p12 file", _readable)
    try:  # first as it is, or with the password given: many exports have none
        content, certificate = credentials.read_certificate(path, password, bundle_id)
    except CertificateError as fault:
        if password is not None or "a password is needed" not in str(fault):
            refuse(fault)
        content, certificate, password = asker.word(
            "--p12-password",
            None,
            "Password of the .p12 file",
            lambda word: (*credentials.read_certificate(path, word, bundle_id), word),
            hidden=True,
        )
    except Faults as fault:
        refuse(fault)
    return Credential({"certificate": content, "certificate_password": password}, certificate)


def _readable(path: str) -> str:
    try:
        credentials.read_certificate(path, None)
    except CertificateError as fault:
        if "password" not in str(fault):
            raise
    return path


def _provider(
    asker: Asker,
    app: str,
    credential: Credential,
    bundle_id: str | None,
    environment: str | None,
    name: str | None,
    host: str | None,
    port: int,
    ca: str | None,
) -> Provider:
    certificate = credential.certificate
    marks: list[Environment] = sorted(certificate.environments) if certificate else ["production"]
    bundle = asker.word(
        "--bundle-id",
        bundle_id,
        "Bundle ID of the iOS app",
        lambda word: _topic(word, certificate),
        default=certificate.topics[0] if certificate else None,
    )
    where: Any = asker.word(
        "--environment",
        environment,
        "production (App Store, TestFlight) or sandbox (Xcode)",
        lambda word: _environment(word, bundle, certificate),
        default=marks[0],
    )
    called = asker.word(
        "--name",
        name,
        "Name of this provider",
        credentials.check_name,
        default="apns" if where == "production" else "apns-sandbox",
    )
    trusted = None if ca is None else asker.word("--ca", ca, "", credentials.read_ca)
    host = (
        asker.word("--host", host, "", credentials.check_host) if host else HOSTS["production"]
    )  # which stands for the environment's own
    return Provider(0, app, called, where, bundle, host=host, port=port, ca=trusted, **credential.fields)


def _topic(word: str, certificate: Certificate | None) -> str:
    bundle = credentials.check_bundle_id(word)
    if certificate is not None and bundle not in certificate.topics:
        raise CertificateError(f"bundle id: the certificate is for {', '.join(certificate.topics)}, not for {bundle}")
    return bundle


def _environment(word: str, bundle: str, certificate: Certificate | None) -> str:
    chosen = one_of("environment", "production", "sandbox")(word)
    if certificate is not None:
        certificate.check(bundle, "sandbox" if chosen == "sandbox" else "production")
    return chosen


def _may_replace(runtime: Runtime, provider: Provider) -> None:
    """A token works with one bundle id and environment only: devices must not wander to another one."""
    before = runtime.registry.named(provider.app, provider.name)
    if before is None or (before.topic, before.environment) == (provider.topic, provider.environment):
        return
    if devices := runtime.registry.devices_of(before.id):
        refuse(
            f"provider {provider.name!r} of app {provider.app!r} is for {before.topic} ({before.environment}) and has"
            f" {devices:,} devices, which would stop to ring; give this one another name with --name"
        )


def _confirm(provider: Provider) -> None:
    echo(f"\n{provider.topic}, {provider.environment}, as {provider.name!r} of app {provider.app!r}", err=True)
    typer.confirm("Store it?", default=True, abort=True, err=True)


def _stored(provider: Provider) -> str:
    return (
        f"stored: provider {provider.name!r} of app {provider.app!r}, for {provider.topic} ({provider.environment})\n"
        "next: carillon doctor asks Apple whether it is accepted"
    )


def described(provider: Provider, certificate: Certificate | None) -> Row:
    """A provider without its secrets."""
    kind = "webhook" if provider.kind == "webhook" else "certificate" if provider.certificate else "key"
    return {
        "app": provider.app,
        "name": provider.name,
        "kind": kind,
        "bundle_id": provider.topic,
        "environment": provider.environment,
        "key_id": provider.key_id or None,
        "team_id": provider.team_id or None,
        "expires": certificate and certificate.expires_at.date().isoformat(),
        "host": _host(provider),
    }


def _host(provider: Provider) -> str | None:
    """Where that is not Apple's. A webhook's address may have words in it that are nobody's business."""
    if provider.kind == "webhook":
        return urlsplit(provider.url).netloc
    return None if provider.host in HOSTS.values() else f"{provider.host}:{provider.port}"
