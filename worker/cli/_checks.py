"""Signs of life, part by part. Starts nothing and repairs nothing."""

import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import psycopg
import redis

from config.celeryconfig import LANES
from config.settings import Settings, get_settings
from worker.cli.beat import PULSE, PULSE_SECONDS
from worker.embedded import Urls, running
from worker.stores.breaker import Breaker
from worker.stores.migrate import pending


@dataclass(frozen=True)
class Plan:
    """Which parts to ask."""

    lanes: list[str]
    beat: bool = False
    engines: bool = False
    alarms: bool = False
    #: Flower's address, or empty.
    flower: str = ""


class Finding(NamedTuple):
    """What one part said; where it is not well, `text` says what to do."""

    part: str
    well: bool
    text: str


def examine(plan: Plan, timeout: float) -> list[Finding]:
    """A finding for each part, most basic first. What rests on an engine that is away is not asked."""
    if plan.flower and not (plan.lanes or plan.beat or plan.engines or plan.alarms):
        return [flower(plan.flower, timeout)]
    settings = get_settings()
    urls = _urls(settings)
    if urls is None:
        text = f"nobody runs the engines in {settings.data_dir}: start them with carillon up"
        return [Finding("engines", False, text)]
    findings = list(_engines(urls, timeout))
    if all(finding.well for finding in findings):
        findings += [canary(lane, urls, timeout) for lane in plan.lanes]
        findings += [_beat(urls, timeout)] if plan.beat else []
        findings += _alarms(urls, timeout) if plan.alarms else []
    findings += [flower(plan.flower, timeout)] if plan.flower else []
    return findings


def _urls(settings: Settings) -> Urls | None:
    if settings.redis_url is not None and settings.postgres_url is not None:
        return Urls(settings.redis_url, settings.postgres_url)
    embedded = running(settings.data_dir)
    return embedded and Urls(settings.redis_url or embedded.redis, settings.postgres_url or embedded.postgres)


def _client(urls: Urls, timeout: float) -> redis.Redis:
    return redis.Redis.from_url(urls.redis, socket_timeout=timeout, socket_connect_timeout=timeout)


def _engines(urls: Urls, timeout: float) -> Iterator[Finding]:
    try:
        with _client(urls, timeout) as client:
            client.ping()
        yield Finding("redis", True, "answers")
    except redis.RedisError as fault:
        yield Finding("redis", False, f"{type(fault).__name__}: is it running, is CARILLON_REDIS_URL right?")
    try:
        behind = pending(psycopg.conninfo.make_conninfo(urls.postgres, connect_timeout=max(1, int(timeout))))
        yield Finding("postgres", True, "answers")
        run = f"{', '.join(behind)} not applied: run carillon migrate"
        yield Finding("schema", not behind, run if behind else "up to date")
    except psycopg.OperationalError as fault:
        yield Finding("postgres", False, f"{type(fault).__name__}: is it running, is CARILLON_POSTGRES_URL right?")


def canary(lane: str, urls: Urls, timeout: float) -> Finding:
    """Put a task into the lane's queue and wait until it was done."""
    from worker.app import app

    part, key = f"{lane} worker", secrets.token_hex(8)
    began = time.monotonic()
    try:
        app.send_task("carillon.canary", [key], queue=LANES[lane][0], expires=timeout, retry=False)
        with _client(urls, timeout) as client:
            while time.monotonic() - began < timeout:
                if client.getdel(f"carillon:canary:{key}"):
                    return Finding(part, True, f"a canary came through in {time.monotonic() - began:.2f} s")
                time.sleep(0.02)
    except (redis.RedisError, OSError) as fault:
        return Finding(part, False, f"{type(fault).__name__} on the way to the queue: is Redis well?")
    text = f"no canary within {timeout:g} s: start carillon worker --lane {lane}, or restart it if its log is silent"
    return Finding(part, False, text)


def _beat(urls: Urls, timeout: float) -> Finding:
    with _client(urls, timeout) as client:
        if client.exists(PULSE):
            return Finding("beat", True, "ticks")
    return Finding("beat", False, f"no tick for {PULSE_SECONDS} s: start or restart carillon beat")


def _alarms(urls: Urls, timeout: float) -> list[Finding]:
    """What waits for a person though everything runs: providers that are stopped, and documents that were set aside."""
    with psycopg.connect(urls.postgres, connect_timeout=max(1, int(timeout))) as db:
        providers = db.execute("SELECT id, app, name FROM carillon.providers ORDER BY app, name").fetchall()
        letters = db.execute(
            "SELECT count(*), count(*) FILTER (WHERE at > now() - interval '1 hour') FROM carillon.dead_letters"
        ).fetchone() or (0, 0)
    with _client(urls, timeout) as client:
        breaker = Breaker(client)
        stopped = [(app, name, found) for id, app, name in providers if (found := breaker.stopped(id))]
    findings = [
        Finding(
            f"provider {app}/{name}",
            False,
            f"stopped for {max(0, int(time.time() - found.since))} s: {found.reason};"
            + (f" carillon provider resume {name} --app {app}" if found.manual else " mend it and it flows by itself"),
        )
        for app, name, found in stopped
    ]
    if not stopped:
        findings.append(Finding("providers", True, f"none of {len(providers)} is stopped"))
    total, late = letters
    text = f"{total:,} set aside, {late:,} of them in the last hour"
    findings.append(Finding("dead letters", not late, f"{text}: carillon dead-letters list" if late else text))
    return findings


def flower(url: str, timeout: float) -> Finding:
    """Whether Flower serves pages."""
    address = f"{url.rstrip('/')}/healthcheck"
    if not address.startswith(("http://", "https://")):
        return Finding("flower", False, f"{url} is no http address")
    try:
        with urllib.request.urlopen(address, timeout=timeout) as answer:  # noqa: S310 - checked above
            return Finding("flower", answer.status == 200, f"answers at {url}")
    except (urllib.error.URLError, OSError) as fault:
        return Finding("flower", False, f"{type(fault).__name__} at {url}: start or restart carillon flower")
