"""How many device events a second one intake applies, and how long the devices of 500 users take to read among a million.

Engines of its own. Events are on the stream before the clock starts, so this is the intake alone, with its commits; half of
the devices are known already, and a quarter of the events hand a device to another user.

    python -m benchmarks.devices --json
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from config.secrets import generate_key
from producers import Publisher
from worker.core.model import AppSettings, Provider
from worker.database.audience import Audience
from worker.database.lease import Lease
from worker.database.migrate import migrate
from worker.database.postgres import Pool, open_pool
from worker.database.registry import Registry
from worker.embedded import Engines, Urls
from worker.pipeline.apps import Apps
from worker.pipeline.barrier import Barrier
from worker.pipeline.intake import Intake
from worker.pipeline.rounds import Rounds
from worker.providers import kinds
from worker.providers.apns.settings import ApnsSettings, Key
from worker.state.journal import Journal
from worker.state.leader_hint import LeaderHint
from worker.state.partition import Keyspace, untagged
from worker.state.redis import Redis, connect
from worker.state.streams import Streams

APP: Final = "bench"
#: What the two figures are held to: events a second, and milliseconds.
BARS: Final = {"events_per_second": 2_000, "read_ms": 20.0}
_FILL: Final = (
    "INSERT INTO carillon.devices (app, token, user_id, provider_id, registered_at, active, attributes)"
    " SELECT 'bench', lpad(to_hex(n), 64, '0'), 'user-' || n / 2, %s, 1700000000000 + n, true,"
    " jsonb_build_object('team', n %% 50) FROM generate_series(1, %s) AS n"
)


@contextmanager
def place(devices: int) -> Iterator[tuple[Urls, Redis, Pool, Apps]]:
    """Engines with one app and so many devices, two a user."""
    with tempfile.TemporaryDirectory(prefix="carillon-benchmark-") as home:
        engines = Engines(Path(home))
        try:
            urls = engines.start()
            migrate(urls.postgres)
            pool = open_pool(urls.postgres, size=2)
            registry = Registry(pool, [generate_key()], kinds)
            registry.save_app(AppSettings(APP, registration_rate=None))
            settings = ApnsSettings("org.example", Key("T", "K", "pem"))
            provider = registry.save_provider(Provider(0, APP, "apns", "production", settings))
            with pool.connection() as db:
                db.execute("SET statement_timeout = 0")
                db.execute(_FILL.encode(), (provider.id, devices))
                db.execute("VACUUM ANALYZE carillon.devices")
            yield urls, connect(urls.redis), pool, Apps(registry)
            pool.close()
        finally:
            engines.stop()


def event(number: int, known: int, chance: random.Random) -> dict[str, Any]:
    """A registration of a known device by its user or by another one, or of a new device."""
    token = chance.randrange(1, known + 1) if number % 2 else known + number + 1
    user = f"user-{token // 2}" if number % 4 else f"user-{chance.randrange(known)}"
    return {
        "v": 1,
        "type": "device.registered",
        "id": f"d-{number}",
        "app": APP,
        "at": "2026-11-21T20:00:00Z",
        "user": user,
        "device": {"token": f"{token:064x}", "locale": "en-GB", "attributes": {"team": token % 50}},
    }


def apply(urls: Urls, redis: Redis, pool: Pool, apps: Apps, events: int, known: int) -> float:
    """Events a second from the stream into Postgres."""
    chance = random.Random(1)
    with Publisher(urls.redis) as publisher:
        publisher.publish_many(event(number, known, chance) for number in range(events))
    lease, journal = Lease(pool, LeaderHint(untagged(redis)), owner="benchmark"), Journal(untagged(redis), lease=15)
    intake = Intake(
        untagged(redis), journal, apps, transaction=lease.transaction, clock=lease.clock, wake=lambda _: None
    )
    barrier = Barrier(Keyspace(redis), untagged(redis), pool)
    parts = (Streams(untagged(redis)), intake, journal, apps, lease)
    rounds = Rounds(*parts, batch=500, max_open=20_000, paces={}, barrier=barrier)
    assert lease.acquire()
    began = time.perf_counter()
    rounds.begin()
    while not rounds.idle:
        rounds.step(wait=0.001)
    seconds = time.perf_counter() - began
    lease.release()
    return events / seconds


def read(pool: Pool, known: int, rounds: int) -> list[float]:
    """Milliseconds of each query for the devices of 500 users taken at random."""
    audience, chance, found = Audience(pool), random.Random(2), []
    for _ in range(rounds):
        users = [(APP, f"user-{n}") for n in chance.sample(range(known // 2), 500)]
        began = time.perf_counter()
        rows = audience.active(users)
        found.append((time.perf_counter() - began) * 1000)
        assert len(rows) >= 490
    return found


def plan(pool: Pool, known: int) -> list[str]:
    """How Postgres reads them."""
    users = [f"user-{n}" for n in random.Random(3).sample(range(known // 2), 500)]
    with pool.connection() as db:
        rows = db.execute(
            "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) SELECT d.app, d.id, d.user_id, d.provider_id, d.token, d.locale,"
            " d.registered_at FROM unnest(%s::text[], %s::text[]) AS k (app, user_id)"
            " JOIN carillon.devices d USING (app, user_id) WHERE d.active ORDER BY d.id",
            ([APP] * len(users), users),
        ).fetchall()
    return [line for (line,) in rows]


def main() -> None:
    """Measure, and print the figures, or with `--json` one object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.devices", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--devices", type=int, default=1_000_000, help="devices in the table (%(default)s)")
    parser.add_argument("--events", type=int, default=20_000, help="events to apply (%(default)s)")
    parser.add_argument("--rounds", type=int, default=40, help="reads, of which the median counts (%(default)s)")
    given = parser.parse_args()
    with place(given.devices) as (urls, redis, pool, apps):
        times = read(pool, given.devices, given.rounds)
        found: dict[str, Any] = {
            "devices": given.devices,
            "read_ms": round(statistics.median(times), 2),
            "read_ms_worst": round(max(times), 2),
            "plan": plan(pool, given.devices),
            "events_per_second": round(apply(urls, redis, pool, apps, given.events, given.devices)),
        }
        redis.close()
    found["bars"] = {
        "events_per_second": found["events_per_second"] >= BARS["events_per_second"],
        "read_ms": found["read_ms"] < BARS["read_ms"],
    }
    if given.json:
        print(json.dumps(found))
    else:
        print(*(f"{name}: {value}" for name, value in found.items() if name != "plan"), *found["plan"], sep="\n")


if __name__ == "__main__":
    main()
