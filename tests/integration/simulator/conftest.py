import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from tests.unit.simulator.credentials import KEY, TOPIC
from worker.simulator import Settings


@pytest.fixture
def settings() -> Settings:
    return Settings(keys=(KEY,), topics=(TOPIC,), control_port=None)


@pytest.fixture
def run():
    """Runs a coroutine on an event loop of its own, within bounds."""

    def run(main: Coroutine[Any, Any, Any]) -> Any:
        async def bounded() -> Any:
            async with asyncio.timeout(30):
                return await main

        return asyncio.run(bounded())

    return run
