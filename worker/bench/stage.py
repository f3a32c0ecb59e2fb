"""The system that `carillon bench` measures: embedded engines of its own, workers, simulators, and an app with people."""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil

from config.settings import load, variable
from producers import events
from producers.publisher import Publisher
from worker.core.model import AppSettings
from worker.database.migrate import migrate
from worker.demo.crew import Crew
from worker.demo.services.apns import Apns
from worker.demo.services.base import Service, save_app
from worker.demo.services.fcm import Fcm
from worker.demo.services.web import Web
from worker.embedded import Engines
from worker.embedded.home import Home
from worker.process.runtime import Runtime
from worker.simulator import SimulatorProcess
from worker.simulator.settings import CommonSettings
from worker.simulator.web.subscriptions import Wish

APP: Final = "bench"
#: Channels of each sort, and of conversations of two: so many that hardly a message waits for an earlier one of its conversation.
#: An app may register few more devices at once.
CHANNELS: Final = 50
CONVERSATIONS: Final = 800
MEMBERS: Final = 50
#: Worker processes, and tasks at once in each.
PROCESSES: Final = 2
THREADS: Final = 8
#: Seconds that the system has to take what it is given.
PATIENCE: Final = 60.0
_PLATFORMS: Final = {"apns": "ios", "fcm": "android", "web": "web"}
_PART: Final = 500


class StalledError(RuntimeError):
    """The system does not take what is published; the text has its last words."""


@dataclass(frozen=True)
class Stage:
    """The running system."""

    runtime: Runtime
    publisher: Publisher
    simulators: SimulatorProcess
    crew: Crew
    directory: Path

    def accepted(self) -> int:
        """Pushes that the simulators accepted so far."""
        return sum(int(control.counts()["accepted"]) for control in self.simulators.controls.values())

    def waiting(self) -> int:
        """Events on the streams."""
        return sum(of.journal.backlog()[0] for of in self.runtime.partitions)

    def until(self, most: int) -> None:
        """Returns when no more events than this are waiting. Raises `StalledError`."""
        self._until(lambda: self.waiting() <= most)

    def until_idle(self) -> None:
        """Returns when nothing is waiting and everything is in the ledger, which is written each second."""
        self._until(
            lambda: (
                not self.waiting()
                and not any(of.partition.redis.exists(of.partition.keys.ACCOUNTS()) for of in self.runtime.partitions)
            )
        )

    def _until(self, condition: Callable[[], bool]) -> None:
        ends = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > ends:
                raise StalledError(f"the workers do not take what is published\n{self.crew.last_words()}")
            time.sleep(0.01)

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far: of workers and engines, of what only measures, and of the whole machine."""
        notes = Home.at(self.directory).pids
        found = {
            name: cpu_seconds([int((notes / note).read_text().split()[0])])
            for name, note in {"postgres": "postgres", "redis": "valkey"}.items()
        }
        own, machine = os.times(), psutil.cpu_times()
        busy = sum(machine) - machine.idle - getattr(machine, "iowait", 0.0)
        # A guest's time is in the user's as well.
        busy -= getattr(machine, "guest", 0.0) + getattr(machine, "guest_nice", 0.0)
        return found | {
            "worker": cpu_seconds(self.crew.pids),
            "simulator": cpu_seconds([self.simulators.pid]),
            "publisher": own.user + own.system,
            "machine": busy,
        }


def cpu_seconds(pids: Sequence[int]) -> float:
    """CPU seconds so far of processes, the children that they have and those that they had."""
    total = 0.0
    for pid in pids:
        try:
            parent = psutil.Process(pid)
            family = [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
        for process in family:
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system + times.children_user + times.children_system
    return total


@contextmanager
def stage(processes: int = PROCESSES) -> Iterator[Stage]:
    """Everything runs inside the block, and nothing is left after it. No setting of the environment counts."""
    with ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="carillon-bench-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        # The database runs as another user where this runs as root.
        directory.chmod(0o711)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("CARILLON_")}
        environ |= {variable("data_dir"): str(directory), variable("log_level"): "WARNING"}
        engines = Engines(directory)
        urls = engines.start()
        stack.callback(engines.stop)
        migrate(urls.postgres)
        services = (Apns(), Fcm(), Web(1))
        simulators = stack.enter_context(SimulatorProcess(*(_counting(one) for one in services)))
        runtime = Runtime(load(environ), urls)
        stack.callback(runtime.close)
        save_app(runtime.registry, AppSettings(APP), services, simulators)
        worker = ("worker", "--concurrency", str(THREADS))
        crew = Crew(environ, {f"n{number}": [*worker, "--name", f"n{number}"] for number in range(processes)})
        stack.callback(crew.stop)
        crew.start()
        publisher = stack.enter_context(Publisher(urls.redis, timeout=20))
        place = Stage(runtime, publisher, simulators, crew, directory)
        keys_of = {provider.kind: provider for provider in runtime.registry.providers().values()}
        _publish_people(place, keys_of["web"].settings.public_key)
        yield place


def _counting(service: Service) -> CommonSettings:
    settings = service.simulator(service.script(()), seed=1)
    return msgspec.structs.replace(
        settings, record="counters", **({"decrypt_every": 0} if service.kind == "web" else {})
    )


def channel_of(sort: str, number: int) -> str:
    return f"{sort}:{number}"


def members_of(sort: str, number: int, size: int) -> list[str]:
    return [f"{sort}-{number}-{n}" for n in range(size)]


def _publish_people(place: Stage, public_key: str) -> None:
    """Channels of each kind of provider and of none, conversations with a device and without, as a chat server publishes them."""
    now = datetime.now(UTC)
    wish = Wish("google", CHANNELS * MEMBERS, key=public_key)
    browsers = iter(place.simulators.controls["web"].subscriptions(wish))
    published: list[events.AnyEvent] = []
    for sort in ("many", *_PLATFORMS):
        for number in range(CHANNELS):
            users = members_of(sort, number, MEMBERS)
            published.append(_joined(sort, number, users, now))
            published += [_device(sort, user, browsers, now) for user in users if sort != "many"]
    for sort in ("few", "direct"):
        for number in range(CONVERSATIONS):
            users = members_of(sort, number, 2)
            published.append(_joined(sort, number, users, now))
            published += [_device("apns", users[1], browsers, now)] if sort == "direct" else []
    for first in range(0, len(published), _PART):
        place.publisher.publish_many(published[first : first + _PART])
    place.until_idle()


def _joined(sort: str, number: int, users: list[str], now: datetime) -> events.AnyEvent:
    channel = events.ChannelId(id=channel_of(sort, number))
    return events.MemberAdded(id=f"join-{sort}-{number}", app=APP, at=now, channel=channel, users=users)


def _device(kind: str, user: str, browsers: Iterator[Any], now: datetime) -> events.AnyEvent:
    digest = hashlib.sha256(user.encode()).hexdigest()
    platform = _PLATFORMS[kind]
    if kind == "web":
        device = events.Device(platform=platform, subscription=msgspec.convert(next(browsers), events.Subscription))
    else:
        token = digest if kind == "apns" else f"{digest[:22]}:APA91b{digest * 2}"[:152]
        device = events.Device(platform=platform, token=token)
    return events.DeviceRegistered(id=f"device-{user}", app=APP, at=now, user=user, device=device)
