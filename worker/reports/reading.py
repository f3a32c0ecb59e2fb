"""Reads the snapshot for the conditions. It changes nothing; an unreadable part hides no other.

Redis, beside the keys of the journal, the streams and the breaker:

    carillon:certificates   hash   provider -> UNIX seconds at which its certificate ends; `worker/reports/notes.py`
    carillon:unreadable     hash   provider -> `<UNIX seconds> <host>` of a worker whose keys do not decrypt its credential
    carillon:workers        hash   worker -> its last sign of life; `worker/reports/signs.py`
"""

import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import chain
from math import inf
from typing import Any, Final, NamedTuple, TypeVar, get_args

from config.settings import get_settings
from worker.core.batch import Lane, decode
from worker.core.entry import ms_of
from worker.core.way import Way, origin_in, provider_in
from worker.database import census, cursors, lease, postgres
from worker.database.fleet import recorded
from worker.database.migrate import missing
from worker.database.postgres import Connection
from worker.providers.kinds import may_end, words_of
from worker.reports import signs
from worker.reports.conditions import LETTERS_MANY, LETTERS_SHARE
from worker.reports.faults import sentence
from worker.reports.skew import skew
from worker.reports.snapshot import (
    AppFacts,
    LaneFacts,
    Leader,
    Letters,
    OutboxFacts,
    ProviderFacts,
    RedisFacts,
    Snapshot,
    StreamFacts,
    Trimmed,
    WayFacts,
)
from worker.state import backlog, servers, streams
from worker.state.backlog import Backlog
from worker.state.breaker import Breaker
from worker.state.limiter import Limiter
from worker.state.origins import Origins
from worker.state.partition import Fleet, Keyspace, Partition
from worker.state.redis import Redis, clock

#: Seconds for which a worker's note of an unreadable credential holds; the worker repeats it until it can read it.
NOTE_SECONDS: Final = 20.0
#: Rows of the outbox that are counted at most.
_COUNTED: Final = 100_000
#: Ways that do not flow whose oldest batch is looked into.
_LOOKED_INTO: Final = 20

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reading:
    snapshot: Snapshot
    #: What could not be read: the part, and why in a sentence.
    unknown: Sequence[tuple[str, str]] = ()
    #: The engines that were asked.
    redis: bool = True
    postgres: bool = True

    def tells(self, name: str) -> bool:
        """Whether it would have shown a condition of this name."""
        if not (self.redis and self.postgres) and name not in ("redis_away", "postgres_away"):
            return False
        return not any(name.startswith(_shown_by(part)) for part, _ in self.unknown)

    def with_unwatched(self, ago: float) -> "Reading":
        """The same, where nobody has looked for conditions for so many seconds."""
        return replace(self, snapshot=replace(self.snapshot, unwatched=ago))


#: Part -> the beginnings of the names of the conditions that depend on it.
_SHOWN_BY: Final[Mapping[str, tuple[str, ...]]] = {
    "redis memory": ("redis_filling", "redis_eviction", "redis_persistence", "redis_replicas"),
    "secrets of devices": ("device_",),
    "trimmed entries": ("entries_",),
    "clock of redis": ("clock_", "stream_"),
    "clock of postgres": ("clock_",),
    "digests and reminders": ("due_",),
    "workers": ("no_workers", "broker_away", "clock_", "backlog_"),
    "beat": ("beat_",),
    "postgres": ("postgres_read_only",),
    "schema": ("schema_",),
    "dead letters": ("dead_",),
    "fleet": ("not_allowed",),
    "outbox": ("outbox_",),
    "leader": ("no_leader", "intake_"),
    "backlog": ("backlog_", "no_workers"),
    "providers": ("provider_", "credential_", "app_without"),
    "credentials": ("credential_",),
    "apps": ("app_",),
    "intake": ("intake_", "home_", "no_leader", "stream_", "backlog_"),
}
#: The same of a partition whose server does not answer.
_OF_PARTITION: Final = (
    "entries_",
    "due_",
    "backlog_",
    "no_workers",
    "provider_",
    "credential_",
    "intake_",
    "no_leader",
    "stream_",
    "redis_",
)


