"""The simulators of a system that `carillon up` runs. Their addresses, CA and keys stay the same from one start to the next."""

import secrets
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from config.private import check_directory, make_directory, read_private, write_private
from worker.embedded.ports import HOST, remembered

if TYPE_CHECKING:
    from worker.core.model import Provider
    from worker.database.registry import Registry
    from worker.process.runtime import Runtime
    from worker.simulator import ControlClient

#: What the first steps are made of. Each kind has a provider.
APP: Final = "chat"
PROVIDERS: Final = {"apns": "simulator", "fcm": "simulator-fcm", "web": "simulator-web"}
TOPIC: Final = "org.example.chat"
CHANNEL: Final = "general"
MEMBER: Final = "han"
SENDER: Final = "leia"
TOKEN: Final = "0f74" * 16
ANDROID_TOKEN: Final = "c0FFeeSimulatedPhone00:APA91b" + "0f74" * 30
_NAMES: Final = ("localhost", HOST)
#: Files that keep the ports, in the order of `OwnSimulator`.
_PORTS: Final = ("port", "control.port", "fcm.port", "web.port")
_KEY_ID: Final = "SIMULATOR1"
_TEAM_ID: Final = "SIMTEAM001"
_PROJECT: Final = "simulated-chat"
_SUBJECT: Final = "mailto:push@example.com"


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
    def ports(self) -> dict[str, int]:
        """By kind."""
        return {"apns": self.port, "fcm": self.fcm_port, "web": self.web_port}

    def control(self, kind: str) -> "ControlClient":
        """The record of pushes that arrived at the simulator of a kind is asked for here."""
        from worker.simulator import ControlClient

        token = read_private(self.directory / "control.token")
        return ControlClient(HOST, self.control_port, token, timeout=5, kind=kind)

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

    def connect(self, runtime: "Runtime") -> None:
        """Makes the app where it is missing, and a provider of each kind, or points the providers here again."""
        from worker.core.model import AppSettings, Provider
        from worker.process.by_hand import by_hand

        before = connected(runtime.registry)
        with by_hand(runtime) as hand:
            hand.create_app(AppSettings(APP))
            for kind, settings in self._settings({kind: one.settings for kind, one in before.items()}).items():
                provider = Provider(0, APP, PROVIDERS[kind], "sandbox" if kind == "apns" else "production", settings)
                known = before.get(kind)
                if known is None or (known.environment, known.settings) != (provider.environment, provider.settings):
                    hand.store_provider(provider)

    def _settings(self, before: "dict[str, Any]") -> "dict[str, Any]":
        """Of the provider of each kind. Those that there were keep their keys: the simulators take any key but APNs'."""
        from worker.providers.apns.settings import ApnsSettings, Key
        from worker.providers.fcm.service_account import ServiceAccount, new_key
        from worker.providers.fcm.settings import FcmSettings
        from worker.providers.web.settings import WebSettings
        from worker.providers.web.vapid import new_key_pair

        ca = (self.directory / "ca.pem").read_text()
        key = Key(_TEAM_ID, _KEY_ID, read_private(self.directory / "key.p8"))
        if "fcm" in before and before["fcm"].account.key:
            account = before["fcm"].account
        else:
            account = ServiceAccount(_PROJECT, f"push@{_PROJECT}.iam.gserviceaccount.com", _KEY_ID, new_key())
        if "web" in before and before["web"].private_key:
            public, private = before["web"].public_key, before["web"].private_key
        else:
            public, private = new_key_pair()
        return {
            "apns": ApnsSettings(TOPIC, key, host=HOST, port=self.port, ca=ca),
            "fcm": FcmSettings(account, "app", host=HOST, port=self.fcm_port, ca=ca),
            "web": WebSettings(_SUBJECT, public, private, host=HOST, port=self.web_port, ca=ca),
        }


def steps(text: str) -> list[str]:
    """A first push to the iPhone as commands of a shell, with an event id that was never used."""
    event = f"hello-{secrets.token_hex(3)}"
    return [
        f"carillon member add {CHANNEL} {MEMBER} --app {APP}",
        f"carillon push device add --app {APP} --user {MEMBER} --provider {PROVIDERS['apns']} --token {TOKEN}",
        f"carillon publish --app {APP} --channel {CHANNEL} --sender {SENDER} --text {shlex.quote(text)} --id {event}",
        f"carillon why {event} --app {APP}",
    ]


def connected(registry: "Registry") -> "dict[str, Provider]":
    """The providers that point to the simulators of `carillon up`, by kind."""
    named = {one.name: one for one in registry.providers().values() if one.app == APP}
    return {kind: named[name] for kind, name in PROVIDERS.items() if name in named and named[name].kind == kind}


def wanted(registry: "Registry") -> bool:
    """Whether a system gets simulators unasked: one without an app, or with one that pushes to them."""
    return bool(connected(registry)) or not registry.apps()


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
