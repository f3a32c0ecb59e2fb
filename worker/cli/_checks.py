"""Signs of life, part by part, and the conditions that need somebody. Starts nothing and repairs nothing.

A part that cannot be looked at is a finding of its own and hides no other.
"""

import secrets
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import psycopg
import redis
from kombu.exceptions import KombuError, OperationalError

from config.celeryconfig import LANES
from config.settings import Settings, get_settings
from worker.cli._engines import tell
from worker.cli._moments import rfc3339
from worker.database import postgres
from worker.database.migrate import pending
from worker.embedded import Urls, nobody, running
from worker.process.pulse import PULSE_SECONDS
from worker.reports import conditions, signs, watch
from worker.reports.checks import Check, checks
from worker.reports.conditions import UNANSWERED, Condition, word
from worker.reports.faults import sentence
from worker.reports.reading import read
from worker.reports.snapshot import Snapshot
from worker.state.partition import Fleet, Keyspace
from worker.state.redis import connect, unfit

#: What asking an engine may end with.
FAULTS: Final = (redis.RedisError, psycopg.Error, KombuError, OperationalError, ssl.SSLError, OSError)


@dataclass(frozen=True)
class Plan:
    """Which parts to ask."""

    lanes: list[str]
    beat: bool = False
    engines: bool = False
    #: The conditions that need somebody.
    alarms: bool = False
    #: Whether workers should be running.
    workers: bool = True
    #: Tell of the engines' settings and clocks also where they are well.
    thorough: bool = False
    #: Flower's address, or empty.
    flower: str = ""
    #: The dashboard's, or empty.
    dashboard: str = ""


class Finding(NamedTuple):
    """What one part said; where it is not well, `text` says what to do. With a `warning` or a `notice` everything flows.

    `error` is what `worker.reports.conditions` calls critical: monitors know this word of the releases before.
    """

    part: str
    well: bool
    text: str
    severity: Literal["notice", "warning", "error"] = "error"
    #: What `worker.reports.conditions` calls it; None: a part that was asked.
    condition: str | None = None
    app: str | None = None
    provider: str | None = None
    #: UNIX seconds.
    since: float | None = None
    #: Of the provider's origins the one that it is about, in words.
    origin: str = ""
    until: float | None = None
    #: The lane, worker or stream that it is about.
    place: str = ""
    #: Notifications that wait because of it, and when the first of them is too old.
    waiting: int | None = None
    first_loss: float | None = None
    #: Figures of the moment, in words.
    figures: str = ""

    @property
    def fails(self) -> bool:
        """Whether pushes are stopped or lost by it."""
        return not self.well and self.severity == "error"

    @property
    def needs_somebody(self) -> bool:
        return not self.well and self.severity != "notice"

    @property
    def mark(self) -> str:
        return "ok  " if self.well else _MARKS[self.severity]

    def as_json(self) -> dict[str, Any]:
        """For `--json`: times in RFC 3339."""
        times = {name: None if (at := getattr(self, name)) is None else rfc3339(at) for name in _TIMES}
        return self._asdict() | times


_MARKS: Final = {"error": "FAIL", "warning": "WARN", "notice": "NOTE"}
_TIMES: Final = ("since", "until", "first_loss")


def finding(one: Condition) -> Finding:
    """The finding that a condition is."""
    return Finding(
        *(one.about, False, one.text, word(one.severity), one.name, one.app, one.provider),
        *(one.since, one.origin, one.until, one.place, one.waiting, one.first_loss, one.figures),
    )


def line(one: Finding, now: float) -> str:
    """A finding as people read it, with since when it is so and how much waits."""
    facts = conditions.facts(one, now) if one.condition is not None else ""
    return f"{one.mark} {one.part}: {one.text}{facts and f' ({facts})'}"


@dataclass(frozen=True)
class Known:
    """What a process with the secret keys knows about the providers, by id; see `worker.reports.reading.read`."""

    readable: Mapping[int, bool] | None = None
    ends: Mapping[int, float] | None = None