def partition_part(number: int) -> str:
    """What the part is called that a partition is."""
    return f"partition {number}"


def _shown_by(part: str) -> tuple[str, ...]:
    return _OF_PARTITION if part.startswith("partition ") else _SHOWN_BY.get(part, ())


@dataclass(slots=True)
class _Parts:
    unknown: list[tuple[str, str]] = field(default_factory=list)
    #: Why what processes tell each other cannot be read.
    fleet_fault: str | None = None

    def read(self, part: str, ask: Callable[[], T]) -> T | None:
        try:
            return ask()
        except Exception as fault:  # noqa: BLE001 - whatever it is, the other parts are still worth a look
            self.unknown.append((part, sentence(fault)))
            return None

    def of_fleet(self, part: str, fleet: Fleet, ask: Callable[[Fleet], T]) -> T | None:
        """Of what processes tell each other."""
        if self.fleet_fault is None:
            return self.read(part, lambda: ask(fleet))
        self.unknown.append((part, self.fleet_fault))
        return None


def read(
    keyspace: Keyspace | None,
    db: Connection | None,
    *,
    workers: bool = True,
    readable: Mapping[int, bool] | None = None,
    ends: Mapping[int, float] | None = None,
    redis_fault: str | None = None,
    postgres_fault: str | None = None,
    now: float | None = None,
) -> Reading:
    """The snapshot of this moment. `keyspace` or `db` None: that engine is not asked; `…_fault`: because it does not answer.

    `db` is in autocommit. `workers`: whether any should be running. `readable`, `ends`: by provider, from a process with
    the secret keys: whether they decrypt the credential, and when its certificate ends.
    """
    parts, now = _Parts(), time.time() if now is None else now
    facts: dict[str, Any] = {"redis_fault": redis_fault, "postgres_fault": postgres_fault}
    skews: dict[str, float | None] = {}
    if keyspace is not None:
        fleet, many = keyspace.fleet, len(keyspace.partitions)
        keyspace, silent = keyspace.answering()
        facts["silent"] = silent
        if many > 1 and len(silent) < many:
            facts["fleet_fault"] = parts.fleet_fault = keyspace.fleet_fault()
        parts.unknown += [(partition_part(number), why) for number, why in silent.items()]
        redis = next((of.redis for of in keyspace), keyspace.redis)
        facts["redis"] = parts.read("redis memory", lambda: of_redis(keyspace))
        facts["devices_unreadable_by"] = parts.of_fleet("secrets of devices", fleet, _devices_unreadable)
        facts["trimmed"] = parts.read("trimmed entries", lambda: _trimmed(keyspace)) or ()
        skews["redis"] = parts.read("clock of redis", lambda: skew(lambda: clock(redis)))
        if workers:
            facts["workers"] = parts.of_fleet("workers", fleet, signs.read)
            facts["beat"] = parts.of_fleet("beat", fleet, signs.beat)
            facts["late"] = parts.read("digests and reminders", lambda: _late(keyspace)) or {}
    if db is not None:
        facts["unapplied"] = parts.read("schema", lambda: missing(db)) or ()
        facts["read_only"] = parts.read("postgres", lambda: _read_only(db))
        facts["letters"] = parts.read("dead letters", lambda: _letters(db))
        facts["recorded_fleet"] = parts.read("fleet", lambda: recorded(db)) or ""
        facts["outbox"] = parts.read("outbox", lambda: _outbox(db))
        skews["postgres"] = parts.read("clock of postgres", lambda: skew(lambda: postgres.clock(db)))
    if keyspace is not None and db is not None:
        waits = parts.read("backlog", lambda: backlog.read(keyspace, cursors.taken(db)))
        facts["lanes"] = _lanes(waits) if workers and waits is not None else ()
        noted = parts.of_fleet("credentials", keyspace.fleet, partial(_noted, now=now)) or _Noted({}, {})
        facts["providers"] = parts.read(
            "providers", lambda: _providers(keyspace, db, noted, readable, ends or {}, waits)
        )
        facts["apps"] = parts.read("apps", lambda: _apps(db)) or ()
        facts["leaders"] = parts.read("leader", lambda: _leaders(keyspace, db)) if workers else None
        facts["streams"] = (parts.read("intake", lambda: _streams(keyspace, db)) or ()) if workers else ()
    known = {engine: skew for engine, skew in skews.items() if skew is not None}
    return Reading(
        Snapshot(now, skews=known, fleet=get_settings().fleet, host=socket.gethostname(), **facts),
        parts.unknown,
        keyspace is not None,
        db is not None,
    )


