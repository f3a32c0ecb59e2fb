"""Apps, providers and templates as this process knows them: read anew every few seconds, so that a change needs no restart."""

import logging
import threading
import time
from collections.abc import Collection, Mapping, Sequence

from worker.core.model import AppSettings, Provider
from worker.core.templates import Template, TemplateError, Templates
from worker.stores.registry import Registry, StoredTemplate

log = logging.getLogger(__name__)

#: Seconds between two looks for an app that is not known: events of one that never was must not become queries.
_UNKNOWN_APP = 0.1


class Apps:
    """A cache over the registry, shared by the threads of a process. `ttl` in seconds."""

    def __init__(self, registry: Registry, *, ttl: float = 2.0) -> None:
        self._registry = registry
        self._ttl = ttl
        self._lock = threading.Lock()
        self._read_at = -ttl
        self._apps: Mapping[str, AppSettings] = {}
        self._providers: Mapping[int, Provider] = {}
        self._by_app: Mapping[str, Mapping[str, Provider]] = {}
        self._newest = 0
        self._templates: Mapping[str, Mapping[int, Templates]] = {}
        self._compiled: dict[StoredTemplate, Template | None] = {}

    def app(self, name: str) -> AppSettings | None:
        self._refresh(self._ttl if name in self._apps else _UNKNOWN_APP)
        return self._apps.get(name)

    def names(self) -> Collection[str]:
        """Of every app that there is."""
        self._refresh(self._ttl)
        return self._apps.keys()

    def provider(self, id: int) -> Provider | None:
        """None: removed. One that is newer than what was read is looked for at once: somebody knows it already."""
        self._refresh(self._ttl if id <= self._newest else 0.0)
        return self._providers.get(id)

    def providers(self) -> Mapping[int, Provider]:
        """Every provider that was not removed, by its id."""
        self._refresh(self._ttl)
        return self._providers

    def providers_of(self, app: str) -> Mapping[str, Provider]:
        """The app's providers by name."""
        self._refresh(self._ttl if app in self._by_app else _UNKNOWN_APP)
        return self._by_app.get(app, {})

    def templates_of(self, app: str) -> Mapping[int, Templates]:
        """Templates by provider, for those of the app's providers that have any; usually nothing."""
        self._refresh(self._ttl)
        return self._templates.get(app, {})

    def _refresh(self, oldest: float) -> None:
        """Reads everything anew unless what is known is younger than `oldest` seconds."""
        age = time.monotonic() - self._read_at
        if age < oldest:
            return
        with self._lock:
            if time.monotonic() - self._read_at < age:
                return
            began = time.monotonic()
            found = self._registry.snapshot()
            by_app: dict[str, dict[str, Provider]] = {}
            for provider in found.providers.values():
                by_app.setdefault(provider.app, {})[provider.name] = provider
            self._apps, self._providers, self._by_app = found.apps, found.providers, by_app
            self._templates = self._compile(found.templates, found.providers)
            self._newest = found.newest
            self._read_at = began

    def _compile(
        self, stored: Sequence[StoredTemplate], providers: Mapping[int, Provider]
    ) -> dict[str, dict[int, Templates]]:
        """Each template is compiled once for as long as it stays as it is."""
        self._compiled = {one: self._compiled[one] if one in self._compiled else _compiled(one) for one in stored}
        by_provider: dict[int, dict[tuple[str, str], Template]] = {}
        for one, template in self._compiled.items():
            if template is not None:
                by_provider.setdefault(one.provider, {})[one.kind, one.locale] = template
        by_app: dict[str, dict[int, Templates]] = {}
        for id, templates in by_provider.items():
            if id in providers:
                by_app.setdefault(providers[id].app, {})[id] = Templates(templates)
        return by_app


def _compiled(stored: StoredTemplate) -> Template | None:
    try:
        return Template.parse(stored.document, locale=stored.locale)
    except TemplateError as fault:  # it was checked when it came in, by another release
        place = {"provider": stored.provider, "kind": stored.kind, "locale": stored.locale}
        log.error("template left out: %s", fault, extra=place)
        return None
