"""Replies to callers that wait for the outcome of a device event, in any language."""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from config.seldom import Seldom
from worker.state import keys, servers
from worker.state.partition import Partition
from worker.state.parts import Parts
from worker.state.redis import Unavailable

log = logging.getLogger(__name__)
seldom = Seldom(log)

#: The writes of a process to nodes of a cluster, which have so many seconds.
_PARTS: Final = Parts(1.0, passing=Unavailable)
#: Seconds for which an answer is kept, and answers that one id has at most.
KEPT: Final = 60
_MOST: Final = 16


class Replies:
    def __init__(self, partition: Partition) -> None:
        self._partition = partition

    def send(self, answers: Iterable[tuple[str, Mapping[str, Any]]], counts: Mapping[tuple[str, str], int]) -> None:
        """Answers these reply ids, and adds to the counters named (app, counter). What Redis refuses of it is logged.

        In a cluster an answer is lost whose node does not answer soon: its author asks again, and nobody else waits.
        """
        of, faults = self._partition, list[Exception]()
        documents: defaultdict[str, list[bytes]] = defaultdict(list)
        for id, answer in answers:
            documents[keys.REPLY(id)].append(msgspec.json.encode(answer))
        apart = servers.spread(of.any_slot)
        with of.redis.pipeline(transaction=False) as pipe:
            if not apart:
                _add(pipe, documents)
            for (app, counter), n in counts.items():
                pipe.hincrby(of.keys.COUNTS(app), counter, n)
            if apart and documents:
                faults += self._written_elsewhere(documents)
            if pipe.command_stack:
                faults += _faults(pipe)
        if faults:
            seldom.warning("answers to device events could not be written", extra={"fault": str(faults[0])[:200]})

    def _written_elsewhere(self, documents: Mapping[str, Sequence[bytes]]) -> list[Exception]:
        """Writes each answer to the node that has its key. Returns what went wrong."""
        client = self._partition.any_slot
        mine = (id(self._partition), threading.get_ident())

        def write(some: Sequence[str]) -> list[Exception]:
            with client.pipeline(transaction=False) as pipe:
                _add(pipe, {key: documents[key] for key in some})
                return _faults(pipe)

        works: dict[Hashable, Callable[[], Any]] = {
            (at, mine): partial(write, some) for at, some in servers.by_server(client, documents).items()
        }
        faults: list[Exception] = []
        for outcome in _PARTS.calls(works).values():
            if outcome is None:
                faults.append(TimeoutError("a node does not answer"))
            elif outcome.fault is not None:
                faults.append(outcome.fault)
            else:
                faults += outcome.value
        return faults


def _add(pipe: Any, documents: Mapping[str, Sequence[bytes]]) -> None:
    for key, of_key in documents.items():
        for document in of_key:
            pipe.lpush(key, document)
            pipe.ltrim(key, 0, _MOST - 1)
            pipe.expire(key, KEPT)


def _faults(pipe: Any) -> list[Exception]:
    return [fault for fault in pipe.execute(raise_on_error=False) if isinstance(fault, Exception)]
