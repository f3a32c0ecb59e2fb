"""The commands of docs/why.md print what stands there, but for times."""

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from producers import events as ev
from tests.integration.cli.conftest import Cli
from tests.integration.pipeline.harness import Pipeline, message, stamp, token
from worker.core.model import ACCEPTED, Answer
from worker.state.breaker import Breaker

PAGE = Path(__file__).parents[3] / "docs" / "why.md"
BLOCKS = re.findall(r"^```console\n\$ carillon (.*?)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def now(pipeline: Pipeline) -> dict[str, Any]:
    return stamp() | {"at": datetime.fromtimestamp(pipeline.now, UTC)}


def say(pipeline: Pipeline, id: str, times: int = 1) -> None:
    event = msgspec.structs.replace(message(id=id), at=now(pipeline)["at"])
    pipeline.publish(*[event] * times)
    pipeline.run()


@pytest.fixture
def scene(postgres_url: str, redis_url: str, cli: Cli) -> Iterator[Pipeline]:
    """What the page's examples are about: evt-1 was published twice; lando's device was busy; then a provider was paused."""
    pipeline = Pipeline(postgres_url, redis_url)
    pipeline.now = time.time()

    def answering() -> None:
        pipeline.now += 0.1

    pipeline.member("general", "leia", "han", "chewie", "lando", "luke")
    pipeline.publish(ev.UserMuted(**now(pipeline), user="luke", target="leia"))
    pipeline.run()
    second = pipeline.add_provider("sandbox")
    device = ev.Device(token=token("han", 1), provider="sandbox")
    pipeline.publish(ev.DeviceRegistered(**now(pipeline), user="han", device=device))
    pipeline.redis.set(ev.online_key("demo", "chewie"), 1)
    pipeline.apns.answers[token("lando")] = [Answer(429, "TooManyRequests"), ACCEPTED]
    pipeline.apns.before = answering
    say(pipeline, "evt-1", times=2)
    pipeline.later(60)
    pipeline.deliver()
    Breaker(pipeline.partition).stop(second.id, "receiver moves", pipeline.now, manual=True)
    pipeline.now += 1
    say(pipeline, "evt-2")
    yield pipeline
    pipeline.close()


def without_times(text: str) -> list[str]:
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", text)
    return re.sub(r"\d+ ms", "N ms", text).splitlines()


def test_the_page_shows_what_the_commands_print(scene: Pipeline, cli: Cli) -> None:
    assert len(BLOCKS) == 4
    for command, output in BLOCKS:
        printed, shown = without_times(cli.ok(*command.split())), without_times(output)
        # The log goes on with older lines.
        assert (printed[: len(shown)] if command.startswith("log") else printed) == shown, command
