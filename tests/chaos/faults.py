"""Every fault by its name: what is done to the system, and for how long by default."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Final, NamedTuple

import redis

from producers.events import FIELD, STREAM
from tests.chaos.apns import RULES
from tests.chaos.crew import COMMANDS, WORKERS
from tests.chaos.system import System

#: Documents of which nothing can be made: no JSON, no event, an event of nobody's, one with a field too many, none at all.
POISON: Final = (
    b"\xff\xfe not json",
    b"{}",
    b'{"v":1,"type":"message.new","id":"p1","app":"chaos","at":"2026-11-21T20:00:00Z"}',
    b'{"v":1,"type":"badge.cleared","id":"p2","app":"nobody","at":"2026-11-21T20:00:00Z","user":"u1"}',
    b'{"v":1,"type":"badge.cleared","id":"p3","app":"chaos","at":"2026-11-21T20:00:00Z","user":"u1","x":1}',
    b'{"v":1,"type":"badge.cleared","id":"p4","app":"chaos","at":"2026-11-21T20:00:00Z","user":"\\u0000"}',
    b"[" * 5000,
    b"",
)
#: Seconds between the restarts of a deployment.
_STEP: Final = 1.0
#: Seconds for which a document is offered to a Redis that is away.
_PATIENCE: Final = 60.0

#: Does it to the system; in force until the block ends. The number is the seconds it is meant to last.
Act = Callable[[System, float], AbstractContextManager[object]]


class Fault(NamedTuple):
    act: Act
    #: Of a long run, and of a short one; 0: it is over as soon as it is done.
    seconds: float
    short: float = 0.0


def _kill_worker(system: System, _seconds: float) -> AbstractContextManager[object]:
    system.crew.kill(system.random.choice(WORKERS))
    return nullcontext()


def _kill(name: str, system: System, _seconds: float) -> AbstractContextManager[object]:
    system.crew.kill(name)
    return nullcontext()


def _rolling_restart(system: System, _seconds: float) -> AbstractContextManager[object]:
    for name in COMMANDS:
        system.hung += not system.crew.restart(name)
        time.sleep(_STEP)
    return nullcontext()


def _redis_killed(system: System, _seconds: float) -> AbstractContextManager[object]:
    system.hands.kill("valkey")
    return nullcontext()


def _postgres_killed(system: System, _seconds: float) -> AbstractContextManager[object]:
    system.hands.kill("postgres")
    return nullcontext()


def _poison(system: System, _seconds: float) -> AbstractContextManager[object]:
    with redis.Redis.from_url(system.hands.urls.redis, socket_timeout=20) as client:
        for document in POISON:
            _insist(client, document)
            system.poisoned += 1
    return nullcontext()


def _insist(client: redis.Redis, document: bytes) -> None:
    ends = time.monotonic() + _PATIENCE
    while True:
        try:
            client.xadd(STREAM, {FIELD: document})
            return
        except redis.RedisError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.2)


def _burst(system: System, _seconds: float) -> AbstractContextManager[object]:
    system.traffic.blast([system.world.say("direct") for _ in range(system.burst)])
    return nullcontext()


def _blast(system: System, _seconds: float) -> AbstractContextManager[object]:
    system.traffic.blast([system.world.say("blast")])
    return nullcontext()


def _rules(name: str, system: System, _seconds: float) -> AbstractContextManager[object]:
    return system.apns.under(name)


FAULTS: Final[dict[str, Fault]] = {
    "kill_worker": Fault(_kill_worker, 0),
    "kill_beat": Fault(partial(_kill, "beat"), 0),
    "kill_relay": Fault(partial(_kill, "relay"), 0),
    "rolling_restart": Fault(_rolling_restart, 0),
    "redis_killed": Fault(_redis_killed, 0),
    "redis_paused": Fault(lambda system, _: system.hands.paused("valkey"), 30, 5),
    "redis_full": Fault(lambda system, _: system.hands.full(), 15, 4),
    "postgres_killed": Fault(_postgres_killed, 0),
    "postgres_paused": Fault(lambda system, _: system.hands.paused("postgres"), 30, 5),
    "postgres_out_of_connections": Fault(lambda system, _: system.hands.no_connections(), 15, 4),
    "apns_refuses": Fault(lambda system, seconds: system.apns.refusing(seconds), 10, 2),
    **{name: Fault(partial(_rules, name), 10, 2) for name in RULES},
    "apns_503": Fault(partial(_rules, "apns_503"), 60, 2),
    "apns_slow": Fault(partial(_rules, "apns_slow"), 20, 2),
    "poison": Fault(_poison, 0),
    "burst": Fault(_burst, 0),
    "blast": Fault(_blast, 0),
}
#: These take the machine for themselves, so that others would measure nothing.
ALONE_ONLY: Final = ("burst", "blast")
KILLS: Final = ("kill_worker", "kill_beat", "kill_relay")
