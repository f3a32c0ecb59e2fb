"""The chat server behind the example page: an app with one user, whose browsers are notified over the real push services."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from config.settings import Settings
from producers import EventError, Publisher, PublishError
from worker.core.model import AppSettings, Provider
from worker.demo.page import ChatError
from worker.embedded import Urls
from worker.process.runtime import Runtime
from worker.providers.web.settings import WebSettings
from worker.providers.web.vapid import new_key_pair

APP: Final = "page"
PROVIDER: Final = "web"
USER: Final = "you"
_SUBJECT: Final = "mailto:push@example.com"
#: Seconds after which all workers know a new provider.
_KNOWN: Final = 2.0
#: Seconds that a worker may take.
_PATIENCE: Final = 10.0


class PageChat:
    """`Chat` on a running system. The app and its provider are made when they are first needed."""

    def __init__(self, settings: Settings, urls: Urls) -> None:
        self._runtime = Runtime(settings, urls)
        self._publisher = Publisher(urls.redis)
        self._lock = threading.Lock()

    def close(self) -> None:
        self._publisher.close()
        self._runtime.close()

    def public_key(self) -> str:
        registry = self._runtime.registry
        with self._lock:
            for provider in registry.providers().values():
                if (provider.app, provider.kind) == (APP, "web") and provider.settings.private_key:
                    return str(provider.settings.public_key)
            public, private = new_key_pair()
            registry.create_app(AppSettings(APP))
            registry.save_provider(Provider(0, APP, PROVIDER, "production", WebSettings(_SUBJECT, public, private)))
            # Workers look for changes once a second.
            time.sleep(_KNOWN)
            return public

    def subscribe(self, subscription: Mapping[str, Any]) -> None:
        with _refusals():
            self._publisher.register_device(
                app=APP, user=USER, platform="web", subscription=dict(subscription), wait=_PATIENCE
            )

    def unsubscribe(self, endpoint: str) -> None:
        with _refusals():
            self._publisher.unregister_device(app=APP, token=endpoint, user=USER, wait=_PATIENCE)

    def send(self) -> None:
        event = uuid4().hex
        with _refusals():
            self._publisher.publish(
                {
                    "v": 1,
                    "type": "message.new",
                    "id": event,
                    "app": APP,
                    "at": datetime.now(UTC).isoformat(),
                    "channel": {"id": "example", "name": "Example"},
                    "message": {"id": event, "text": "Hello from Carillon"},
                    "sender": {"id": "carillon", "name": "Carillon"},
                    "recipients": [USER],
                }
            )


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except (EventError, PublishError) as fault:
        raise ChatError(str(fault)) from None