def of_redis(keyspace: Keyspace) -> RedisFacts:
    """Of the servers that have the partitions: the one that is fullest, and the worst of their settings."""
    every = [_of_server(redis) for redis in {servers.server_of(of.redis): of.redis for of in keyspace}.values()]
    if not every:
        raise ConnectionError("no server of a partition answers")
    fullest = max(every, key=lambda one: (one.percent, one.used))
    policy = next((one.policy for one in every if one.policy != "noeviction"), fullest.policy)
    followed = [one for one in every if one.replicas]
    return replace(
        fullest,
        policy=policy,
        append_only=all(one.append_only for one in every),
        replicas=sum(one.replicas for one in every),
        needs_replicas=all(one.needs_replicas for one in followed),
    )


def _of_server(redis: Redis) -> RedisFacts:
    memory: Any = redis.info("memory")
    persistence: Any = redis.info("persistence")
    replication: Any = redis.info("replication")
    return RedisFacts(
        int(memory.get("used_memory", 0)),
        int(memory.get("maxmemory", 0)),
        str(memory.get("maxmemory_policy", "noeviction")),
        bool(persistence.get("aof_enabled", True)),
        int(replication.get("connected_slaves", 0)),
        # Said only where a number of them is needed.
        "min_slaves_good_slaves" in replication,
    )


def certificates(fleet: Fleet) -> dict[int, float]:
    """By provider: when its certificate ends, in UNIX seconds, as the workers noted it."""
    found: Any = fleet.redis.hgetall(fleet.keys.CERTIFICATES())
    return {int(id): float(at) for id, at in found.items()}


def _trimmed(keyspace: Keyspace) -> Sequence[Trimmed]:
    return [
        Trimmed(stream, partition.names.app_of(stream), n, at)
        for partition in keyspace
        for stream, (n, at) in sorted(streams.trimmed(partition).items())
        if n > 0
    ]


def _read_only(db: Connection) -> bool:
    [(read_only,)] = db.execute(
        "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean"
    ).fetchall()
    return bool(read_only)


def _letters(db: Connection) -> Letters:
    found = census.dead_letters(db)
    if not found.late:
        return Letters(found.total)
    # More messages than make the dead letters a small share need not be counted.
    most = 100 * found.late // LETTERS_SHARE if found.late < LETTERS_MANY else 0
    [(messages,)] = db.execute(
        "SELECT count(*) FROM (SELECT 1 FROM carillon.messages WHERE seen_at > now() - interval '1 hour' LIMIT %s) AS counted",
        (most,),
    ).fetchall()
    return Letters(found.total, found.late, found.app, found.reason, messages)


def _outbox(db: Connection) -> OutboxFacts | None:
    """None: this role may not read it, as where the outbox is in another database."""
    [(may,)] = db.execute("SELECT has_table_privilege('carillon.outbox', 'SELECT')").fetchall()
    if not may:
        return None
    waits = "FROM carillon.outbox WHERE moved_at IS NULL AND failed_at IS NULL"
    [(waiting, age)] = db.execute(
        f"SELECT (SELECT count(*) FROM (SELECT 1 {waits} LIMIT %s) AS counted),"
        f" (SELECT extract(epoch FROM now() - created_at)::float8 {waits} ORDER BY id LIMIT 1)".encode(),
        (_COUNTED,),
    ).fetchall()
    return OutboxFacts(waiting, age or 0.0)


