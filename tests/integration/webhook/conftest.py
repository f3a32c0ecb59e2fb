from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.pipeline.harness import Pipeline
from tests.integration.webhook.receiver import Receiver
from worker.core.model import Provider
from worker.providers.webhook.settings import WebhookSettings

SECRET = "a-secret-of-at-least-thirty-two-characters"
OLDER = "the-secret-before-it-that-is-on-its-way-out"


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path / "receiver") as made:
        yield made


@pytest.fixture
def hook(receiver: Receiver) -> Provider:
    """The receiver as a provider that is stored nowhere."""
    return Provider(7, "demo", "hook", "production", WebhookSettings(receiver.url, (SECRET,), ca=receiver.ca))


@pytest.fixture
def pipeline(postgres_url: str, redis_url: str, hook: Provider) -> Iterator[Pipeline]:
    """The app `demo` with the webhook as its only provider."""
    made = Pipeline(postgres_url, redis_url)
    made.registry.remove_provider("demo", "apns")
    made.provider = made.registry.save_provider(hook)
    yield made
    made.close()
