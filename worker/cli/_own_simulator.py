"""The simulators of a system that `carillon up` runs. Their address, CA and key stay the same from one start to the next."""

import secrets
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from config.private import check_directory, make_directory, read_private, write_private
from worker.embedded.ports import HOST, remembered

if TYPE_CHECKING:
    from worker.core.model import Provider
    from worker.database.registry import Registry
    from worker.simulator import ControlClient

#: What the first steps are made of.
APP: Final = "chat"
PROVIDER: Final = "simulator"
TOPIC: Final = "org.example.chat"
CHANNEL: Final = "general"
MEMBER: Final = "han"
SENDER: Final = "leia"
TOKEN: Final = "0f74" * 16
_NAMES: Final = ("localhost", HOST)
#: Files that keep the ports, in the order of `OwnSimulator`.
_PORTS: Final = ("port", "control.port", "fcm.port", "web.port")
_KEY_ID: Final = "SIMULATOR1"
_TEAM_ID: Final = "SIMTEAM001"


@dataclass(frozen=True)
class OwnSimulator:
    """Where it listens, and the files beside it."""

    directory: Path
    port: int
    control_port: int
    #: Of FCM, and of the push services of browsers.
    fcm_port: int
    web_port: int

    @property
    def control(self) -> "ControlClient":
        """The record of arrived pushes is asked for here."""
        from worker.simulator import ControlClient

        return ControlClient(HOST, self.control_port, read_private(self.directory / "control.token"), timeout=5)

    def command(self) -> list[str]:
        """What runs it, as words behind `carillon`."""
        return [
            *("simulate", "--sandbox", "--host", HOST, "--port", str(self.port)),
            *("--fcm-port", str(self.fcm_port), "--web-port", str(self.web_port)),
            *("--control-port", str(self.control_port), "--control-token-file", str(self.directory / "control.token")),
            *("--directory", str(self.directory), "--topic", TOPIC),
            *(word for name in _NAMES for word in ("--name", name)),
            *("--key", f"{_KEY_ID}:{_TEAM_ID}:{self.directory / 'key.p8'}"),
        ]

    def connect(self, registry: "Registry") -> None:
        """Makes the app where it is missing, and its provider, or points the provider here again."""
        from worker.core.model import AppSettings, Provider
        from worker.providers.apns.settings import ApnsSettings, Key

        settings = ApnsSettings(
            TOPIC,
            Key(_TEAM_ID, _KEY_ID, read_private(self.directory / "key.p8")),
            host=HOST,
            port=self.port,
            ca=(self.directory / "ca.pem").read_text(),
        )
        provider = Provider(0, APP, PROVIDER, "sandbox", settings)
        registry.create_app(AppSettings(APP))
        before = connected(registry)
        if before is None or (before.environment, before.settings) != (provider.environment, provider.settings):
            registry.save_provider(provider)


def steps(text: str) -> list[str]:
    """A first push as commands of a shell, with an event id that was never used."""
    event = f"hello-{secrets.token_hex(3)}"
    return [
        f"carillon member add {CHANNEL} {MEMBER} --app {APP}",
        f"carillon push device add --app {APP} --user {MEMBER} --provider {PROVIDER} --token {TOKEN}",
        f"carillon publish --app {APP} --channel {CHANNEL} --sender {SENDER} --text {shlex.quote(text)} --id {event}",
        f"carillon why {event} --app {APP}",
    ]


def connected(registry: "Registry") -> "Provider | None":
    """The provider that points to a simulator of `carillon up`, where there is one."""
    return next((one for one in registry.providers().values() if (one.app, one.name) == (APP, PROVIDER)), None)


def wanted(registry: "Registry") -> bool:
    """Whether a system gets a simulator unasked: one without an app, or with one that pushes to it."""
    return connected(registry) is not None or not registry.apps()


def prepared(data_dir: Path) -> OwnSimulator:
    """The simulator of this data directory, its files made where they are missing."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    from worker.simulator.certificates import kept_identity
    from worker.simulator.web.settings import NAMES as PUSH_SERVICES

    directory = _directory(data_dir)
    make_directory(directory, 0o700)
    check_directory(directory)
    if not (directory / "control.token").exists():
        write_private(directory / "control.token", secrets.token_urlsafe(18))
    if not (directory / "key.p8").exists():
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        write_private(directory / "key.p8", pem)
    kept_identity(directory, (*_NAMES, *PUSH_SERVICES))
    return OwnSimulator(directory, *(remembered(directory / name) for name in _PORTS))


def known(data_dir: Path) -> OwnSimulator | None:
    """The simulator of this data directory where there is one, whether it runs or not."""
    directory = _directory(data_dir)
    try:
        ports = [int((directory / name).read_text()) for name in _PORTS]
    except (OSError, ValueError):
        return None
    check_directory(directory)
    return OwnSimulator(directory, *ports)


def _directory(data_dir: Path) -> Path:
    return data_dir.absolute() / "simulator"
