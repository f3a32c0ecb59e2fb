"""Commands are packed as redis-py packs them."""

from typing import Any

import pytest
from redis.connection import HiredisRespSerializer

from worker.state.redis import connect


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("GET", "key"), id="text"),
        pytest.param(("SET", b"\x00\xff", "é", 7, -1.5, ""), id="bytes and numbers"),
        pytest.param(("XREAD BLOCK", 5, "COUNT", 2), id="a name of two words"),
    ],
)
def test_a_command_is_packed_as_redis_py_packs_it(command: tuple[Any, ...]) -> None:
    with connect("redis://localhost:1") as client:
        connection = client.connection_pool.connection_class(**client.connection_pool.connection_kwargs)
    assert connection.pack_command(*command) == HiredisRespSerializer().pack(*command)