def examine(plan: Plan, timeout: float, known: Known | None = None) -> list[Finding]:
    """A finding for each part, most basic first. What rests on an engine that is away is not asked."""
    pages = [*_pages(plan, timeout)]
    if pages and not (plan.lanes or plan.beat or plan.engines or plan.alarms):
        return pages
    settings = get_settings()
    if plan.beat and settings.redis_url and not (plan.lanes or plan.engines or plan.alarms or pages):
        return _beat_alone(settings.redis_url, timeout)
    urls = _urls(settings)
    if urls is None:
        return [Finding("engines", False, nobody(settings.data_dir))]
    tell(settings)
    with _opened(urls, timeout) as (client, db, findings):
        asked = plan.alarms or plan.lanes
        found, listed = _conditions(client, db, plan, known or Known(), timeout) if asked else ([], [])
        findings[:] = [_as_watched(one, found) for one in findings]
        names = {one.condition for one in findings} - {None}
        listed = [one for one in listed if one.condition not in names]
        if client is not None:
            findings.extend(canary(lane, Keyspace(client).fleet, timeout, found) for lane in plan.lanes)
            findings.extend([_beat(Keyspace(client).fleet)] if plan.beat and not plan.alarms else [])
        findings.extend(listed if plan.alarms else [])
    return findings + pages


def _beat_alone(redis_url: str, timeout: float) -> list[Finding]:
    """Where beat runs there may be no address of Postgres."""
    try:
        with _client(redis_url, timeout) as client:
            return [_beat(Keyspace(client).fleet)]
    except (*FAULTS, ValueError) as fault:
        return [Finding("redis", False, sentence(fault))]


def _urls(settings: Settings) -> Urls | None:
    if settings.redis_url is not None and settings.postgres_url is not None:
        return Urls(settings.redis_url, settings.postgres_url)
    embedded = running(settings.data_dir)
    return embedded and Urls(settings.redis_url or embedded.redis, settings.postgres_url or embedded.postgres)


@contextmanager
def _opened(urls: Urls, timeout: float) -> Iterator[tuple[redis.Redis | None, Any, list[Finding]]]:
    """Redis and Postgres, each None if it cannot be used, and the findings about them and the schema."""
    client, db = None, None
    findings: list[Finding] = []
    try:
        client = _client(urls.redis, timeout)
        text, usable = _ask_redis(client)
        findings.append(Finding("redis", usable, text))
        if not usable:
            client.close()
            client = None
    except (*FAULTS, ValueError) as fault:
        findings.append(_away("redis", Snapshot(time.time(), redis_fault=sentence(fault))))
        client = None
    try:
        db = _connect(urls.postgres, timeout)
        unusable = postgres.unfit(db)
        findings.append(Finding("postgres", unusable is None, unusable or "answers"))
        if unusable is None:
            behind = pending(urls.postgres, timeout=max(1, int(timeout)))
            run = f"{', '.join(behind)} not applied: run carillon migrate"
            findings.append(Finding("schema", not behind, run if behind else "up to date"))
    except (psycopg.Error, OSError) as fault:
        away = db is None
        findings.append(
            _away("postgres", Snapshot(time.time(), postgres_fault=sentence(fault)))
            if away
            else Finding("schema", False, sentence(fault))
        )
    try:
        schema = db is not None and all(f.well for f in findings if f.part in ("postgres", "schema"))
        yield client, db if schema else None, findings
    finally:
        if client is not None:
            client.close()
        if db is not None:
            with suppress(psycopg.Error):
                db.close()


def _away(part: str, snapshot: Snapshot) -> Finding:
    """The finding of an engine that does not answer, which is a condition."""
    [one] = conditions.find(snapshot)
    return finding(one)._replace(part=part)


def _as_watched(one: Finding, found: list[Condition]) -> Finding:
    """An engine that is away, with the time and the sentence that the watch has."""
    same = next((each for each in found if each.name == one.condition), None)
    return one if same is None else finding(same)._replace(part=one.part)


def _connect(url: str, timeout: float) -> Any:
    """A session as the workers' are, so that what refuses theirs refuses this."""
    arguments = postgres.CONNECT_ARGS | {"connect_timeout": max(1, int(timeout))}
    return postgres.connect(url, autocommit=True, **arguments)


def _client(url: str, timeout: float) -> redis.Redis:
    """As the workers', but it asks once, and waits `timeout` seconds at most."""
    return connect(url, timeout=timeout, retries=0)


def _ask_redis(client: redis.Redis) -> tuple[str, bool]:
    """Whether it is one that Carillon can work with: one primary, no cluster."""
    fault = unfit(client)
    if fault is None:
        client.ping()
    return fault or "answers", fault is None


