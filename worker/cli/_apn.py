"""`carillon push apn`: stores the credential of one way to Apple, from flags or from the answers to questions."""

import sys
from datetime import UTC, datetime
from typing import Annotated, NamedTuple

import typer

from worker.cli import _credentials as credentials
from worker.cli._asking import Asker, one_of
from worker.cli._options import App, providers
from worker.cli._paths import given_path
from worker.cli._replacing import check_purpose, provider_before
from worker.cli._secret_options import secret_given
from worker.cli._session import app_named, refuse, say, session
from worker.cli._terminal import echo
from worker.core.model import AppSettings, Environment, Provider
from worker.process.by_hand import by_hand
from worker.process.host import at_terminal
from worker.process.runtime import Runtime
from worker.providers.apns.certificate import Certificate, CertificateError, load
from worker.providers.apns.kind import KIND
from worker.providers.apns.settings import (
    HOSTS,
    P12,
    ApnsSettings,
    Key,
    check_bundle_id,
    check_host,
    check_key_id,
    check_team_id,
)
from worker.providers.base import SettingsError

EPILOG = (
    "Example: carillon push apn -a AuthKey_ABC123DEFG.p8 -t DEF123GHIJ -b io.team.App --app chat --environment sandbox"
    "  …or with a certificate: carillon push apn -c Push.p12 --p12-password-file FILE --app chat --environment sandbox"
)
_KEY, _CERTIFICATE, _MORE = "A key (.p8), preferred", "…or a certificate (.p12)", "More"
_INTRO = """This stores the credential with which Carillon pushes to your iOS app. Nothing is stored before the end.
You need one of these, from developer.apple.com, Certificates, Identifiers & Profiles:
  key          preferred: one AuthKey_….p8 for all apps of a team, never expires
  certificate  a .p12 for one app, expires after a year"""


