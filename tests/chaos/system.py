"""The real system for a chaos run: engines of its own, workers, beat, an outbox relay, an APNs simulator."""

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

from tests.chaos.apns import Apns
from tests.chaos.crew import WORKERS, Crew
from tests.chaos.engines import Hands
from tests.chaos.others import Others, black_hole, set_up, silent_host
from tests.chaos.traffic import Traffic
from tests.chaos.world import APP, World
from tests.programs import pgbouncer
from worker.core.model import AppSettings, Provider
from worker.database.migrate import migrate
from worker.database.postgres import open_pool
from worker.database.registry import Registry
from worker.demo.services.apns import KEY_ID, TEAM_ID, TOPIC, new_key
from worker.embedded import Engines
from worker.providers import kinds
from worker.providers.apns.settings import ApnsSettings
from worker.providers.apns.settings import Key as SigningKey
from worker.simulator import Key, Settings, SimulatorProcess
from worker.state.deferred import DeferredDevices
from worker.state.journal import Journal
from worker.state.redis import connect

#: Seconds for everybody to come up and for the world to be known.
START: Final = 120.0


@dataclass
class System:
    """Everything a fault may lay hands on."""

    crew: Crew
    hands: Hands
    apns: Apns
    simulator: SimulatorProcess
    world: World
    traffic: Traffic
    others: Others
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
        key, secret = new_key(), Fernet.generate_key().decode()
        simulator = stack.enter_context(
            SimulatorProcess(
                Settings(
                    keys=(Key(KEY_ID, TEAM_ID, key),),
                    topics=(TOPIC,),
                    record="full",
                    record_limit=5_000_000,
                    bad_tokens=None,
                    seed=seed,
                )
            )
        )
        pool, redis = open_pool(urls.postgres, size=2), connect(urls.redis)
        stack.callback(pool.close)
        stack.callback(redis.close)
        registry = Registry(pool, [secret], kinds)
        registry.save_app(AppSettings(APP, member_cap=None, registration_rate=None))
        settings = ApnsSettings(
            TOPIC, SigningKey(TEAM_ID, KEY_ID, key), simulator.host, simulator.port, simulator.ca_pem
        )
        provider = Provider(0, APP, "apns", "production", settings)
        registry.save_provider(provider)
        set_up(registry, provider, stack.enter_context(silent_host()), stack.enter_context(black_hole()))
        environ = {name: value for name, value in os.environ.items() if not name.startswith("CARILLON_")} | {
            "CARILLON_REDIS_URL": urls.redis,
            "CARILLON_POSTGRES_URL": stack.enter_context(pgbouncer(urls.postgres, directory))
            if pooler
            else urls.postgres,
            "CARILLON_SECRET_KEYS": secret,
            "CARILLON_WEBHOOK_ALLOW": "127.0.0.0/8",
        }
        crew = Crew(directory / "logs", environ)
        stack.callback(crew.stop)
        crew.start()
        world = World(random, blast)
        traffic = Traffic(world, urls.redis, urls.postgres, rate=rate, outbox=0.2, seed=seed)
        stack.callback(traffic.stop)
        others = Others(urls.redis)
        stack.callback(others.close)
        apns, hands = Apns(simulator.control), Hands(directory / "engines", urls)
        journal, deferred = Journal(redis, lease=8), DeferredDevices(redis)
        system = System(crew, hands, apns, simulator, world, traffic, others, journal, deferred, random, burst)
        traffic.introduce()
        others.introduce()
        await_true(lambda: known(system) == len(world.users) and system.idle(), START, "the world to be known")
        traffic.start()
        await_true(lambda: all(crew.worked[name] for name in WORKERS), START, "every worker to work")
        yield system


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
