"""Real worker processes, beat and an APNs simulator on a test's engines."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography.fernet import Fernet

from producers import Publisher
from tests.integration.pipeline.keys import new_key
from tests.processes import PATIENCE
from worker.core.model import AppSettings, Provider
from worker.database.ledger import Ledger
from worker.database.postgres import open_pool
from worker.database.registry import Registry
from worker.providers import kinds
from worker.providers.apns.settings import ApnsSettings, Key
from worker.simulator import Settings, SimulatorThread
from worker.state.journal import Journal
from worker.state.partition import untagged
from worker.state.redis import connect

TOPIC = "io.carillon.demo"


class Fleet:
    """One app `demo` whose provider points at the simulator; workers are started and stopped by the test."""

    def __init__(self, postgres_url: str, redis_url: str, logs: Path, **environment: str) -> None:
        key = Fernet.generate_key().decode()
        self.redis, self.pool = connect(redis_url), open_pool(postgres_url, size=2)
        self.journal, self.ledger = Journal(untagged(self.redis), lease=15), Ledger(self.pool)
        self.registry = Registry(self.pool, [key], kinds)
        self.publisher = Publisher(redis_url)
        self.simulator = SimulatorThread(Settings(topics=(TOPIC,)))
        self.processes: list[subprocess.Popen[bytes]] = []
        self._logs = logs
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("CARILLON_")},
            "CARILLON_REDIS_URL": redis_url,
            "CARILLON_POSTGRES_URL": postgres_url,
            "CARILLON_SECRET_KEYS": key,
            **environment,
        }

    def __enter__(self) -> Self:
        self.simulator.start()
        self.registry.save_app(AppSettings("demo"))
        settings = ApnsSettings(
            TOPIC,
            Key("TEAM123456", "KEY1234567", new_key()),
            self.simulator.host,
            self.simulator.port,
            self.simulator.ca_pem,
        )
        self.registry.save_provider(Provider(0, "demo", "apns", "production", settings))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
        self.publisher.close()
        self.simulator.stop()
        self.pool.close()
        self.redis.close()

    def start(self, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        """`carillon COMMAND`, with these variables, and its output in a file of its own."""
        log = (self._logs / f"{len(self.processes)}-{command[0]}.log").open("wb")
        with log:
            process = subprocess.Popen(
                [sys.executable, "-m", "worker.cli", *command],
                env=self.environment | environment,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def output(self) -> str:
        return "".join(path.read_text() for path in sorted(self._logs.iterdir()))

    def stop(self, process: subprocess.Popen[bytes]) -> int:
        process.send_signal(signal.SIGTERM)
        return process.wait(PATIENCE)

    def idle(self) -> bool:
        return self.journal.backlog() == (0, 0)
