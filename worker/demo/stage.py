"""Sets up the whole system for a demo and takes it down again: engines, schema, simulators, app, processes."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from config.settings import Settings, load, variable
from producers.publisher import Publisher
from worker.core.attention import Attention
from worker.core.model import AppSettings
from worker.database import delete_app
from worker.database.migrate import migrate
from worker.database.postgres import transaction
from worker.demo.crew import DemoCrew
from worker.demo.services.apns import Apns
from worker.demo.services.base import Service, save_app
from worker.demo.services.fcm import Fcm
from worker.demo.services.web import Web
from worker.demo.world import MAX_AGE, World
from worker.embedded import engines
from worker.pipeline.forgetting import delete_app_data
from worker.process.runtime import Runtime
from worker.simulator import Script, SimulatorProcess
from worker.state import layout
from worker.state.redis import connect

#: As the guide recommends: seconds after which who is at a desktop is looked at again, and in which a channel sounds once.
ONLINE_DELAY: Final = 30
SOUND_EVERY: Final = 15

Say = Callable[[str], None]


@dataclass(frozen=True)
class Stage:
    """The running system."""

    runtime: Runtime
    services: Sequence[Service]
    simulators: SimulatorProcess
    crew: DemoCrew
    publisher: Publisher
    logs: Path


@contextmanager
def home(*, keep: bool) -> Iterator[tuple[Path, Settings, dict[str, str]]]:
    """A data directory of the demo's own, the settings that go with it, and the environment that says the same."""
    directory = Path(tempfile.mkdtemp(prefix="carillon-demo-"))
    environ = os.environ | {variable("data_dir"): str(directory)}
    try:
        # The database runs as another user where the demo runs as root.
        directory.chmod(0o711)
        yield directory, load(environ), environ
    finally:
        if not keep:
            shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def stage(
    world: World,
    settings: Settings,
    environ: dict[str, str],
    *,
    workers: int,
    seed: int,
    scripts: Mapping[str, Script],
    keep: bool,
    say: Say,
) -> Iterator[Stage]:
    """Everything is running inside the block, and nothing after it."""
    with ExitStack() as stack:
        urls = stack.enter_context(engines(settings))
        say(
            "PostgreSQL and Valkey are running" if settings.embedded else "PostgreSQL and Redis are the configured ones"
        )
        applied = migrate(urls.postgres)
        with connect(urls.redis) as client:  # before anything is published
            layout.agree(client, settings.partitions)
        say(f"schema brought up to date, {len(applied)} migrations" if applied else "schema is up to date")
        logs = settings.data_dir / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        crew = DemoCrew(logs, environ, workers=workers)
        stack.callback(crew.stop)
        crew.start()
        say(f"starting {workers} urgent worker{'s' * (workers > 1)}, a bulk worker, beat and Flower")
        services = (Apns(), Fcm(), Web(seed))
        settings_of = [one.simulator(one.script(world.devices, scripts.get(one.kind)), seed) for one in services]
        simulators = stack.enter_context(SimulatorProcess(*settings_of))
        ports = ", ".join(map(str, simulators.ports.values()))
        say(f"simulators of APNs, FCM and Web Push listen on ports {ports}")
        runtime = Runtime(settings, urls)
        stack.callback(runtime.close)
        attention = Attention(online_delay=ONLINE_DELAY, present="active", sound_every=SOUND_EVERY)
        app = AppSettings(world.app, member_cap=world.member_cap, max_age=MAX_AGE, attention=attention)
        save_app(runtime.registry, app, services, simulators)
        say(f"app {world.app!r} has a provider of each kind, with keys of its own")
        if not settings.embedded and not keep:
            stack.callback(forget, runtime, world.app)
            stack.callback(crew.stop)  # before that
        publisher = stack.enter_context(Publisher(urls.redis, timeout=20))
        yield Stage(runtime, services, simulators, crew, publisher, logs)


def forget(runtime: Runtime, app: str) -> None:
    """Leaves nothing of the demo in engines that are not its own. No worker may run."""
    with transaction(runtime.pool) as db:
        providers = delete_app.delete_settings(db, app)
    delete_app_data(runtime.pool, runtime.keyspace, app, providers)