class Credential(NamedTuple):
    """The credential. `certificate`: the content of a .p12."""

    given: Key | P12
    certificate: Certificate | None = None


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
    app: App = None,
    name: Annotated[
        str | None, typer.Option(help="Its name; default: apns, or apns-sandbox.", autocompletion=providers)
    ] = None,
    environment: Annotated[
        str | None, typer.Option(help="production (App Store, TestFlight) or sandbox (Xcode).")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Instead of Apple's: a simulator.", rich_help_panel=_MORE)] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="443, or 2197.", rich_help_panel=_MORE)] = None,
    ca: Annotated[
        str | None, typer.Option(metavar="FILE.pem", help="CA to trust for that host.", rich_help_panel=_MORE)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON; asks nothing.")] = False,
) -> None:
    """Store a key or certificate for Apple's push service. In a terminal it asks for missing values, step by step.

    Each value is checked at once: the file, the password, the curve, expiry, and that a certificate is for the bundle id. A
    provider of the same name is changed: other settings stay as they are, and it keeps its devices.
    """
    password = secret_given("--p12-password", p12_password, p12_password_file)
    if auth_key and p12_cert:
        refuse("give --auth-key or --p12-cert, not both")
    given = _Given(auth_key, key_id, team_id, p12_cert, password, bundle_id, name, environment, host, port, ca)
    interactive = at_terminal(sys.stdin) and not as_json
    with session() as runtime:
        # For a change of an existing provider nothing else is asked for.
        of_app = None if app is None else app_named(runtime, app)
        before = (
            None if name is None else provider_before(runtime, (of_app or app_named(runtime, None)).name, name, KIND)
        )
        changes = before is not None and given.changes
        asker = Asker(interactive=interactive, bare=interactive and not (auth_key or p12_cert or changes))
        asker.tell(_INTRO)
        of_app = of_app or _app(runtime, asker)
        if not of_app.name:
            refuse("app: its name has at least one character")
        credential = _kept(before) if changes and not (auth_key or p12_cert) else _credential(asker, given, before)
        environment = _environment(asker, given, credential, before)
        called = _name(asker, given, environment)
        before = before or provider_before(runtime, of_app.name, called, KIND)
        provider = _provider(asker, of_app.name, called, environment, given, credential, before)
        _check(provider)
        check_purpose(runtime, provider)
        if asker.bare:
            _confirm(provider)
        with by_hand(runtime) as hand:
            hand.create_app(of_app)
            hand.store_provider(provider)
    stored = {"app": provider.app, "name": provider.name} | KIND.describe(provider)
    say(stored | {"replaced": before is not None}, _stored(provider, before, given), as_json=as_json)


class _Given(NamedTuple):
    """What flags said."""

    auth_key: str | None
    key_id: str | None
    team_id: str | None
    p12: str | None
    password: str | None
    bundle_id: str | None
    name: str | None
    environment: str | None
    host: str | None
    port: int | None
    ca: str | None

    @property
    def changes(self) -> bool:
        """Whether a provider is to be changed: more than its name is given."""
        return any(value is not None for field, value in self._asdict().items() if field != "name")


def _kept(before: Provider | None) -> Credential:
    """The credential as it was stored."""
    assert before is not None
    if not before.readable:
        refuse(f"the credential of {before.name!r} cannot be read with CARILLON_SECRET_KEYS, so give it again")
    settings: ApnsSettings = before.settings
    kept = settings.credential
    if isinstance(kept, Key):
        return Credential(kept)
    try:
        return Credential(kept, load(kept.content, kept.password, now=datetime.now(UTC), topic=settings.topic))
    except CertificateError as fault:
        refuse(fault)


def _app(runtime: Runtime, asker: Asker) -> AppSettings:
    """The app; a new one is made at the end, together with its first provider."""
    if not asker.bare:
        return app_named(runtime, None)
    apps = runtime.registry.apps()
    listed = f"one of {', '.join(sorted(apps))}, or a new name" if apps else "a name for it, such as chat"
    default = next(iter(apps)) if len(apps) == 1 else None
    chosen = asker.word("--app", None, f"Which app of Carillon ({listed})", credentials.check_name, default=default)
    return apps.get(chosen, AppSettings(chosen))


def _credential(asker: Asker, given: _Given, before: Provider | None) -> Credential:
    kind = "certificate" if given.p12 else "key"
    if asker.bare and not (given.key_id or given.team_id):
        kind = asker.word("", None, "key or certificate", one_of("kind", "key", "certificate"), default="key")
    if kind == "certificate":
        return _certificate(asker, given)
    if given.password is not None:
        refuse("--p12-password: belongs to --p12-cert")
    found: dict[str, str] = {}

    def read(path: str) -> str:
        named = credentials.KEY_FILE.fullmatch(given_path(path).name)
        found.update({"id": named[1]} if named else {})
        return credentials.read_key(path)

    key = asker.word("--auth-key", given.auth_key, "Path of the .p8 file", read)
    key_id = asker.word("--key-id", given.key_id, "Key ID", check_key_id, default=found.get("id"))
    team_id = asker.word(
        "--team-id",
        given.team_id,
        "Team ID (Membership details)",
        check_team_id,
        default=_team_of(before),
    )
    if found.get("id", key_id) != key_id:
        refuse(f"--key-id: the file is named AuthKey_{found['id']}.p8, so its key id is {found['id']}, not {key_id}")
    if key_id == team_id:
        refuse("--team-id: the same as the key id; it stands at developer.apple.com, Membership details")
    return Credential(Key(team_id, key_id, key))


def _team_of(before: Provider | None) -> str | None:
    credential = None if before is None else before.settings.credential
    return credential.team_id or None if isinstance(credential, Key) else None


def _certificate(asker: Asker, given: _Given) -> Credential:
    password, bundle_id = given.password, given.bundle_id
    path = asker.word("--p12-cert", given.p12, "Path of the .p12 file", _readable)
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
    except SettingsError as fault:
        refuse(fault)
    return Credential(P12(content, password), certificate)


def _readable(path: str) -> str:
    try:
        credentials.read_certificate(path, None)
    except CertificateError as fault:
        if "password" not in str(fault):
            raise
    return path


def _environment(asker: Asker, given: _Given, credential: Credential, before: Provider | None) -> Environment:
    """Never guessed: a token of the other environment is refused, and a wrong guess looks like a broken app."""
    certificate = credential.certificate
    if given.bundle_id is not None:
        asker.word("--bundle-id", given.bundle_id, "", lambda word: _topic(word, certificate))
    only = next(iter(certificate.environments)) if certificate and len(certificate.environments) == 1 else None

    def check(word: str) -> Environment:
        chosen: Environment = (
            "sandbox" if one_of("environment", "production", "sandbox")(word) == "sandbox" else "production"
        )
        if certificate is not None:
            certificate.check(given.bundle_id or certificate.topics[0], chosen)
        return chosen

    return asker.word(
        "--environment",
        given.environment,
        "production (App Store, TestFlight) or sandbox (Xcode)",
        check,
        default=only or (before and before.environment) or None,
    )


def _name(asker: Asker, given: _Given, environment: Environment) -> str:
    default = "apns" if environment == "production" else "apns-sandbox"
    return asker.word("--name", given.name, "Name of this provider", credentials.check_name, default=default)


def _provider(
    asker: Asker,
    app: str,
    called: str,
    environment: Environment,
    given: _Given,
    credential: Credential,
    before: Provider | None,
) -> Provider:
    certificate = credential.certificate
    bundle = asker.word(
        "--bundle-id",
        given.bundle_id,
        "Bundle ID of the iOS app",
        lambda word: _topic(word, certificate),
        default=certificate.topics[0] if certificate else before.settings.topic if before else None,
    )
    if certificate is not None:
        try:
            certificate.check(bundle, environment)
        except CertificateError as fault:
            refuse(fault)
    host, port, ca = _place(asker, given, before)
    return Provider(0, app, called, environment, ApnsSettings(bundle, credential.given, host, port, ca))


def _place(asker: Asker, given: _Given, before: Provider | None) -> tuple[str, int, str | None]:
    """Host, port and CA. Apple's own hosts mean the host of the environment, with the public CAs."""
    ca = None if given.ca is None else asker.word("--ca", given.ca, "", credentials.read_ca)
    host = None if given.host is None else asker.word("--host", given.host, "", check_host)
    if before is None or host in HOSTS.values():
        return host or HOSTS["production"], given.port or 443, ca
    kept: ApnsSettings = before.settings
    return host or kept.host, given.port or kept.port, ca if given.ca is not None else kept.ca


def _topic(word: str, certificate: Certificate | None) -> str:
    bundle = check_bundle_id(word)
    if certificate is not None and bundle not in certificate.topics:
        raise CertificateError(f"bundle id: the certificate is for {', '.join(certificate.topics)}, not for {bundle}")
    return bundle


def _check(provider: Provider) -> None:
    try:
        KIND.check(provider.settings)
    except SettingsError as fault:
        refuse(fault)


def _confirm(provider: Provider) -> None:
    echo(f"\n{KIND.about(provider)}, as {provider.name!r} of app {provider.app!r}", err=True)
    typer.confirm("Store it?", default=True, abort=True, err=True)


def _stored(provider: Provider, before: Provider | None, given: _Given) -> str:
    what = "stored" if before is None else "replaced"
    settings: ApnsSettings = provider.settings
    place = KIND.describe(provider)["host"]
    lines = [
        f"{what}: provider {provider.name!r} of app {provider.app!r}, for {settings.topic} ({provider.environment})"
    ]
    kept = []
    if before is not None:
        kept += [f"host {place}"] if place and not given.host else []
        kept += ["its CA"] if before.settings.ca and settings.ca == before.settings.ca and not given.ca else []
        kept += ["its credential"] if settings.credential == before.settings.credential else []
    lines += [f"kept as they were: {', '.join(kept)}"] if kept else []
    return "\n".join([*lines, f"next: carillon doctor asks {place or 'Apple'} whether it is accepted"])
