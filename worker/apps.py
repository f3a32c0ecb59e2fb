"""Apps and providers as this process knows them: read anew every few seconds, so that a change needs no restart."""

import threading
import time
from collections.abc import Mapping

from worker.core.model import AppSettings, Provider
from worker.stores.registry import Registry


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

    def app(self, name: str) -> AppSettings | None:
        self._refresh(wanted=name in self._apps)
        return self._apps.get(name)

    def provider(self, id: int) -> Provider | None:
        self._refresh(wanted=id in self._providers)
        return self._providers.get(id)

    def providers_of(self, app: str) -> Mapping[str, Provider]:
        """The app's providers by name."""
        self._refresh(wanted=app in self._by_app)
        return self._by_app.get(app, {})

    def _refresh(self, *, wanted: bool) -> None:
        # What is missing may have been created a moment ago: look at most ten times a second for it.
        age = time.monotonic() - self._read_at
        if age < (self._ttl if wanted else 0.1):
            return
        with self._lock:
            if time.monotonic() - self._read_at < age:
                return
            self._apps, self._providers = self._registry.apps(), self._registry.providers()
            by_app: dict[str, dict[str, Provider]] = {}
            for provider in self._providers.values():
                by_app.setdefault(provider.app, {})[provider.name] = provider
            self._by_app = by_app
            self._read_at = time.monotonic()