def _late(keyspace: Keyspace) -> Mapping[str, float]:
    late: dict[str, float] = {}
    for partition in keyspace:
        redis, keys = partition.redis, partition.keys
        now = clock(redis)
        for name, key in (("digests", keys.DIGESTS()), ("reminders", keys.REMINDERS())):
            # A digest that is only to be looked at soon is due at 1.
            first: Any = redis.zrange(key, 2, now, byscore=True, offset=0, num=1, withscores=True)
            if first:
                late[name] = max(late.get(name, 0.0), now - first[0][1])
    return late


def _lanes(waits: Backlog) -> Sequence[LaneFacts]:
    """What waits for a worker. What waits for a time, a rate or a provider is not late."""
    found = []
    for lane in get_args(Lane):
        ready = [one for one in waits.waiting if one.state == "ready" and one.lane == lane]
        ages = [one.oldest for one in ready if one.oldest is not None]
        found.append(
            LaneFacts(
                lane,
                sum(one.notifications for one in ready),
                sum(one.messages for one in ready),
                max(ages, default=None),
                ready[0].app if len({one.app for one in ready}) == 1 else None,
            )
        )
    return found


def _apps(db: Connection) -> Sequence[AppFacts]:
    rows = db.execute("SELECT name, push_enabled FROM carillon.apps ORDER BY name").fetchall()
    off = [name for name, enabled in rows if not enabled]
    busy = set()
    if off:
        found = db.execute(
            "SELECT DISTINCT app FROM carillon.messages WHERE seen_at > now() - interval '10 minutes' AND app = ANY(%s)",
            (off,),
        ).fetchall()
        busy = {app for (app,) in found}
    return [AppFacts(name, enabled, traffic=name in busy) for name, enabled in rows]


def _providers(
    keyspace: Keyspace,
    db: Connection,
    noted: "_Noted",
    readable: Mapping[int, bool] | None,
    ends: Mapping[int, float],
    waits: Backlog | None,
) -> Sequence[ProviderFacts]:
    rows = db.execute(
        "SELECT id, app, name, kind FROM carillon.providers WHERE removed_at IS NULL ORDER BY app, name"
    ).fetchall()
    all_of = cache(keyspace.all_of)  # an app has several providers, and there may be thousands
    theirs: dict[int, list[int]] = {}
    for id, app, *_ in rows:
        for of in all_of(app):
            theirs.setdefault(of.index, []).append(id)
    ways: dict[int, list[WayFacts]] = {}
    for partition in keyspace:
        for id, some in _ways(partition, theirs.get(partition.index, ()), waits).items():
            known_ways = {one.origin for one in ways.setdefault(id, [])}
            ways[id] += [one for one in some if one.origin not in known_ways]
    forms = {form for *_, form in rows}
    words, ending = {form: words_of(form) for form in forms}, {form: may_end(form) for form in forms}
    known = {**noted.ends, **ends}
    return [
        ProviderFacts(
            app,
            name,
            words[form],
            ways.get(id, ()),
            known.get(id) if ending[form] else None,
            None if readable is None else readable.get(id),
            noted.unreadable.get(id),
        )
        for id, app, name, form in rows
    ]


def _ways(partition: Partition, providers: Sequence[int], waits: Backlog | None) -> dict[int, list[WayFacts]]:
    """The ways that do not flow, of those providers that have any. For a stopped provider everything waits."""
    origins = Origins(partition).used(providers)
    every: list[Way] = [*providers, *chain.from_iterable(origins.values())]
    stops, quotas = Breaker(partition).stopped_among(every), Limiter(partition).quotas(every)
    bad = stops.keys() | quotas.keys()
    if not bad:
        return {}
    held = [way for way in every if way in bad or provider_in(way) in bad]
    waiting = Counter[Way]()
    for one in waits.waiting if waits is not None else ():
        if one.way is not None and one.state == "held":
            waiting[one.way] += one.notifications
    losses = _first_losses(partition, held[:_LOOKED_INTO])
    found: dict[int, list[WayFacts]] = {}
    for id in {provider_in(way) for way in bad}:
        of: list[Way] = [id, *origins.get(id, ())]
        found[id] = [
            WayFacts(
                origin_in(way),
                stops.get(way),
                quotas.get(way),
                sum(waiting[one] for one in (of if way == id else (way,))),
                min((losses[one] for one in (of if way == id else (way,)) if one in losses), default=None),
            )
            for way in of
            if way in bad
        ]
    return found


