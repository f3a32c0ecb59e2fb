"""What a scrape of the shared state costs: bytes, seconds of CPU of the process that exports it, and seconds until it is there.

Each app has two providers, counters as a busy app has them, and an event that waits on its stream.

    python -m benchmarks.scrape --json
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from producers import Publisher
from worker.core.tally import ACCEPT_BOUNDS, ANSWER_BOUNDS, Histogram, Tally
from worker.database import tallies
from worker.database.migrate import migrate
from worker.database.postgres import open_pool
from worker.embedded import Engines, Urls
from worker.metrics.shared import FRESH, Addresses, Target

#: What is counted of an app and of one of its providers.
OF_APP = (
    *("messages", "considered", "pushed", "jobs", "folded", "late", "overtaken", "template_failed", "targeted"),
    *(f"skipped.{why}" for why in ("sender", "muted", "online", "no_device", "over_cap", "channel_off", "read")),
    *(f"skipped_message.{why}" for why in ("skip_push", "too_old", "silent")),
    *(f"events.applied.{of}" for of in ("message.new", "member.added", "device.registered", "message.read")),
    *(f"devices.{what}" for what in ("registered", "retired", "restored", "moved")),
)
OF_PROVIDER = (
    *("accepted", "dropped", "retired", "retry", "parked", "limited"),
    *(f"dropped.{why}" for why in ("expired", "BadDeviceToken", "PayloadTooLarge", "device_moved")),
    *(f"retired.{why}" for why in ("Unregistered", "ExpiredToken")),
    *(f"retry.{why}" for why in ("TooManyRequests", "deadline", "connect")),
    *("parked.unreachable", "limited.app", "limited.device"),
)


def populate(urls: Urls, apps: int) -> None:
    """Apps as they are after a busy day."""
    pool, chance = open_pool(urls.postgres, size=1), random.Random(1)
    with Publisher(urls.redis) as publisher, pool.connection() as db, db.transaction():
        db.execute("INSERT INTO carillon.apps (name) SELECT 'company-' || n FROM generate_series(1, %s) AS n", (apps,))
        # Nobody pushes to them: their settings are never read.
        rows = db.execute(
            "INSERT INTO carillon.providers (app, name, kind, environment, topic, team_id, key_id, credential, host, port)"
            " SELECT a.name, kind, kind, 'production', 't', 't', 'k', ''::bytea, 'h', 1"
            " FROM carillon.apps a, unnest(ARRAY['apns', 'fcm']) AS kind RETURNING app, id"
        ).fetchall()
        added: dict[tuple[str, int], dict[str, float]] = {
            (app, 0): {of: chance.randrange(1, 10**6) for of in OF_APP} for app, _ in rows
        }
        added |= {key: {of: chance.randrange(1, 10**6) for of in OF_PROVIDER} | times(chance) for key in rows}
        tallies.add(db, "ledger", added)
        publisher.publish_many(event(app) for app in {app for app, _ in rows})
    pool.close()


def event(app: str) -> dict[str, Any]:
    """It stays on its stream: there is no worker."""
    envelope = {"v": 1, "type": "message.new", "id": "e", "app": app, "at": "2026-11-21T20:00:00Z"}
    return envelope | {"channel": {"id": "c"}, "message": {"id": "m", "text": "hello"}, "sender": {"id": "leia"}}


def times(chance: random.Random) -> dict[str, float]:
    """The histograms of both lanes, with most of their buckets."""
    named: dict[str, float] = {}
    for lane in ("urgent", "bulk"):
        answer, accept = Histogram({}, 0.0), Histogram({}, 0.0)
        for of, bounds in ((answer, ANSWER_BOUNDS), (accept, ACCEPT_BOUNDS)):
            for bound in bounds[:16]:
                of.add(bounds, bound, chance.randrange(1, 10**5))
        named |= Tally("", 1, lane, {}, answer, accept).named()
    return named


def measure(urls: Urls, scrapes: int) -> dict[str, Any]:
    target = Target(Addresses(urls.redis, urls.postgres, urls.postgres), apps=200)
    page = target.pages()["/metrics"]
    size = len(page().body)  # the first one chooses the apps that have names
    cpu, took = [], []
    for _ in range(scrapes):
        time.sleep(FRESH)
        began, used = time.perf_counter(), time.process_time()
        size = max(size, len(page().body))
        cpu.append(time.process_time() - used)
        took.append(time.perf_counter() - began)
    target.close()
    return {
        "bytes": size,
        "cpu_seconds": {"median": statistics.median(cpu), "most": max(cpu)},
        "seconds": {"median": statistics.median(took), "most": max(took)},
        "bar": {"2_MB": size <= 2_000_000, "0.2_s_of_cpu": statistics.median(cpu) <= 0.2},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--apps", type=int, default=1_000)
    parser.add_argument("--scrapes", type=int, default=20)
    parser.add_argument("--json", action="store_true", help="print one JSON object, and nothing else")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        engines = Engines(Path(directory))
        urls = engines.start()
        try:
            migrate(urls.postgres)
            populate(urls, chosen.apps)
            found = {"apps": chosen.apps, "scrapes": chosen.scrapes} | measure(urls, chosen.scrapes)
        finally:
            engines.stop()
    if chosen.json:
        print(json.dumps(found))
        return
    print(f"{found['apps']:,} apps, {found['scrapes']} scrapes: {found['bytes']:,} bytes")
    print(f"CPU: {found['cpu_seconds']['median']:.3f} s (median), {found['cpu_seconds']['most']:.3f} s at most")
    print(f"until it is there: {found['seconds']['median']:.3f} s (median), {found['seconds']['most']:.3f} s at most")


if __name__ == "__main__":
    main()
