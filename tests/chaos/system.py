"""The real system for a chaos run: engines of its own, workers, beat, an outbox relay, simulators of all kinds."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Final, Literal

import msgspec
import psycopg
from cryptography.fernet import Fernet

from producers.partitions import LAYOUT_KEY, Layout, encoded
from tests.chaos import hostile, several
from tests.chaos.account import Failover
from tests.chaos.crew import WORKERS, Crew
from tests.chaos.engines import Hands
from tests.chaos.hostile import Hostile, Trap, trap
from tests.chaos.others import Others, black_hole, set_up, silent_host
from tests.chaos.providers import new_credentials, providers_at, simulators, subscribing
from tests.chaos.services import Service
from tests.chaos.several import Owners, Several
from tests.chaos.traffic import Traffic
from tests.chaos.world import APP, ONLINE_DELAY, World, apps_of
from tests.programs import pgbouncer
from worker.core.attention import Attention
from worker.core.model import AppSettings, Provider
from worker.database.migrate import migrate
from worker.database.postgres import open_pool
from worker.database.registry import Registry
from worker.embedded import Engines, Urls
from worker.providers import kinds
from worker.simulator import Answer, SimulatorProcess
from worker.state import layout
from worker.state.deferred import DeferredDevices
from worker.state.journal import Journal
from worker.state.partition import Keyspace
from worker.state.redis import connect

#: How Redis is run.
Engine = Literal["single", "cluster", "sentinel"]

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
    #: Of each partition.
    journals: Sequence[Journal]
    deferred: Sequence[DeferredDevices]
    layout: Layout
    #: Notes failovers; None: there is one server.
    owners: Owners | None
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

    def inlet(self) -> str:
        """The stream of any of the partitions."""
        return self.layout.stream(self.random.choice(self.world.apps))

    def counts(self) -> Counter[str]:
        """Totals of the world's apps, by counter."""
        total: Counter[str] = Counter()
        for app in self.world.apps:
            for journal in self.journals:
                total.update(journal.counts(app))
        return total

    @property
    def failovers(self) -> list[Failover]:
        return [] if self.owners is None else self.owners.failovers

    def idle(self) -> bool:
        """Nothing is on its way any more."""
        return not any(self.on_its_way().values())

    def on_its_way(self) -> dict[str, int]:
        """How many of what is not done yet. Raises psycopg.Error and redis.RedisError where an engine is away."""
        with psycopg.connect(self.postgres_url, connect_timeout=5) as db:
            row = db.execute("SELECT count(*) FROM carillon.outbox").fetchone()
        backlogs = [one.backlog() for one in self.journals]
        return {
            "not confirmed": self.traffic.unconfirmed,
            "rows of the outbox": 0 if row is None else int(row[0]),
            "entries": sum(entries for entries, _ in backlogs),
            "open and due": sum(due for _, due in backlogs),
            "partitions with devices to be retired": sum(one.waiting() for one in self.deferred),
        }


def settings_of(app: str) -> AppSettings:
    return AppSettings(
        app,
        member_cap=None,
        registration_rate=None,
        attention=Attention(online_delay=ONLINE_DELAY, present="active", sound_every=15),
    )


