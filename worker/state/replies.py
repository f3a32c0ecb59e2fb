"""Replies to callers that wait for the outcome of a device event, in any language."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from config.seldom import Seldom
from worker.state import keys
from worker.state.partition import Partition

log = logging.getLogger(__name__)
seldom = Seldom(log)

#: Seconds for which an answer is kept, and answers that one id has at most.
KEPT: Final = 60
_MOST: Final = 16


class Replies:
    def __init__(self, partition: Partition) -> None:
        self._partition = partition

    def send(self, answers: Iterable[tuple[str, Mapping[str, Any]]], counts: Mapping[tuple[str, str], int]) -> None:
        """Answers these reply ids, and adds to the counters named (app, counter). What Redis refuses of it is logged."""
        of, faults = self._partition, list[Exception]()
        with of.redis.pipeline(transaction=False) as pipe, of.any_slot.pipeline(transaction=False) as elsewhere:
            replies = pipe if of.any_slot is of.redis else elsewhere
            for id, answer in answers:
                replies.lpush(keys.REPLY(id), msgspec.json.encode(answer))
                replies.ltrim(keys.REPLY(id), 0, _MOST - 1)
                replies.expire(keys.REPLY(id), KEPT)
            for (app, counter), n in counts.items():
                pipe.hincrby(of.keys.COUNTS(app), counter, n)
            for one in (elsewhere, pipe):
                if one.command_stack:
                    faults += [fault for fault in one.execute(raise_on_error=False) if isinstance(fault, Exception)]
        if faults:
            seldom.warning("answers to device events could not be written", extra={"fault": str(faults[0])[:200]})
