"""An APNs provider's settings: bundle id, credential, and where its requests go."""

import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import ClassVar, Final, NamedTuple
from urllib.parse import urlsplit

from worker.core.model import Environment, Provider
from worker.core.push_types import PUSH_TYPES
from worker.providers.base import SettingsError

#: Apple's hosts. A provider without a host of its own goes to its environment's.
HOSTS: Final[dict[Environment, str]] = {"production": "api.push.apple.com", "sandbox": "api.sandbox.push.apple.com"}
#: Apple's hosts and ports at which broadcast channels are managed.
MANAGERS: Final[dict[Environment, tuple[str, int]]] = {
    "production": ("api-manage-broadcast.push.apple.com", 2196),
    "sandbox": ("api-manage-broadcast.sandbox.push.apple.com", 2195),
}
_TEN: Final = re.compile(r"[A-Z0-9]{10}")
_BUNDLE: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,153}[A-Za-z0-9])?")
_HOST: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?")
#: What the topics of other kinds of pushes end in.
_OTHER_PUSHES: Final = {rule.suffix: f"{kind} pushes" for kind, rule in PUSH_TYPES.items() if rule.suffix}


@dataclass(frozen=True, slots=True)
class Key:
    """Token authentication: a team's .p8 key (PEM), which signs provider tokens."""

    team_id: str
    key_id: str
    pem: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class P12:
    """Certificate authentication: a .p12 file and its password."""

    content: bytes = field(default=b"", repr=False)
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ApnsSettings:
    kind: ClassVar[str] = "apns"

    #: Bundle id.
    topic: str
    credential: Key | P12
    host: str = HOSTS["production"]
    port: int = 443
    #: PEM of the CA to trust instead of the public ones; for simulators and private gateways.
    ca: str | None = field(default=None, repr=False)


def host_for(provider: Provider) -> str:
    """The provider's own host; the production host on a sandbox provider is the default nobody changed."""
    settings: ApnsSettings = provider.settings
    return HOSTS[provider.environment] if settings.host == HOSTS["production"] else settings.host


class Manager(NamedTuple):
    """Where broadcast channels are managed."""

    host: str
    port: int


def manager_of(provider: Provider, host: str | None, port: int | None) -> Manager:
    """`host` and `port` replace Apple's. A provider with a host of its own, such as a simulator, has its channels there."""
    settings: ApnsSettings = provider.settings
    if settings.host not in HOSTS.values():
        return Manager(settings.host, settings.port)
    usual = MANAGERS[provider.environment]
    return Manager(host or usual[0], port or usual[1])


def check_key_id(text: str) -> str:
    if not _TEN.fullmatch(text):
        raise SettingsError(
            f"key id: {text!r} is not 10 capital letters and digits; it stands beside the key at developer.apple.com,"
            " Certificates, Identifiers & Profiles, Keys, and in the file's name AuthKey_<key id>.p8"
        )
    return text


def check_team_id(text: str) -> str:
    if not _TEN.fullmatch(text):
        raise SettingsError(
            f"team id: {text!r} is not 10 capital letters and digits; it stands at developer.apple.com, Membership details"
        )
    return text


def check_bundle_id(text: str) -> str:
    if not _BUNDLE.fullmatch(text):
        raise SettingsError(
            f"bundle id: {text!r} is not one, such as io.team.App; it stands in Xcode, target, General, Identity"
        )
    if _TEN.fullmatch(text.partition(".")[0]) and "." in text:
        raise SettingsError(f"bundle id: leave out the team before it: {text.partition('.')[2]}")
    for end, kind in _OTHER_PUSHES.items():
        if text.endswith(end):
            raise SettingsError(
                f"bundle id: {text} is a topic for {kind}; Carillon sends alerts, so give the app's own: {text.removesuffix(end)}"
            )
    if text.startswith("com.apple.mgmt."):
        raise SettingsError(f"bundle id: {text} is the topic of an MDM certificate; Carillon sends alerts to an app")
    return text


def check_host(text: str) -> str:
    """A name or an address, of IPv6 without its brackets."""
    host = text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text
    try:
        ip_address(host)
    except ValueError:
        if _HOST.fullmatch(host):
            return host
        raise SettingsError(f"host: {text!r} {_no_host(text)}") from None
    return host


def _no_host(text: str) -> str:
    if "://" in text:
        return f"is a URL; leave out {text.partition('://')[0]}://, and give a port with --port: {_host_in(text)}"
    if "/" in text:
        return f"has a path, and Apple's is always the same; leave it out: {_host_in(text)}"
    if _host_in(text) != text:
        return f"has a port in it; give that with --port: {_host_in(text)}"
    return "is not a name or an address, such as localhost"


def _host_in(text: str) -> str:
    """What in a URL, or in a host with a port or a path, is the host."""
    try:
        return urlsplit(text if "://" in text else f"//{text}").hostname or text
    except ValueError:
        return text
