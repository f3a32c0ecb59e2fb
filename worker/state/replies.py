"""Replies to callers that wait for the outcome of a device event, in any language."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from config.seldom import Seldom
from worker.state import keys
from worker.state.redis import Redis

log = logging.getLogger(__name__)
seldom = Seldom(log)

#: Seconds for which an answer is kept, and answers that one id has at most.
KEPT: Final = 60
_MOST: Final = 16


class Replies:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def send(self, answers: Iterable[tuple[str, Mapping[str, Any]]], counts: Mapping[tuple[str, str], int]) -> None:
        """Answers these reply ids, and adds to the counters named (app, counter). What Redis refuses of it is logged."""
        with self._redis.pipeline(transaction=False) as pipe:
            for id, answer in answers:
                pipe.lpush(keys.REPLY(id), msgspec.json.encode(answer))
                pipe.ltrim(keys.REPLY(id), 0, _MOST - 1)
                pipe.expire(keys.REPLY(id), KEPT)
            for (app, counter), n in counts.items():
                pipe.hincrby(keys.COUNTS(app), counter, n)
            if not pipe.command_stack:
                return
            faults = [fault for fault in pipe.execute(raise_on_error=False) if isinstance(fault, Exception)]
        if faults:
            seldom.warning("answers to device events could not be written", extra={"fault": str(faults[0])[:200]})
