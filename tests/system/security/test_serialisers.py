"""Celery takes JSON and nothing else: what would run code when it is read is thrown away unread."""

import base64
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from config.celeryconfig import KEY_PREFIX, URGENT
from tests.processes import wait_until
from tests.system.fleet import Fleet


class Trap:
    """Makes a directory when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self._path),)


def celery_message(body: bytes, content_type: str) -> str:
    """A message as kombu puts it on a Redis list."""
    properties = {
        "delivery_info": {"exchange": "", "routing_key": URGENT},
        "delivery_tag": "t1",
        "body_encoding": "base64",
        "delivery_mode": 2,
    }
    headers = {"task": "carillon.canary", "id": "1", "lang": "py", "argsrepr": "", "kwargsrepr": ""}
    return json.dumps(
        {
            "body": base64.b64encode(body).decode(),
            "content-encoding": "binary",
            "content-type": content_type,
            "headers": headers,
            "properties": properties,
        }
    )


@pytest.mark.slow
@pytest.mark.parametrize("content_type", ["application/x-python-serialize", "application/json"])
def test_a_pickled_message_harms_nothing(postgres_url: str, redis_url: str, tmp_path: Path, content_type: str) -> None:
    trap, logs = tmp_path / "sprung", tmp_path / "logs"
    logs.mkdir()
    body = pickle.dumps([[Trap(trap)], {}, {}])
    with Fleet(postgres_url, redis_url, logs) as fleet:
        fleet.redis.lpush(KEY_PREFIX + URGENT, celery_message(body, content_type))
        fleet.start("worker")
        after = json.dumps([["after"], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
        fleet.redis.lpush(KEY_PREFIX + URGENT, celery_message(after.encode(), "application/json"))
        wait_until(lambda: fleet.redis.exists("carillon:canary:after"))
        assert fleet.redis.llen(KEY_PREFIX + URGENT) == 0
    assert not trap.exists()