@contextmanager
def running(
    directory: Path,
    *,
    seed: int,
    rate: float,
    blast: int,
    burst: int,
    pooler: bool = False,
    engine: Engine = "single",
    partitions: int = 1,
    spread: bool = False,
) -> Iterator[System]:
    """Everything is up inside the block, and nothing after it. With `pooler` every worker reaches Postgres through PgBouncer.

    Each partition has an app, or with `spread` there is one, whose channels are in all of them.

    On several servers the embedded Valkey is the broker of a cluster, and idle where there are Sentinels.
    """
    random = Random(seed)
    with ExitStack() as stack:
        engines = Engines(directory / "engines")
        stack.callback(engines.stop)
        embedded = engines.start()
        hands = stack.enter_context(_hands(engine, partitions, directory, embedded, seed, spread=spread))
        urls = hands.urls
        migrate(urls.postgres)
        credentials, secret = new_credentials(), Fernet.generate_key().decode()
        simulator = stack.enter_context(simulators(credentials, seed))
        pool, redis = open_pool(urls.postgres, size=2), connect(urls.redis)
        stack.callback(pool.close)
        stack.callback(redis.close)
        registry = Registry(pool, [secret], kinds)
        keyspace = Keyspace(redis)
        apps = [APP] if spread else apps_of(keyspace.layout)
        providers = providers_at(credentials, simulator.host, simulator.ports, simulator.ca_pem)
        _register(registry, apps, providers, stack.enter_context(silent_host()), stack.enter_context(black_hole()))
        postgres_url = stack.enter_context(pgbouncer(urls.postgres, directory)) if pooler else urls.postgres
        broker = {"CARILLON_BROKER_URL": embedded.redis} if engine == "cluster" else {}
        crew = Crew(directory / "logs", _environ(urls.redis, postgres_url, secret, partitions) | broker)
        stack.callback(crew.stop)
        crew.start()
        subscribe = subscribing(credentials.web.public, seed)
        world = World(random, blast, max(100, burst // 5), subscribe, apps)
        traffic = Traffic(world, urls.redis, urls.postgres, rate=rate, outbox=0.2, seed=seed)
        stack.callback(traffic.stop)
        others, caught = stack.enter_context(closing(Others(urls.redis))), stack.enter_context(trap())
        guests = stack.enter_context(closing(Hostile(urls.redis, subscribe, caught.port)))
        services = _services(simulator, world, guests)
        owners = stack.enter_context(Owners(hands)) if isinstance(hands, Several) else None
        system = System(
            *(crew, hands, services, simulator, world, traffic, others, guests, caught),
            [Journal(one, lease=8) for one in keyspace],
            [DeferredDevices(one) for one in keyspace],
            *(keyspace.layout, owners, random, burst),
        )
        traffic.introduce()
        others.introduce()
        await_true(lambda: known(system) == len(world.users) and system.idle(), START, "the world to be known")
        traffic.start()
        await_true(lambda: all(crew.worked[name] for name in WORKERS), START, "every worker to work")
        yield system


def _environ(redis_url: str, postgres_url: str, secret: str, partitions: int) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("CARILLON_")} | {
        "CARILLON_REDIS_URL": redis_url,
        "CARILLON_POSTGRES_URL": postgres_url,
        "CARILLON_SECRET_KEYS": secret,
        "CARILLON_WEBHOOK_ALLOW": "127.0.0.0/8",
        "CARILLON_WEB_HOSTS": hostile.ALLOWED,
        "CARILLON_PARTITIONS": str(partitions),
    }


def _register(registry: Registry, apps: Sequence[str], providers: Sequence[Provider], silent: int, hole: int) -> None:
    """The apps, and those that are in their way; `silent` and `hole` are ports."""
    for app in apps:
        registry.save_app(settings_of(app))
        for provider in providers:
            registry.save_provider(replace(provider, app=app))
    apns, _, web = providers
    set_up(registry, apns, silent, hole)
    hostile.set_up(registry, web)


def _hands(
    engine: Engine, partitions: int, directory: Path, embedded: Urls, seed: int, *, spread: bool
) -> AbstractContextManager[Hands]:
    """The engines, with the layout in Redis."""

    def agree(url: str) -> Layout:
        with connect(url) as client:
            found = layout.agree(client, partitions)
            if spread:
                found = msgspec.structs.replace(found, spread=frozenset({APP}))
                client.set(LAYOUT_KEY, encoded(found))
            return found

    if engine == "single":
        agree(embedded.redis)
        return nullcontext(Hands(directory / "engines", embedded))
    make = several.cluster if engine == "cluster" else several.sentinel
    return make(directory / "engines", embedded.postgres, directory / engine, agree, Random(seed))


def _services(simulator: SimulatorProcess, world: World, guests: Hostile) -> dict[str, Service]:
    answers = {kind: {token: Answer(reason) for token in world.dead[kind]} for kind, reason in _DEAD.items()}
    answers["web"] |= guests.answers
    return {kind: Service(control, answers[kind]) for kind, control in simulator.controls.items()}


def known(system: System) -> int:
    """Phones of the world that are registered."""
    with psycopg.connect(system.postgres_url, connect_timeout=5) as db:
        row = db.execute(
            "SELECT count(*) FROM carillon.devices WHERE app = ANY(%s) AND active", (system.world.apps,)
        ).fetchone()
    return 0 if row is None else int(row[0])


def await_true(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Returns once it holds. Raises TimeoutError."""
    ends = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends:
            raise TimeoutError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.1)
