"""Answers to whoever waits for the outcome of a device event, in any language.

carillon:reply:<id>   list   one JSON document, for as long as somebody may still ask for it
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from producers.events import reply_key
from worker.stores.redis import Redis

#: Seconds for which an answer is kept.
KEPT: Final = 60


class Replies:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def send(self, answers: Iterable[tuple[str, Mapping[str, Any]]], counts: Mapping[tuple[str, str], int]) -> None:
        """Answers these reply ids, and adds to the counters named (app, counter)."""
        with self._redis.pipeline(transaction=False) as pipe:
            for id, answer in answers:
                pipe.lpush(reply_key(id), msgspec.json.encode(answer))
                pipe.expire(reply_key(id), KEPT)
            for (app, counter), n in counts.items():
                pipe.hincrby(f"carillon:counts:{app}", counter, n)
            if pipe.command_stack:
                pipe.execute()
