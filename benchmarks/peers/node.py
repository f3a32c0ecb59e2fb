"""What a team of Node would pick instead: BullMQ with @parse/node-apn, two worker processes and the chat server's publisher.

The chat server expands: it knows every channel's members and their tokens from its memory, and adds one job a message. There are
no rules, no deduplication, no badges and no record of what became of a push. A device that is gone is reported to the chat
server; what was refused for the time being is tried again up to five times.

The packages are those of `node_bullmq/package-lock.json`. They are installed once, into a cache of the user's.
"""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg
import redis

from benchmarks.support.figures import say
from benchmarks.support.processes import Children
from benchmarks.support.stage import APP, KEY, TEAM, TOPIC, Stage
from benchmarks.support.system import System, simulated
from producers.events import dump

FILES: Final = Path(__file__).parent / "node_bullmq"
PROCESSES: Final = 2
#: Jobs at once in each process. Of 10, 20, 50, 100 and 200 the fastest for both workloads.
CONCURRENCY: Final = 50
#: Seconds without a job and without an acceptance after which the rest is lost.
_QUIET: Final = 6.0
_PATIENCE: Final = 300
#: BullMQ's keys of what is not done.
_LISTS: Final = ("bull:peer:wait", "bull:peer:active", "bull:peer:paused")
_SETS: Final = ("bull:peer:delayed", "bull:peer:prioritized")


def missing() -> str | None:
    """What is not installed, or None."""
    return next((program for program in ("node", "npm") if shutil.which(program) is None), None)


def packages() -> Path:
    """The directory `node_modules`, installed now if it is not there. Raises CalledProcessError where npm fails."""
    lock = FILES / "package-lock.json"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = cache / "carillon-benchmarks" / f"node-bullmq-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    if not (home / "complete").exists():
        say(f"installing the packages of {lock.relative_to(FILES.parents[2])} in {home}")
        home.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(FILES / name, home)
        options = ("--ignore-scripts", "--no-audit", "--no-fund", "--silent")
        subprocess.run(["npm", "ci", *options], cwd=home, check=True, timeout=_PATIENCE, stdout=subprocess.DEVNULL)
        (home / "complete").touch()
    return home / "node_modules"


@contextmanager
def bullmq(place: Stage, concurrency: int = CONCURRENCY) -> Iterator[System]:
    """Two workers and a publisher, gone when the block ends. Raises CalledProcessError where the packages cannot be installed."""
    environ = {
        "NODE_PATH": str(packages()),
        "NODE_ENV": "production",
        "PEER_REDIS_URL": place.urls.redis,
        "PEER_HOST": "localhost",
        "PEER_PORT": str(place.simulator.port),
        "PEER_CA": place.simulator.ca_pem,
        "PEER_TEAM": TEAM,
        "PEER_KEY_ID": KEY,
        "PEER_KEY": place.provider.settings.credential.pem,
        "PEER_TOPIC": TOPIC,
        "PEER_CONCURRENCY": str(concurrency),
    }
    children = Children(place.directory / "node.log", environ)
    directory = place.directory / f"node-{time.monotonic_ns()}"
    directory.mkdir()
    channels, path = directory / "channels.json", directory / "socket"
    channels.write_text(json.dumps(_channels(place)))
    try:
        workers = [children.run("node", str(FILES / "worker.cjs")) for _ in range(PROCESSES)]
        publisher = children.run("node", str(FILES / "publisher.cjs"), str(path), str(channels))
        with redis.Redis.from_url(place.urls.redis) as client, _connected(path, children) as line:
            sent = 0

            def publish(events: Sequence[dict[str, Any]]) -> None:
                nonlocal sent
                sent += len(events)
                line.sendall(b"".join(dump(event) + b"\n" for event in events) + b"\n")

            def idle() -> bool:
                with client.pipeline(transaction=False) as pipe:
                    pipe.get("peer:published")
                    for key in _LISTS:
                        pipe.llen(key)
                    for key in _SETS:
                        pipe.zcard(key)
                    published, *waiting = pipe.execute()
                return int(published or 0) >= sent and not any(waiting)

            yield System(
                publish,
                simulated(place),
                idle,
                children,
                {"worker": workers, "publisher": [publisher], **place.pids()},
                lost=_lost(simulated(place), idle),
            )
    finally:
        children.stop()


def _lost(accepted: Callable[[], int], idle: Callable[[], bool]) -> Callable[[], bool]:
    """Whether nothing happened for so long that nothing will."""
    before, since = -1, time.monotonic()

    def over() -> bool:
        nonlocal before, since
        now = accepted()
        if now != before or not idle():
            before, since = now, time.monotonic()
        return time.monotonic() - since > _QUIET

    return over


def _channels(place: Stage) -> dict[str, dict[str, Any]]:
    """What the chat server has in memory: the members of each channel, and their devices."""
    found: dict[str, dict[str, Any]] = {}
    with psycopg.connect(place.urls.postgres) as db:
        for id, name in db.execute("SELECT id, name FROM carillon.channels WHERE app = %s", (APP,)):
            found[id] = {"name": name, "tokens": {}}
        query = (
            "SELECT m.channel, m.user_id, d.token FROM carillon.members m JOIN carillon.devices d"
            " ON d.app = m.app AND d.user_id = m.user_id WHERE m.app = %s"
        )
        for channel, user, token in db.execute(query, (APP,)):
            found[channel]["tokens"][user] = token
    return found


@contextmanager
def _connected(path: Path, children: Children) -> Iterator[socket.socket]:
    ends = time.monotonic() + _PATIENCE
    with socket.socket(socket.AF_UNIX) as line:
        while True:
            children.check()
            try:
                line.connect(str(path))
                break
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > ends:
                    raise
                time.sleep(0.02)
        yield line
