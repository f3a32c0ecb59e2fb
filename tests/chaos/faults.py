"""Every fault by its name: what is done to the system, and for how long by default."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Final, NamedTuple

import redis
from msgspec.json import encode

from producers.events import FIELD
from tests.chaos.crew import COMMANDS, WORKERS
from tests.chaos.others import BLACK_HOLES, NOISY, SILENT, USERS, junk
from tests.chaos.services import KINDS, OAUTH_AWAY, RULES, Service, kind_of
from tests.chaos.several import Clustered, Several
from tests.chaos.system import Engine, System
from tests.chaos.world import Said
from worker.core.outcome import IN_A_ROW
from worker.embedded.valkey import LARGEST_VALUE
from worker.simulator import Script
from worker.simulator.faults import Close
from worker.state.redis import connect

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


def _several(system: System) -> Several:
    assert isinstance(system.hands, Several)
    return system.hands


def _failover(system: System, _seconds: float) -> AbstractContextManager[object]:
    _several(system).fail_over()
    return nullcontext()


def _slot_moved(system: System, _seconds: float) -> AbstractContextManager[object]:
    assert isinstance(system.hands, Clustered)
    system.hands.move_slot()
    return nullcontext()


def _postgres_killed(system: System, _seconds: float) -> AbstractContextManager[object]:
    system.hands.kill("postgres")
    return nullcontext()


def _poison(system: System, _seconds: float) -> AbstractContextManager[object]:
    with connect(system.hands.urls.redis, timeout=20) as client:
        for document in POISON:
            _insist(client, system.inlet(), document)
            system.poisoned += 1
    return nullcontext()


def _insist(client: redis.Redis, stream: str, document: bytes) -> None:
    ends = time.monotonic() + _PATIENCE
    while True:
        try:
            client.xadd(stream, {FIELD: document})
            return
        except redis.RedisError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.2)


def _burst(system: System, _seconds: float) -> AbstractContextManager[object]:
    system.traffic.blast([system.world.say("direct") for _ in range(system.burst)])
    return nullcontext()


class Mistake(NamedTuple):
    """What a service answers to tokens that may be good, and whom it says that of: a way, or None for everybody."""

    reason: str
    way: str | None = None


MISTAKES: Final = {
    "apns_bad_token": Mistake("BadDeviceToken"),
    "fcm_wrong_project": Mistake("SENDER_ID_MISMATCH", "android"),
    "web_other_key": Mistake("VapidKeyMismatch", "web-google"),
}


@contextmanager
def _refused(name: str, system: System, _seconds: float) -> Iterator[None]:
    """A mistake that meets few notifications looks like devices that are gone, so it lasts until it meets more, or none."""
    service, (reason, way) = _service(name, system), MISTAKES[name]
    before, world, apps = service.met(reason), system.world, len(system.world.apps)
    with service.under(name):
        system.traffic.blast([world.say("direct") for _ in range(60 * apps)] if way is None else world.say_to(way))
        yield
        # What a provider that is stopped for another reason meets are probes.
        ends = time.monotonic() + (8.0 if way is None else 20.0)
        while 0 < service.met(reason) - before < 2 * IN_A_ROW * apps and time.monotonic() < ends:
            time.sleep(1.0)
            if way is not None:
                system.traffic.blast(world.say_to(way))


#: Faults of one way, and the way to which a message goes then: something has to be on its way there.
_MET_BY: Final = {
    "fcm_apple_key": "apple",
    "web_503": "web-mozilla",
    "web_hangs": "web-google",
    "web_throttled": "web-microsoft",
    "web_bad_key": "web-apple",
}


def _met(name: str, system: System, _seconds: float) -> AbstractContextManager[object]:
    under = _service(name, system).under(name)
    system.traffic.blast(system.world.say_to(_MET_BY[name]))
    return under


@contextmanager
def _oauth_away(system: System, seconds: float) -> Iterator[None]:
    """Access tokens are worth nothing any more, and where new ones come from is away."""
    control = system.services["fcm"].control
    control.set_oauth(OAUTH_AWAY)
    try:
        with _rules("fcm_oauth_away", system, seconds):
            yield
    finally:
        control.set_oauth(Script())


@contextmanager
def _dead_devices(system: System, _seconds: float) -> Iterator[None]:
    """A list is imported that nobody ever cleaned, and written to twice: where most are gone, the second time retires them."""
    system.traffic.blast(system.world.say_to_list(imported=True))
    yield
    system.traffic.blast(system.world.say_to_list(imported=False))


def _hostile(system: System, _seconds: float) -> AbstractContextManager[object]:
    system.poisoned += system.hostile.speak()
    return nullcontext()


def _blast(system: System, _seconds: float) -> AbstractContextManager[object]:
    system.traffic.blast([system.world.say("blast")])
    return nullcontext()


def _burst_amid_429(system: System, seconds: float) -> AbstractContextManager[object]:
    under = _rules("apns_random_429", system, seconds)
    system.traffic.blast([system.world.say("direct") for _ in range(max(300, system.burst // 5))])
    return under


def _blast_amid_429(system: System, seconds: float) -> AbstractContextManager[object]:
    """As many notifications as a burst has messages, each message to everybody with a device at APNs."""
    under, left = _rules("apns_random_429", system, seconds), max(300, system.burst // 5)
    messages: list[Said] = []
    while left > 0:
        said = system.world.say_to("apns")
        messages += said
        left -= sum(len(one.notified) for one in said)
    system.traffic.blast(messages)
    return under


def _kill_busy(system: System, seconds: float) -> AbstractContextManager[object]:
    _at_full_speed(system)
    return _kill_worker(system, seconds)


def _reset_busy(system: System, _seconds: float) -> AbstractContextManager[object]:
    _at_full_speed(system)
    for service in system.services.values():
        service.control.inflict(Close(abort=True))
    return nullcontext()


def _at_full_speed(system: System) -> None:
    """Returns while the workers send as fast as they can."""
    many = max(300, system.burst // 5)
    system.traffic.blast([system.world.say("direct") for _ in range(many)])
    ends = time.monotonic() + _PATIENCE
    while system.traffic.unconfirmed > many / 2 and time.monotonic() < ends:
        time.sleep(0.01)
    time.sleep(0.2)


def _huge(system: System, _seconds: float) -> AbstractContextManager[object]:
    """Entries that are too large for an event, up to the largest that the engine takes, and one that it refuses."""
    largest, stream = 2_000 * system.burst, system.inlet()
    with connect(system.hands.urls.redis, timeout=30, retries=0) as client:
        for octets in (2_000_000, min(largest, LARGEST_VALUE - 1_000)):
            _insist(client, stream, junk(octets))
            system.poisoned += 1
        if largest > LARGEST_VALUE:
            with suppress(redis.RedisError):
                client.xadd(stream, {FIELD: junk(largest)})
                system.poisoned += 1
    return nullcontext()


def _import(system: System, _seconds: float) -> AbstractContextManager[object]:
    system.others.import_members(50 * system.burst)
    return nullcontext()


def _attributes(system: System, _seconds: float) -> AbstractContextManager[object]:
    system.others.attributes(max(3, system.burst // 400))
    return nullcontext()


def _noise(system: System, _seconds: float) -> AbstractContextManager[object]:
    system.others.noise(system.burst * 3 // 2)
    return nullcontext()


def _no_answer(apps: Sequence[str], system: System, _seconds: float) -> AbstractContextManager[object]:
    system.others.speak(apps, max(5, system.burst // len(apps) // USERS))
    return nullcontext()


def _id_jump(system: System, _seconds: float) -> AbstractContextManager[object]:
    """What a clock that was an hour ahead for a moment leaves behind: every later id has its millisecond."""
    stream = system.inlet()
    with connect(system.hands.urls.redis, timeout=20) as client:
        last = str(client.xinfo_stream(stream)["last-generated-id"].decode())
        milliseconds = int(last.partition("-")[0]) + 3_600_000
        client.xadd(stream, {FIELD: POISON[1]}, id=f"{milliseconds}-{(1 << 20) - 3}")
        system.poisoned += 1
    return nullcontext()


@contextmanager
def _filled(system: System, _seconds: float) -> Iterator[None]:
    """Producers that look at nothing fill Redis; it has to come down by itself before it is given more."""
    stream = system.layout.stream(NOISY)
    with system.hands.limited(8_000_000, NOISY) as limit:
        with connect(system.hands.urls.redis, timeout=20) as client:
            for number in range(200_000):
                try:
                    client.xadd(stream, {FIELD: _noisy(number)})
                except redis.OutOfMemoryError:
                    break
        ends = time.monotonic() + _PATIENCE
        while system.hands.used(NOISY) > limit * 0.8 and time.monotonic() < ends:
            time.sleep(0.2)
        system.stayed_full += system.hands.used(NOISY) > limit * 0.8
        yield


def _noisy(number: int) -> bytes:
    at = datetime.now(UTC).isoformat()
    return encode(
        {
            "v": 1,
            "type": "message.new",
            "id": f"raw-{at}-{number}",
            "app": NOISY,
            "at": at,
            "channel": {"id": "all"},
            "message": {"id": f"raw-{number}", "text": "x" * 400},
            "sender": {"id": "somebody"},
            "recipients": ["nobody"],
        }
    )


def _rules(name: str, system: System, _seconds: float) -> AbstractContextManager[object]:
    return _service(name, system).under(name)


def _refuses(name: str, system: System, seconds: float) -> AbstractContextManager[object]:
    return _service(name, system).refusing(seconds)


def _service(name: str, system: System) -> Service:
    kind = kind_of(name)
    assert kind is not None
    return system.services[kind]


FAULTS: Final[dict[str, Fault]] = {
    "kill_worker": Fault(_kill_worker, 0),
    "kill_beat": Fault(partial(_kill, "beat"), 0),
    "kill_relay": Fault(partial(_kill, "relay"), 0),
    "rolling_restart": Fault(_rolling_restart, 0),
    "redis_killed": Fault(_redis_killed, 0),
    "redis_paused": Fault(lambda system, _: system.hands.paused("valkey"), 30, 5),
    "redis_full": Fault(lambda system, _: system.hands.full(), 15, 4),
    "redis_primary_killed": Fault(lambda system, _: _several(system).primary_killed(), 15, 3),
    "redis_failover": Fault(_failover, 0),
    "redis_slot_moved": Fault(_slot_moved, 0),
    "postgres_killed": Fault(_postgres_killed, 0),
    "postgres_paused": Fault(lambda system, _: system.hands.paused("postgres"), 30, 5),
    "postgres_out_of_connections": Fault(lambda system, _: system.hands.no_connections(), 15, 4),
    **{f"{kind}_refuses": Fault(partial(_refuses, f"{kind}_refuses"), 10, 2) for kind in KINDS},
    **{name: Fault(partial(_rules, name), 10, 2) for name in RULES},
    **{name: Fault(partial(_met, name), 10, 2) for name in _MET_BY},
    **{name: Fault(partial(_refused, name), 10, 2) for name in MISTAKES},
    "fcm_oauth_away": Fault(_oauth_away, 120, 4),
    "fcm_quota": Fault(partial(_rules, "fcm_quota"), 20, 2),
    "dead_devices": Fault(_dead_devices, 5, 2),
    "hostile_subscriptions": Fault(_hostile, 0),
    "apns_503": Fault(partial(_rules, "apns_503"), 60, 2),
    "apns_slow": Fault(partial(_rules, "apns_slow"), 20, 2),
    "poison": Fault(_poison, 0),
    "redis_filled": Fault(_filled, 0),
    "id_jump": Fault(_id_jump, 0),
    "huge_entry": Fault(_huge, 0),
    "import": Fault(_import, 0),
    "wide_attributes": Fault(_attributes, 0),
    "noisy_app": Fault(_noise, 0),
    "silent_webhooks": Fault(partial(_no_answer, SILENT), 0),
    "black_holes": Fault(partial(_no_answer, BLACK_HOLES), 0),
    "kill_at_full_speed": Fault(_kill_busy, 0),
    "reset_at_full_speed": Fault(_reset_busy, 0),
    "burst_amid_429": Fault(_burst_amid_429, 20, 5),
    "blast_amid_429": Fault(_blast_amid_429, 20, 5),
    "burst": Fault(_burst, 0),
    "blast": Fault(_blast, 0),
}
#: What only some engines can be done to.
ENGINES: Final[dict[str, tuple[Engine, ...]]] = {
    "redis_primary_killed": ("cluster", "sentinel"),
    "redis_failover": ("cluster", "sentinel"),
    "redis_slot_moved": ("cluster",),
}
#: Failovers by which nothing may be lost, and moves of slots.
PLANNED: Final = ("redis_failover", "redis_slot_moved")
#: These take the machine for themselves, so that others would measure nothing.
ALONE_ONLY: Final = ("burst", "blast", "burst_amid_429", "blast_amid_429", "import", "noisy_app", "wide_attributes")
#: Another app's load, during which this one's messages are looked at.
BY_OTHERS: Final = ("import", "noisy_app", "wide_attributes", "huge_entry", "silent_webhooks", "black_holes")
KILLS: Final = ("kill_worker", "kill_beat", "kill_relay")


def faults_of(engine: Engine) -> list[str]:
    """The faults that can befall it."""
    return [name for name in FAULTS if engine in ENGINES.get(name, (engine,))]