def _first_losses(partition: Partition, ways: Sequence[Way]) -> dict[Way, float]:
    """When the first notification of each way's oldest batch is too old, UNIX seconds."""
    lines = [(way, lane) for way in ways for lane in get_args(Lane)]
    with partition.redis.pipeline(transaction=False) as pipe:
        for way, lane in lines:
            pipe.zrange(partition.keys.LINE(lane, way), 0, 0)
        firsts = [
            (way, ids[0].decode()) for (way, _), ids in zip(lines, pipe.execute() if lines else [], strict=True) if ids
        ]
        for _, id in firsts:
            pipe.hget(partition.keys.BATCH(id), "doc")
        documents = pipe.execute() if firsts else []
    found: dict[Way, float] = {}
    for (way, _), document in zip(firsts, documents, strict=True):
        if document is not None:
            ends = min(sending.expires_at for sending in decode(document).sendings)
            found[way] = min(found.get(way, inf), float(ends))
    return found


class _Noted(NamedTuple):
    """What workers noted of credentials, by provider: when a certificate ends, and the host whose keys do not decrypt one."""

    ends: Mapping[int, float]
    unreadable: Mapping[int, str]


def _noted(fleet: Fleet, *, now: float) -> _Noted:
    return _Noted(certificates(fleet), _unreadable(fleet, now))


def _unreadable(fleet: Fleet, now: float) -> dict[int, str]:
    found: Any = fleet.redis.hgetall(fleet.keys.UNREADABLE())
    notes = {int(id): note.decode(errors="replace").partition(" ") for id, note in found.items()}
    return {id: host for id, (at, _, host) in notes.items() if now - float(at) < NOTE_SECONDS}


def _devices_unreadable(fleet: Fleet) -> str | None:
    host: Any = fleet.redis.get(fleet.keys.UNREADABLE_DEVICES())
    return None if host is None else host.decode(errors="replace")


def _leaders(keyspace: Keyspace, db: Connection) -> Sequence[Leader]:
    several = len(keyspace.partitions) > 1
    made = []
    for of in keyspace:
        found = lease.holder(db, lease.lease_of(of.index, tagged=bool(of.names.mark)))
        owner, since, left = ("", 0.0, -inf) if found is None else (found.owner, found.since, found.until - found.now)
        made.append(Leader(owner, since, left, of.index if several else None))
    return made


def _streams(keyspace: Keyspace, db: Connection) -> Sequence[StreamFacts]:
    several = len(keyspace.partitions) > 1
    found = [one for of in keyspace for one in _streams_of(of, db, of.index if several else None)]
    homes = {app: keyspace.layout.home_of(app) for app in keyspace.layout.spread}
    return [
        replace(one, home=home) if (home := homes.get(one.app or "")) not in (None, one.partition) else one
        for one in found
    ]


def _streams_of(partition: Partition, db: Connection, number: int | None) -> Iterator[StreamFacts]:
    # What comes while this is read is neither old nor ahead.
    moved, entered = postgres.clock(db), clock(partition.redis)
    known = {stream: of for stream, of in cursors.moved_at(db).items() if partition.names.has(stream)}
    found = streams.Streams(partition).figures({stream: cursor for stream, (cursor, _) in known.items()})
    left = clock(partition.redis)
    _, unread = streams.pressure(partition) or (0, {})
    for stream, of in found.items():
        app = partition.names.app_of(stream)
        oldest = None if of.unread is None else max(0.0, entered - ms_of(of.unread) / 1000)
        still = moved - known[stream][1]
        ahead = ms_of(of.last) / 1000 - left
        yield StreamFacts(stream, app, oldest, unread.get(app or ""), still, ahead, of.unread or "", number)