@contextmanager
def _cancelled_after(db: Any, seconds: float) -> Iterator[None]:
    """Ends each statement that takes longer, as one that waits for a migration. A pooler may stand between: nothing is set."""
    done = threading.Event()

    def cancel() -> None:
        while not done.wait(seconds):
            with suppress(psycopg.Error):
                db.cancel()

    thread = threading.Thread(target=cancel, name="carillon-patience", daemon=True)
    if db is not None:
        thread.start()
    try:
        yield
    finally:
        done.set()


def _conditions(
    client: Any, db: Any, plan: Plan, known: Known, timeout: float
) -> tuple[list[Condition], list[Finding]]:
    keyspace = None if client is None else Keyspace(client)
    with _cancelled_after(db, timeout):
        reading = read(keyspace, db, workers=plan.workers, readable=known.readable, ends=known.ends)
    found = conditions.find(reading.snapshot)
    with suppress(redis.RedisError):
        found = found if keyspace is None else watch.agreed(reading, watch.known(keyspace.fleet))
    findings = [finding(one) for one in found]
    findings += [
        Finding(part, False, f"unknown, because it could not be checked: {why}", "warning")
        for part, why in reading.unknown
    ]
    names = {one.name for one in found}
    well = (
        one for one in checks(reading.snapshot) if not names & {*one.names} and (plan.thorough or not _of_engines(one))
    )
    return found, findings + [Finding(one.part, True, one.value) for one in well]


def _of_engines(check: Check) -> bool:
    """Whether it is a setting of an engine, or a clock: people rarely want to know that these are well."""
    return check.part.startswith(("redis", "postgres", "clock"))


def canary(lane: str, fleet: Fleet, timeout: float, found: list[Condition]) -> Finding:
    """Put a task into the lane's queue and wait until it was done. `found`: what could keep its threads busy."""
    from worker.process.celery_app import app

    part, key = f"{lane} worker", secrets.token_hex(8)
    began = time.monotonic()
    try:
        app.send_task("carillon.canary", [key], queue=LANES[lane][0], expires=timeout, retry=False)
        while time.monotonic() - began < timeout:
            if fleet.redis.getdel(fleet.keys.CANARY(key)):
                return Finding(part, True, f"a canary came through in {time.monotonic() - began:.2f} s")
            time.sleep(0.02)
        busy = fleet.redis.get(fleet.keys.BUSY(LANES[lane][0]))
    except (*FAULTS, RuntimeError) as fault:
        return Finding(part, False, f"on the way to the queue: {sentence(fault)}")
    slow = next((one for one in found if one.name in UNANSWERED), None)
    if busy is not None and slow is not None:
        text = f"lives, and all its threads are at work, of which many wait for {slow.about}: {slow.text}"
        return Finding(part, False, text, "warning")
    do = f"start carillon worker --lane {lane}, or restart it if its log is silent"
    if busy is not None:
        do = "its worker lives, and all its threads are at work: add workers, or restart it if this goes on"
    return Finding(part, False, f"no canary within {timeout:g} s: {do}")


def _beat(fleet: Fleet) -> Finding:
    try:
        if signs.beat(fleet):
            return Finding("beat", True, "ticks")
    except redis.RedisError as fault:
        return Finding("beat", False, sentence(fault))
    return Finding("beat", False, f"no tick for {PULSE_SECONDS} s: start or restart carillon beat")


def _pages(plan: Plan, timeout: float) -> Iterator[Finding]:
    """Whether those that serve pages do."""
    if plan.flower:
        yield _served("flower", plan.flower, "/healthcheck", timeout)
    if plan.dashboard:
        yield _served("dashboard", plan.dashboard, "/livez", timeout)


def _served(part: str, url: str, path: str, timeout: float) -> Finding:
    address = f"{url.rstrip('/')}{path}"
    if not address.startswith(("http://", "https://")):
        return Finding(part, False, f"{url} is no http address")
    try:
        with urllib.request.urlopen(address, timeout=timeout) as answer:  # noqa: S310 - checked above
            return Finding(part, answer.status == 200, f"answers at {url}")
    except (urllib.error.URLError, OSError) as fault:
        return Finding(part, False, f"{type(fault).__name__} at {url}: start or restart carillon {part}")
