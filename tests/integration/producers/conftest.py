"""One publisher's test is the other's: every test that takes `make` runs for threads and for asyncio."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import redis

from producers import AsyncPublisher, Publisher


class Awaited:
    """`AsyncPublisher` with the manners of `Publisher`, on a loop of its own."""

    def __init__(self, url: str, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self._inner = AsyncPublisher(url, **options)

    def publish(self, event: Any) -> str:
        return self._runner.run(self._inner.publish(event))

    def publish_many(self, events: Iterable[Any]) -> list[str]:
        return self._runner.run(self._inner.publish_many(events))

    def online(self, *arguments: Any, **more: Any) -> None:
        self._runner.run(self._inner.online(*arguments, **more))

    def mark_read(self, *arguments: Any, **more: Any) -> None:
        self._runner.run(self._inner.mark_read(*arguments, **more))

    def read(self, *arguments: Any, **more: Any) -> Any:
        return self._runner.run(self._inner.read(*arguments, **more))

    def offline(self, app: str, user: str) -> None:
        self._runner.run(self._inner.offline(app, user))

    def close(self) -> None:
        self._runner.run(self._inner.close())

    def end(self) -> None:
        self.close()
        self._runner.close()


@pytest.fixture(params=[pytest.param(Publisher, id="threads"), pytest.param(Awaited, id="asyncio")])
def make(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Makes a publisher of either kind, closed when the test ends."""
    made: list[Any] = []

    def publisher(url: str, **options: Any) -> Any:
        made.append(request.param(url, **options))
        return made[-1]

    yield publisher
    for one in made:
        one.end() if isinstance(one, Awaited) else one.close()


@pytest.fixture
def stream(redis_url: str) -> Iterator[Any]:
    """A client of the session's empty Valkey."""
    with redis.Redis.from_url(redis_url) as client:
        yield client
