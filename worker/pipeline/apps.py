"""Apps, providers and templates as this process knows them: changes are looked for each second, so that none needs a restart.

A look costs one statement, and a change the reading of the apps that it is about, however many others there are. A credential is
decrypted, and a template compiled, when its app first needs it.
"""

import logging
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from producers.events import DeviceToken
from worker.core.fleet import allowed_here, is_foreign
from worker.core.model import AppSettings, Provider
from worker.core.refusal import Refused
from worker.core.template_form import TemplateError
from worker.core.templates import Template, Templates
from worker.database.registry import Registry, Sealed, Snapshot, StoredTemplate
from worker.providers.kinds import kind_of, token_forms

log = logging.getLogger(__name__)

#: Seconds between two looks for an app that is not known: events of one that never was must not become queries.
_UNKNOWN_APP = 0.1


class _Compiled(NamedTuple):
    stored: Sequence[StoredTemplate]
    compiled: Mapping[StoredTemplate, Template | None]
    templates: Mapping[int, Templates]


class Apps:
    """A cache over the registry, shared by the threads of a process. `ttl` in seconds, `fleet` is this one's name."""

    def __init__(self, registry: Registry, *, ttl: float = 1.0, fleet: str = "") -> None:
        self._registry, self._fleet = registry, fleet
        self.device_secrets = registry.device_secrets
        #: Whether the database is another fleet's; None: not known yet.
        self._foreign: bool | None = None
        self._ttl = ttl
        self._lock = threading.Lock()
        self._read_at = -ttl
        self._version: int | None = None
        # A value is replaced, never changed: a reader needs no lock.
        self._apps: Mapping[str, AppSettings] = {}
        self._providers: Mapping[int, Sealed] = {}
        self._by_app: Mapping[str, Sequence[Sealed]] = {}
        #: Those that were needed: what they are opened from, and the provider.
        self._opened: dict[int, tuple[Sealed, Provider | None]] = {}
        self._of_app: dict[str, tuple[Sequence[Sealed], Mapping[str, Provider]]] = {}
        self._stored: Mapping[str, Sequence[StoredTemplate]] = {}
        self._newest = 0
        #: By app: the compiled templates, and their sources.
        self._compiled: dict[str, _Compiled] = {}

    def app(self, name: str) -> AppSettings | None:
        self._refresh(self._ttl if name in self._apps else _UNKNOWN_APP)
        return self._apps.get(name)

    def look(self, *, since: float) -> bool:
        """Looks for changes, unless it has done so since then (`time.monotonic()`). Returns whether it has looked now."""
        if self._read_at >= since:
            return False
        self._refresh(0.0)
        return True

    def names(self) -> Collection[str]:
        """Of every app that there is."""
        self._refresh(self._ttl)
        return self._apps.keys()

    def provider(self, id: int) -> Provider | None:
        """None: removed. One that is newer than what was read is looked for at once: somebody knows it already."""
        self._refresh(self._ttl if id <= self._newest else 0.0)
        return self._open(self._providers.get(id))

    def providers(self) -> Mapping[int, Sealed]:
        """Every provider that was not removed, by its id, as it is stored."""
        self._refresh(self._ttl)
        return self._providers

    def provider_name(self, id: int) -> str:
        """For people: the provider's name, or its number where it was removed."""
        found = self.provider(id)
        return str(id) if found is None else found.name

    def providers_of(self, app: str) -> Mapping[str, Provider]:
        """The app's providers by name."""
        self._refresh(self._ttl if app in self._by_app else _UNKNOWN_APP)
        stored = self._by_app.get(app, ())
        known = self._of_app.get(app)
        if known is None or known[0] is not stored:
            # Two threads may do it at once, with the same result.
            found = {one.name: one for one in map(self._open, stored) if one is not None}
            known = self._of_app[app] = (stored, found)
        return known[1]

    def token_forms(self, app: str, device: DeviceToken | None) -> Collection[str]:
        """The forms in which the device's token may be stored; none of no device, and of a token that no provider takes."""
        if device is None:
            return ()
        try:
            return token_forms(device.address, self.providers_of(app))
        except Refused:
            return ()

    def templates_of(self, app: str) -> Mapping[int, Templates]:
        """Templates by provider, for those of the app's providers that have any; usually nothing."""
        self._refresh(self._ttl)
        stored = self._stored.get(app)
        if stored is None:
            return {}
        known = self._compiled.get(app)
        if known is None or known.stored is not stored:
            # Two threads may do it at once, with the same result.
            before = {} if known is None else known.compiled
            compiled = {one: before[one] if one in before else self._compile(one) for one in stored}
            known = self._compiled[app] = _Compiled(stored, compiled, _by_provider(compiled))
        return known.templates

    def _open(self, sealed: Sealed | None) -> Provider | None:
        if sealed is None:
            return None
        known = self._opened.get(sealed.id)
        if known is None or known[0] is not sealed:
            known = self._opened[sealed.id] = (sealed, self._registry.open(sealed))
        return known[1]

    def _compile(self, stored: StoredTemplate) -> Template | None:
        provider = self._open(self._providers.get(stored.provider))
        if provider is None:  # it was removed just now
            return None
        try:
            return Template.parse(stored.document, kind_of(provider).template, locale=stored.locale)
        except TemplateError as fault:  # it was checked when it came in, by another release
            place = {"app": provider.app, "provider": provider.name, "kind": stored.kind, "locale": stored.locale}
            log.error("template left out: %s", fault, extra=place)
            return None

    def _refresh(self, oldest: float) -> None:
        """Looks for changes unless what is known is younger than `oldest` seconds, or another thread does."""
        age = time.monotonic() - self._read_at
        if age < oldest or not self._lock.acquire(blocking=self._version is None or oldest < self._ttl):
            return
        try:
            if time.monotonic() - self._read_at < age:
                return
            began = time.monotonic()
            self._take_over(self._registry.snapshot(self._version))
            self._read_at = began
        finally:
            self._lock.release()

    def _take_over(self, found: Snapshot) -> None:
        changed = found.changed
        if changed is not None and not changed:
            return
        providers = {id: one for id, one in self._providers.items() if changed is not None and one.app not in changed}
        providers |= found.providers
        apps = {name: app for name, app in self._apps.items() if changed is not None and name not in changed}
        by_app = {name: of for name, of in self._by_app.items() if changed is not None and name not in changed}
        stored = {name: of for name, of in self._stored.items() if changed is not None and name not in changed}
        fresh: dict[str, list[Sealed]] = {}
        for one in found.providers.values():
            fresh.setdefault(one.app, []).append(one)
        by_app |= fresh
        of_app: dict[str, list[StoredTemplate]] = {}
        for template in found.templates:
            if template.provider in found.providers:
                of_app.setdefault(found.providers[template.provider].app, []).append(template)
        foreign = is_foreign(found.fleet, self._fleet)
        if foreign and not self._foreign:
            log.warning(
                "the database is another fleet's: pushes go to nobody but those whom app set --only-to names",
                extra={"fleet": self._fleet, "database": found.fleet},
            )
        self._foreign = foreign
        here = {name: allowed_here(app, foreign=foreign) for name, app in found.apps.items()}
        self._apps, self._providers, self._by_app = apps | here, providers, by_app
        self._stored = stored | of_app
        for name in self._compiled.keys() - self._stored.keys():
            del self._compiled[name]
        for id in self._opened.keys() - self._providers.keys():
            self._opened.pop(id, None)
        for name in self._of_app.keys() - self._by_app.keys():
            self._of_app.pop(name, None)
        self._newest, self._version = max(self._newest, found.newest), found.version


def _by_provider(compiled: Mapping[StoredTemplate, Template | None]) -> dict[int, Templates]:
    found: dict[int, dict[tuple[str, str], Template]] = {}
    for one, template in compiled.items():
        if template is not None:
            found.setdefault(one.provider, {})[one.kind, one.locale] = template
    return {id: Templates(templates) for id, templates in found.items()}
