"""The real system for a chaos run: engines of its own, workers, beat, an outbox relay, simulators of all kinds."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

import psycopg
from cryptography.fernet import Fernet

from tests.chaos import hostile
from tests.chaos.crew import WORKERS, Crew
from tests.chaos.engines import Hands
from tests.chaos.hostile import Hostile, Trap, trap
from tests.chaos.others import Others, black_hole, set_up, silent_host
from tests.chaos.providers import new_credentials, providers_at, simulators, subscribing
from tests.chaos.services import Service
from tests.chaos.traffic import Traffic
from tests.chaos.world import APP, ONLINE_DELAY, World
from tests.programs import pgbouncer
from worker.core.attention import Attention
from worker.core.model import AppSettings
from worker.database.migrate import migrate
from worker.database.postgres import open_pool
from worker.database.registry import Registry
from worker.embedded import Engines
from worker.providers import kinds
from worker.simulator import Answer, SimulatorProcess
from worker.state.deferred import DeferredDevices
from worker.state.journal import Journal
from worker.state.partition import untagged
from worker.state.redis import connect

#: Seconds for everybody to come up and for the world to be known.
START: Final = 120.0
#: What is said of a dead device, by kind.
_DEAD: Final = {"apns": "Unregistered", "fcm": "UNREGISTERED", "web": "NotRegistered"}


@dataclass
class System:
    """Everything a fault may lay hands on."""

    crew: Crew
    hands: Hands
    #: By kind.
    services: dict[str, Service]
    simulator: SimulatorProcess
    world: World
    traffic: Traffic
    others: Others
    hostile: Hostile
    trap: Trap
    journal: Journal
    deferred: DeferredDevices
    random: Random
    #: What `burst` publishes at once.
    burst: int
    #: Documents that were published though nothing can be made of them.
    poisoned: int = 0
    #: Deployments in which a process did not end by itself.
    hung: int = 0
    #: Times that a full Redis had not come down by itself.
    stayed_full: int = 0

    @property
    def postgres_url(self) -> str:
        return self.hands.urls.postgres

    def idle(self) -> bool:
        """Nothing is on its way any more."""
        with psycopg.connect(self.postgres_url, connect_timeout=5) as db:
            row = db.execute("SELECT count(*) FROM carillon.outbox").fetchone()
        idle = self.journal.backlog() == (0, 0) and not self.deferred.waiting()
        return not self.traffic.unconfirmed and row == (0,) and idle


SETTINGS: Final = AppSettings(
    APP,
    member_cap=None,
    registration_rate=None,
    attention=Attention(online_delay=ONLINE_DELAY, present="active", sound_every=15),
)


@contextmanager
def running(
    directory: Path, *, seed: int, rate: float, blast: int, burst: int, pooler: bool = False
) -> Iterator[System]:
    """Everything is up inside the block, and nothing after it. With `pooler` every worker reaches Postgres through PgBouncer."""
    random = Random(seed)
    with ExitStack() as stack:
        engines = Engines(directory / "engines")
        stack.callback(engines.stop)
        urls = engines.start()
        migrate(urls.postgres)
        credentials, secret = new_credentials(), Fernet.generate_key().decode()
        simulator = stack.enter_context(simulators(credentials, seed))
        pool, redis = open_pool(urls.postgres, size=2), connect(urls.redis)
        stack.callback(pool.close)
        stack.callback(redis.close)
        registry = Registry(pool, [secret], kinds)
        registry.save_app(SETTINGS)
        apns, fcm, web = providers_at(credentials, simulator.host, simulator.ports, simulator.ca_pem)
        for provider in (apns, fcm, web):
            registry.save_provider(provider)
        set_up(registry, apns, stack.enter_context(silent_host()), stack.enter_context(black_hole()))
        hostile.set_up(registry, web)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("CARILLON_")} | {
            "CARILLON_REDIS_URL": urls.redis,
            "CARILLON_POSTGRES_URL": stack.enter_context(pgbouncer(urls.postgres, directory))
            if pooler
            else urls.postgres,
            "CARILLON_SECRET_KEYS": secret,
            "CARILLON_WEBHOOK_ALLOW": "127.0.0.0/8",
            "CARILLON_WEB_HOSTS": hostile.ALLOWED,
        }
        crew = Crew(directory / "logs", environ)
        stack.callback(crew.stop)
        crew.start()
        subscribe = subscribing(credentials.web.public, seed)
        world = World(random, blast, max(100, burst // 5), subscribe)
        traffic = Traffic(world, urls.redis, urls.postgres, rate=rate, outbox=0.2, seed=seed)
        stack.callback(traffic.stop)
        others = Others(urls.redis)
        stack.callback(others.close)
        caught = stack.enter_context(trap())
        guests = Hostile(urls.redis, subscribe, caught.port)
        stack.callback(guests.close)
        services = _services(simulator, world, guests)
        hands, partition = Hands(directory / "engines", urls), untagged(redis)
        system = System(
            *(crew, hands, services, simulator, world, traffic, others, guests, caught),
            *(Journal(partition, lease=8), DeferredDevices(partition), random, burst),
        )
        traffic.introduce()
        others.introduce()
        await_true(lambda: known(system) == len(world.users) and system.idle(), START, "the world to be known")
        traffic.start()
        await_true(lambda: all(crew.worked[name] for name in WORKERS), START, "every worker to work")
        yield system


def _services(simulator: SimulatorProcess, world: World, guests: Hostile) -> dict[str, Service]:
    answers = {kind: {token: Answer(reason) for token in world.dead[kind]} for kind, reason in _DEAD.items()}
    answers["web"] |= guests.answers
    return {kind: Service(control, answers[kind]) for kind, control in simulator.controls.items()}


def known(system: System) -> int:
    """Phones that are registered."""
    with psycopg.connect(system.postgres_url, connect_timeout=5) as db:
        row = db.execute("SELECT count(*) FROM carillon.devices WHERE app = %s AND active", (APP,)).fetchone()
    return 0 if row is None else int(row[0])


def await_true(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Returns once it holds. Raises TimeoutError."""
    ends = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends:
            raise TimeoutError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.1)
