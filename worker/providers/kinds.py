"""Every kind of provider, and questions to all of them. The one place that names them."""

import threading
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any, Final

from producers.events import Device
from worker.core.model import Provider, StoredSettings
from worker.core.refusal import Refused
from worker.providers.base import Client, Context, Kind, Words
from worker.sender.stats import SenderStats

KINDS: Final[dict[str, Kind]] = {}
#: Of a row that only another release knows.
UNKNOWN: Final = Words("its provider", "list", "run the release that stored it")


def register(module: str) -> None:
    """Makes the `KIND` of a module known under its name."""
    kind: Kind = import_module(module).KIND
    KINDS[kind.name] = kind


register("worker.providers.apns.kind")
register("worker.providers.fcm.kind")
register("worker.providers.webhook.kind")
register("worker.providers.web.kind")


def kind_of(provider: Provider) -> Kind:
    return KINDS[provider.kind]


def kind_stored_as(form: str) -> Kind | None:
    """The kind of a row; None where it is of a release that knows more of them."""
    return next((kind for kind in KINDS.values() if form in kind.forms), None)


def store(settings: Any) -> StoredSettings:
    """A provider's settings as a row has them."""
    return KINDS[settings.kind].store(settings)


def load(stored: StoredSettings) -> Any:
    """The settings in a row; None where no kind knows its form."""
    kind = kind_stored_as(stored.form)
    return None if kind is None else kind.load(stored)


def words_of(form: str) -> Words:
    """What people read about the kind of a row."""
    kind = kind_stored_as(form)
    return UNKNOWN if kind is None else kind.words


def may_end(form: str) -> bool:
    """Whether a credential that is stored so has an end."""
    kind = kind_stored_as(form)
    return kind is not None and form in kind.ending


def commands(app: str | None = None) -> str:
    """The commands that store a provider, for a sentence; `app` as a shell takes it."""
    first, *others = (kind.words.command for kind in KINDS.values())
    of_app = "" if app is None else f" --app {app}"
    return f"carillon push {first}{of_app}{''.join(f', or push {one}' for one in others)}"


def deferred_reasons() -> frozenset[str]:
    """Those of all kinds."""
    return frozenset().union(*(kind.deferred_reasons for kind in KINDS.values()))


def registration(device: Device, provider: Provider) -> tuple[str, str]:
    """The device's token as it is stored, and what of it is secret, as text; '' for nothing. Raises `Refused`."""
    kind = kind_of(provider)
    _check_length(device.address, kind)
    return kind.registration(device)


def token_forms(token: str, providers: Mapping[str, Provider]) -> list[str]:
    """The forms in which a token may be stored, if no provider is named. Raises `Refused` if no kind takes it."""
    forms: dict[str, None] = {}
    refused: Refused | None = None
    for kind in _kinds_of(providers.values()):
        try:
            forms[_canonical(token, kind)] = None
        except Refused as fault:
            refused = fault
    if refused is not None and not forms:
        raise refused
    return list(forms)


def _canonical(token: str, kind: Kind) -> str:
    _check_length(token, kind)
    return kind.canonical_token(token)


def _check_length(token: str, kind: Kind) -> None:
    if len(token) > kind.token_limit:
        raise Refused(f"device.token: at most {kind.token_limit:,} characters")


def _kinds_of(providers: Iterable[Provider]) -> list[Kind]:
    """Of an app without a provider: all, for it had one when the token was stored."""
    used = {provider.kind for provider in providers}
    return [kind for name, kind in KINDS.items() if name in used or not used]


class Clients:
    """The clients of one process, each made when it is first needed."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._clients: dict[str, Client] = {}

    def of(self, provider: Provider) -> Client:
        """The client for the provider's kind."""
        client = self._clients.get(provider.kind)
        if client is None:
            with self._lock:
                client = self._clients.get(provider.kind)
                if client is None:
                    client = self._clients[provider.kind] = kind_of(provider).client(self._context)
        return client

    def stats(self) -> dict[str, SenderStats]:
        """By kind: what the senders of those that are used did."""
        used = {kind: client.stats() for kind, client in list(self._clients.items())}
        return {kind: stats for kind, stats in used.items() if stats is not None}

    def close(self) -> None:
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()
