"""`carillon push fcm`: stores the service account of a Firebase project, from flags or from the answers to questions."""

import sys
from typing import Annotated, NamedTuple

import typer

from worker.cli._asking import Asker
from worker.cli._credentials import check_name, read_ca, read_file
from worker.cli._options import App, Json, providers
from worker.cli._replacing import check_purpose, provider_before
from worker.cli._session import app_named, refuse, say, session
from worker.core.model import Provider
from worker.process.by_hand import by_hand
from worker.process.host import at_terminal
from worker.providers.base import SettingsError
from worker.providers.fcm.kind import KIND
from worker.providers.fcm.service_account import LARGEST, ServiceAccount, read
from worker.providers.fcm.settings import HOST, PORT, Display, FcmSettings, check_display

EPILOG = (
    "Example: carillon push fcm --service-account FILE.json --display app --app chat"
    "  …or shown by Android itself: carillon push fcm --service-account FILE.json --display system --channel-id chat --app chat"
)
_INTRO = """This stores the key file with which Carillon pushes over FCM. Nothing is stored before the end.
It comes from the Firebase console: Project settings, Service accounts, Generate new private key."""
_MORE = "More"


def fcm(
    service_account: Annotated[
        str | None, typer.Option(metavar="FILE.json", help="The project's key file; - is standard input.")
    ] = None,
    display: Annotated[
        str | None,
        typer.Option(help="Who shows it on Android: app (the app's own code, docs/fcm.md) or system (Android itself)."),
    ] = None,
    channel_id: Annotated[
        str | None, typer.Option(help="With system: the notification channel; the app has made it.")
    ] = None,
    app: App = None,
    name: Annotated[str, typer.Option(help="Its name.", autocompletion=providers)] = "fcm",
    host: Annotated[str | None, typer.Option(help="Instead of Google's: a simulator.", rich_help_panel=_MORE)] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Of the simulator.", rich_help_panel=_MORE)] = None,
    ca: Annotated[
        str | None, typer.Option(metavar="FILE.pem", help="CA to trust for that host.", rich_help_panel=_MORE)
    ] = None,
    as_json: Json = False,
) -> None:
    """Store a Firebase project's service account as a provider. In a terminal it asks for missing values.

    The file is checked at once. A provider of the same name is changed by what is given, keeps the rest, and keeps its devices.
    """
    given = _Given(service_account, display, channel_id, host, port, ca)
    interactive = at_terminal(sys.stdin) and not as_json and service_account != "-"
    with session() as runtime:
        of_app = app_named(runtime, app).name
        before = provider_before(runtime, of_app, name, KIND)
        asker = Asker(interactive=interactive, bare=interactive and before is None and service_account is None)
        asker.tell(_INTRO)
        try:
            check_name(name)
            settings = _settings(asker, given, None if before is None else before.settings)
            KIND.check(settings)
        except SettingsError as fault:
            refuse(fault)
        provider = Provider(0, of_app, name, "production", settings)
        check_purpose(runtime, provider)
        with by_hand(runtime) as hand:
            hand.store_provider(provider)
    stored = {"app": provider.app, "name": provider.name} | KIND.describe(provider)
    say(stored | {"replaced": before is not None}, _stored(provider, before), as_json=as_json)


class _Given(NamedTuple):
    """What flags said."""

    service_account: str | None
    display: str | None
    channel_id: str | None
    host: str | None
    port: int | None
    ca: str | None


def _settings(asker: Asker, given: _Given, before: FcmSettings | None) -> FcmSettings:
    account = before.account if before is not None and given.service_account is None else None
    if account is None:
        account = asker.word("--service-account", given.service_account, "Path of the key file (JSON)", _account)
    elif not account.key:
        raise SettingsError(
            "--service-account: the stored key cannot be read with CARILLON_SECRET_KEYS, so give it again"
        )
    display: Display
    if before is not None and given.display is None:
        display = before.display
    else:
        question = "Who shows it on Android, app (its own code) or system (Android itself)"
        display = asker.word("--display", given.display, question, check_display)
    kept = before.channel_id if before is not None and display == "system" else None
    channel_id = given.channel_id if given.channel_id is not None else kept
    if given.host is not None or before is None:
        ca = None if given.ca is None else read_ca(given.ca)
        return FcmSettings(account, display, channel_id, given.host or HOST, given.port or PORT, ca)
    ca = before.ca if given.ca is None else read_ca(given.ca)
    return FcmSettings(account, display, channel_id, before.host, given.port or before.port, ca)


def _account(path: str) -> ServiceAccount:
    return read(sys.stdin.buffer.read(LARGEST + 1) if path == "-" else read_file(path, private=True))


def _stored(provider: Provider, before: Provider | None) -> str:
    settings: FcmSettings = provider.settings
    place = KIND.describe(provider)["host"]
    what = "stored" if before is None else "changed"
    shown = "the app's own code" if settings.display == "app" else "Android itself"
    lines = [
        f"{what}: provider {provider.name!r} of app {provider.app!r}, for project {settings.account.project}",
        f"display {settings.display}: {shown} shows its notifications",
    ]
    if settings.display == "app":
        lines.append("an app without code for that shows nothing: docs/fcm.md has it")
    return "\n".join([*lines, f"next: carillon doctor asks {place or 'FCM'} whether it is accepted"])
