"""The one list of what needs somebody. `carillon health`, `doctor`, `provider list`, the log, metrics and pages ask it, so that
they agree.

`find` decides over one `Snapshot` and does no I/O. What a snapshot does not know (None) makes no condition: who could not look
says so beside the list. What only follows from another condition is left out.
"""

from collections.abc import Iterable, Iterator, Mapping
from math import inf
from shlex import quote
from typing import Any, Final, Literal, Protocol

import msgspec

from worker.core.breaker import Stopped
from worker.core.fleet import is_foreign
from worker.providers.kinds import commands
from worker.reports.snapshot import (
    LaneFacts,
    Leader,
    Letters,
    OutboxFacts,
    ProviderFacts,
    RedisFacts,
    Snapshot,
    StreamFacts,
    WayFacts,
)
from worker.reports.words import counted, instant, lasting

#: `critical`: pushes are stopped or lost, or soon will be. `warning`: pushes go out, and somebody has to do something.
#: `notice`: pushes go out, and it is good to know.
Severity = Literal["notice", "warning", "critical"]

#: Per cent of Redis' memory from which it is filling up, from which publishers are refused, and from which all writes may be.
FILLING: Final = 70
FULL: Final = 80
SPENT: Final = 99
#: Seconds for which entries may wait while the intake takes nothing.
STILL: Final = 20.0
#: Seconds without a leader: a worker that stops hands over in less.
LEADERLESS: Final = 15.0
#: Seconds that the oldest message or batch may wait for a worker, and from which it is critical.
OLD: Final = 60.0
TOO_OLD: Final = 300.0
#: Seconds that a lane's work may wait without any worker of the lane.
WORKERLESS: Final = 15.0
#: Seconds that a row may wait in the outbox.
BEHIND: Final = 60.0
#: Seconds before its first loss from which a pause is critical.
SOON: Final = 600.0
#: Per cent of an hour's messages from which its dead letters are a warning, and their number from which they are one in any case.
LETTERS_SHARE: Final = 1
LETTERS_MANY: Final = 200
#: Seconds for which trimmed entries are a condition.
TRIMMED: Final = 86_400.0
#: Seconds that two clocks may differ, and from which providers refuse what is signed.
SKEW: Final = 5.0
TOO_SKEWED: Final = 60.0
#: Days before a credential's end from which it is a condition, and from which it is critical.
EXPIRY_DAYS: Final = 30
EXPIRY_SOON: Final = 3
#: Conditions of one name that are listed one by one.
MOST: Final = 50
#: Seconds by which a digest or a reminder may be late.
LATE: Final = 300.0
_DAY: Final = 86_400.0
_RANK: Final[Mapping[Severity, int]] = {"critical": 0, "warning": 1, "notice": 2}

#: A provider gives no good answer, whatever its settings are.
UNANSWERED: Final = ("provider_unreachable", "provider_silent", "provider_unavailable")
#: Nothing but a probe goes over a way.
STOPS: Final = (
    *UNANSWERED,
    *("provider_stopped", "provider_paused", "credential_unusable", "credential_refused", "credential_ended"),
)
#: Every name. docs/reference/conditions.md explains each.
NAMES: Final = (
    *(*STOPS, "provider_over_quota", "credential_ending"),
    *("credential_unreadable", "device_secret_unreadable", "app_without_provider", "app_switched_off", "dead_letters"),
    *(
        "entries_trimmed",
        "outbox_behind",
        "stream_ahead_of_clock",
        "no_leader",
        "intake_not_moving",
        "home_behind",
        "backlog_old",
        "due_late",
    ),
    *(
        "broker_away",
        "no_workers",
        "beat_away",
        "clock_of_worker",
        "not_allowed_here",
        "not_watched",
        "redis_away",
        "partition_away",
        "postgres_away",
    ),
    *("redis_filling", "redis_eviction", "redis_persistence", "redis_replicas", "postgres_read_only", "clock_of_redis"),
    *("clock_of_postgres", "schema_behind"),
)
#: Seconds that a condition must last before it opens, where that is not in the facts. Others open at once.
AFTER: Final[Mapping[str, float]] = {
    "redis_away": 5.0,
    "partition_away": 5.0,
    "postgres_away": 5.0,
    "broker_away": 5.0,
    "backlog_old": 10.0,
    "beat_away": 30.0,
    "no_workers": WORKERLESS,
}
#: Seconds without it after which a condition is over.
OVER: Final = 15.0
#: What does not move. It still follows from an engine for so many seconds after the engine is back: everybody who waited for it
#: needs a moment to go on.
FLOW: Final = ("no_leader", "intake_not_moving", "home_behind", "no_workers", "backlog_old", "due_late")
AFTERMATH: Final = 15.0


class Condition(msgspec.Struct, frozen=True, omit_defaults=True):
    """`what` is wrong, with its cause, and what to `do`: the same sentences as long as it lasts, wherever they are read.

    What changes from moment to moment is in the other fields. Times in UNIX seconds; None: not known, or there is none.
    Redis and Postgres have it by these names.
    """

    name: str
    severity: Severity
    what: str
    do: str
    app: str | None = None
    #: A name.
    provider: str | None = None
    since: float | None = None
    #: Of the provider's origins the one that it is about: `push service updates.push.services.mozilla.com`.
    origin: str = ""
    #: Where no app or provider says it: the lane, the worker, the stream.
    place: str = ""
    #: When it ends by itself.
    until: float | None = None
    #: Notifications that wait because of it.
    waiting: int | None = None
    #: When the first of them is too old to be sent.
    first_loss: float | None = None
    #: Figures of the moment, in words.
    figures: str = ""

    @property
    def text(self) -> str:
        """What is wrong and what to do."""
        return f"{self.what}: {self.do}"

    @property
    def key(self) -> str:
        """By which it is known again."""
        return "/".join((self.name, self.app or "", self.provider or "", self.origin, self.place))

    @property
    def about(self) -> str:
        """What it is about, for a line of a report: `provider chat/apns`, `app chat`, or its name in words."""
        if self.provider is not None:
            return f"provider {self.app}/{self.provider}{self.origin and f', {self.origin}'}"
        return f"app {self.app}" if self.app is not None else self.name.replace("_", " ")

    @property
    def order(self) -> tuple[int, str, str, str, str, str]:
        """The worst first, then by what it is about."""
        return _RANK[self.severity], self.name, self.app or "", self.provider or "", self.origin, self.place


def word(severity: Severity) -> Literal["notice", "warning", "error"]:
    """The severity as documents for monitors have it: `error` is what the releases before call critical."""
    return "error" if severity == "critical" else severity


class Facts(Protocol):
    """What changes about a condition from moment to moment."""

    @property
    def since(self) -> float | None: ...
    @property
    def waiting(self) -> int | None: ...
    @property
    def first_loss(self) -> float | None: ...
    @property
    def figures(self) -> str: ...


def facts(one: Facts, now: float) -> str:
    """Since when it lasts, what waits, and what is lost when, in words; '' if nothing is known."""
    parts = []
    if one.since is not None:
        parts.append(f"since {instant(one.since, to='seconds')}, for {lasting(now - one.since)}")
    if one.figures:
        parts.append(one.figures)
    if one.waiting:
        parts.append(counted(one.waiting, "notification waits", "notifications wait"))
    if one.first_loss is not None:
        at = instant(one.first_loss, to="seconds")
        parts.append(f"the first is lost at {at}" if one.first_loss > now else f"some are lost since {at}")
    return "; ".join(parts)


def find(snapshot: Snapshot) -> list[Condition]:
    """The worst first, then by subject; one of each key. At most `MOST` of each name, and one more that counts the rest."""
    found = [
        *_engines(snapshot),
        *(() if blocked(snapshot) else _flow(snapshot)),
        *_streams(snapshot),
        *_workers(snapshot),
        *(one for provider in snapshot.providers or () for one in _provider(provider, snapshot.now)),
        *_apps(snapshot),
        *_devices(snapshot.devices_unreadable_by),
        *_letters(snapshot.letters),
        *_outbox(snapshot.outbox, snapshot.now),
    ]
    return sorted(_bounded(_single(found)), key=lambda one: one.order)


def blocked(snapshot: Snapshot) -> bool:
    """Whether an engine keeps everything from moving: whatever does not move then is no condition of its own."""
    away = snapshot.redis_fault or snapshot.postgres_fault or snapshot.read_only or snapshot.unapplied
    return bool(away) or _spent(snapshot)


def _spent(snapshot: Snapshot) -> bool:
    """Whether Redis takes nothing, so that beat's ticks reach nobody."""
    return snapshot.redis is not None and snapshot.redis.percent >= SPENT


def _devices(unreadable_by: str | None) -> Iterator[Condition]:
    if unreadable_by is not None:
        what = (
            f"the CARILLON_SECRET_KEYS of the worker on {unreadable_by} do not open the keys of some browsers, which got nothing"
            " (secret_unreadable)"
        )
        do = "give every worker the same keys, an old one until an hour after carillon secrets rotate"
        yield Condition("device_secret_unreadable", "critical", what, do)


def _engines(snapshot: Snapshot) -> Iterator[Condition]:
    if snapshot.redis_fault is not None:
        what = f"Redis does not answer, so nothing is published and nothing is sent ({snapshot.redis_fault})"
        yield Condition("redis_away", "critical", what, "look at its server; everything goes on once it is back")
    elif snapshot.fleet_fault is not None:
        what = "the server of what workers tell each other does not answer, so each of them looks for conditions alone"
        do = "look at its server; the partitions that answer go on"
        yield Condition("redis_away", "critical", f"{what} ({snapshot.fleet_fault})", do)
    if snapshot.silent:
        numbers = ", ".join(map(str, sorted(snapshot.silent)))
        several = len(snapshot.silent) > 1
        what = f"the server of {'partitions' if several else 'partition'} {numbers} does not answer, so nothing of the apps there"
        what += f" is published and sent ({snapshot.silent[min(snapshot.silent)]})"
        yield Condition("partition_away", "critical", what, "look at its server; the other partitions go on")
    if snapshot.postgres_fault is not None:
        what = f"Postgres does not answer, so accepted events wait in Redis ({snapshot.postgres_fault})"
        yield Condition(
            "postgres_away", "critical", what, "look at its server; nothing is lost, and all goes on once it is back"
        )
    if snapshot.read_only:
        what = "Postgres takes no writes, as a replica or a server in recovery does"
        yield Condition(
            "postgres_read_only", "critical", what, "name the primary in CARILLON_POSTGRES_URL, or promote this one"
        )
    if snapshot.unapplied:
        what = f"the database's schema is not up to date, so workers wait ({', '.join(snapshot.unapplied)} not applied)"
        yield Condition("schema_behind", "critical", what, "run carillon migrate")
    if is_foreign(snapshot.recorded_fleet, snapshot.fleet):
        here = f"CARILLON_FLEET is {snapshot.fleet!r}" if snapshot.fleet else "CARILLON_FLEET is not set"
        what = f"the database belongs to fleet {snapshot.recorded_fleet!r}, {here}: pushes go to nobody but those whom"
        what += " app set --only-to names"
        yield Condition("not_allowed_here", "warning", what, "if it is yours: carillon fleet --take-over")
    if snapshot.redis is not None:
        yield from _redis(snapshot.redis)
    yield from _clocks(snapshot)


def _clocks(snapshot: Snapshot) -> Iterator[Condition]:
    """Where both engines differ from this machine alike, it is this machine's clock that is off."""
    off = {engine: skew for engine, skew in snapshot.skews.items() if abs(skew) > SKEW}
    if len(off) > 1 and max(off.values()) - min(off.values()) <= SKEW:
        yield _clock("clock_of_worker", -min(off.values(), key=abs), "that of the engines", place=snapshot.host)
        return
    for engine, skew in off.items():
        yield _clock(f"clock_of_{engine}", skew, "this machine's")


def _clock(name: str, skew: float, other: str, place: str = "") -> Condition:
    severity: Severity = "critical" if abs(skew) >= TOO_SKEWED else "warning"
    whose = f"the clock of {place}" if place else "its clock"
    what = f"{whose} is {'ahead of' if skew > 0 else 'behind'} {other}, so provider tokens and expiries go wrong"
    return Condition(name, severity, what, "set both by NTP", place=place, figures=f"by {abs(skew):.1f} s")


def _redis(redis: RedisFacts) -> Iterator[Condition]:
    percent = redis.percent
    if percent >= FILLING:
        refused = "publishers are refused" if percent >= FULL else f"publishers are refused from {FULL} % on"
        do = "see that workers run and providers flow, or raise maxmemory"
        severity: Severity = "critical" if percent >= FULL else "warning"
        yield Condition(
            "redis_filling", severity, f"its memory fills up, and {refused}", do, figures=f"{percent} % is used"
        )
    if redis.maximum and redis.policy != "noeviction":
        what = f"maxmemory-policy is {redis.policy}, so Redis may throw away pushes when it is full"
        yield Condition("redis_eviction", "critical", what, "set maxmemory-policy noeviction")
    if not redis.append_only:
        what = "appendonly is off, so a restart loses pushes"
        yield Condition("redis_persistence", "warning", what, "set appendonly yes in redis.conf")
    if redis.replicas and not redis.needs_replicas:
        what = "min-replicas-to-write is 0, so a primary that is cut off takes events that a failover loses"
        do = "set min-replicas-to-write 1 and min-replicas-max-lag 2 on every server"
        yield Condition("redis_replicas", "warning", what, do, figures=f"{redis.replicas} connected")


def _flow(snapshot: Snapshot) -> Iterator[Condition]:
    """What does not move, or too slowly."""
    unled = set()
    for leader in snapshot.leaders or ():
        waits = any(one.oldest is not None for one in snapshot.streams if one.partition == leader.partition)
        # A new system with no unread entries needs no leader yet.
        if leader.left < -LEADERLESS and (leader.owner or waits):
            unled.add(leader.partition)
            yield _no_leader(leader, snapshot.now)
    by_partition = {one.partition: one for one in snapshot.leaders or ()}
    behind = {(one.app, one.partition) for one in snapshot.streams if one.oldest is not None}
    for stream in snapshot.streams:
        waits_for = stream.home in unled or (stream.app, stream.home) in behind
        if stream.home is not None and waits_for and _still(stream) >= STILL:
            yield _home_behind(stream, stream.home, snapshot.now)
        elif stream.partition not in unled:
            yield from _stream(stream, by_partition.get(stream.partition), snapshot.now)
    running = {lane for one in snapshot.workers or () if one.age < WORKERLESS for lane in one.lanes}
    for lane in snapshot.lanes:
        yield from _lane(lane, worked=snapshot.workers is None or lane.lane in running)
    for name, late in snapshot.late.items():
        if late >= LATE:
            what, do = f"{name} are late", "see the workers' log for ticks that fail; where there are none, add workers"
            yield Condition("due_late", "warning", what, do, place=name, figures=f"the first one by {lasting(late)}")


def _no_leader(leader: Leader, now: float) -> Condition:
    last = f"{leader.owner} was the last" if leader.owner else "nobody ever did"
    where = "the stream" if leader.partition is None else f"the streams of partition {leader.partition}"
    what, since = f"no worker takes events off {where} ({last})", now + leader.left if leader.owner else None
    place = "" if leader.partition is None else f"partition {leader.partition}"
    return Condition(
        "no_leader", "critical", what, "start carillon worker, or look at its log", since=since, place=place
    )


def _still(stream: StreamFacts) -> float:
    """Seconds for which entries have waited while none was taken."""
    oldest = stream.oldest or 0.0
    return min(oldest, oldest if stream.still is None else stream.still)


def _home_behind(stream: StreamFacts, home: int, now: float) -> Condition:
    what = (
        f"messages of {stream.app} wait on {stream.name}, as partition {home}, its home, has not committed what was published"
        " before them"
    )
    do = f"see why the intake of partition {home} does not move: its leader's log, its Redis server"
    n = "" if stream.waiting is None else counted(stream.waiting, "entry waits", "entries wait")
    place, since = f"partition {stream.partition}", now - _still(stream)
    return Condition("home_behind", "critical", what, do, stream.app, since=since, place=place, figures=n)


def _stream(stream: StreamFacts, leader: Leader | None, now: float) -> Iterator[Condition]:
    if stream.oldest is None:
        return
    n = "" if stream.waiting is None else counted(stream.waiting, "entry waits", "entries wait")
    still = _still(stream)
    if still >= STILL:
        whose = f"that of {leader.owner}, which leads" if leader is not None else "the workers'"
        first = f" ({stream.first} is the first)" if stream.first else ""
        what, do = f"entries wait on {stream.name}{first}, and none is taken", f"look at the log, {whose}"
        place = "" if stream.partition is None else f"partition {stream.partition}"
        yield Condition(
            "intake_not_moving", "critical", what, do, stream.app, since=now - still, place=place, figures=n
        )
    elif stream.oldest >= OLD:
        what = f"entries of {stream.name} wait too long to be taken"
        do = "add workers, as what was taken before has to go out first, or publish more slowly"
        place = "stream" if stream.partition is None else f"stream of partition {stream.partition}"
        yield _old(place, stream.app, stream.oldest, what, do, n)


def _lane(lane: LaneFacts, *, worked: bool) -> Iterator[Condition]:
    """`worked`: whether a worker of the lane is alive, as far as is known."""
    if lane.oldest is None:
        return
    if not worked and lane.oldest >= WORKERLESS:
        what = f"no worker of the {lane.lane} lane takes work, though some waits"
        do = f"start carillon worker --lane {lane.lane}, or look at its log"
        yield Condition("no_workers", "critical", what, do, place=lane.lane, figures=lane.waiting)
    elif worked and lane.oldest >= OLD:
        do = f"add workers: carillon worker --lane {lane.lane}"
        if lane.app is not None:
            do += f"; all of it is of app {lane.app}, see its rate: carillon app show {quote(lane.app)}"
        what = f"work of the {lane.lane} lane waits too long for a worker"
        yield _old(lane.lane, lane.app, lane.oldest, what, do, lane.waiting)


def _old(place: str, app: str | None, age: float, what: str, do: str, waits: str) -> Condition:
    severity: Severity = "critical" if age >= TOO_OLD else "warning"
    figures = f"{waits}, the oldest for {lasting(age)}" if waits else f"the oldest waits for {lasting(age)}"
    return Condition("backlog_old", severity, what, do, app, place=place, figures=figures)


def _streams(snapshot: Snapshot) -> Iterator[Condition]:
    """What was done to the streams from outside."""
    for stream in snapshot.streams:
        if stream.ahead > SKEW:
            what = (
                f"the newest id of {stream.name} is ahead of Redis' clock: the clock was ahead once, or a producer gives ids of"
                " its own"
            )
            do, by = "set the clock, and let Redis give the ids ('*')", f"by {stream.ahead:,.0f} s"
            yield Condition("stream_ahead_of_clock", "warning", what, do, stream.app, place=stream.name, figures=by)
    for one in snapshot.trimmed:
        if snapshot.now - one.at < TRIMMED:
            what = (
                f"entries of {one.stream} were gone before they were done, so their pushes are lost: somebody else took them off,"
                " or an engine came back with less than it had"
            )
            do = "no producer may use MAXLEN, XTRIM or XDEL; after a restore: docs/backup.md"
            n = counted(one.n, "entry is gone", "entries are gone")
            yield Condition("entries_trimmed", "critical", what, do, one.app, place=one.stream, figures=n)


def _workers(snapshot: Snapshot) -> Iterator[Condition]:
    if (ago := snapshot.unwatched) is not None:
        what = "no process looks for conditions, so what else is said may be no longer true"
        since = snapshot.now - ago if ago < inf else None
        yield Condition("not_watched", "critical", what, "see that carillon worker runs, and its log", since=since)
    if snapshot.beat is False and not _spent(snapshot):
        what = "beat sends no tick, so workers tick instead and what is due comes some seconds later"
        yield Condition("beat_away", "notice", what, "start or restart carillon beat")
    living = [one for one in snapshot.workers or () if one.age < WORKERLESS]
    if without := [one for one in living if one.broker]:
        what = f"Celery's broker does not answer ({without[0].broker}), so nobody is woken and pushes go out slowly"
        do = "look at its server and at CARILLON_BROKER_URL; everything goes on once it is back"
        many = f"for {len(without)} of {counted(len(living), 'worker')}"
        yield Condition("broker_away", "critical", what, do, figures=many)
    for one in living:
        if abs(one.ahead) > SKEW:
            yield _clock("clock_of_worker", one.ahead, "that of Redis", place=one.name.partition("@")[2] or one.name)


def _provider(one: ProviderFacts, now: float) -> Iterator[Condition]:
    if one.unreadable_by is not None:
        what = f"the CARILLON_SECRET_KEYS of the worker on {one.unreadable_by} do not decrypt its credential"
        waiting = sum(way.waiting for way in one.ways)
        yield _of(
            one,
            "credential_unreadable",
            "critical",
            what,
            "give every worker the same keys, or store it again",
            waiting=waiting or None,
        )
    elif one.readable is False:
        what = "none of the keys in CARILLON_SECRET_KEYS decrypts its credential"
        do = f"add the key it was stored with, or store it again with {_store(one)}"
        yield _of(one, "credential_unreadable", "critical", what, do)
    for way in one.ways:
        for found in _way(one, way, now):
            yield msgspec.structs.replace(found, origin=f"{one.words.origin} {way.origin}" if way.origin else "")
    if one.ends is None:
        return
    left = one.ends - now
    do = f"{one.words.renew} and store it with {_store(one)}"
    on = instant(one.ends, to="seconds")
    if left <= 0:
        yield _of(one, "credential_ended", "critical", f"its {one.words.ending} ended at {on}", do, since=one.ends)
    elif left <= EXPIRY_DAYS * _DAY:
        severity: Severity = "critical" if left <= EXPIRY_SOON * _DAY else "warning"
        do += f"{one.words.instead and f', or {one.words.instead}'}"
        days = f"in {counted(round(left / _DAY), 'day')}"
        yield _of(one, "credential_ending", severity, f"its {one.words.ending} ends at {on}", do, figures=days)


def _of(one: ProviderFacts, name: str, severity: Severity, what: str, do: str, **more: Any) -> Condition:
    return Condition(name, severity, what, do, one.app, one.name, **more)


def _way(one: ProviderFacts, way: WayFacts, now: float) -> Iterator[Condition]:
    waits: dict[str, Any] = {"waiting": way.waiting or None, "first_loss": way.first_loss}
    if (stopped := way.stopped) and not (one.unreadable_by and stopped.reason == "unusable_credential"):
        name, what, do = _stop(one, stopped)
        late = not stopped.manual or (way.first_loss is not None and way.first_loss - now <= SOON)
        yield _of(one, name, "critical" if late else "warning", what, do, since=stopped.since, **waits)
    if (quota := way.quota) is not None:
        goes = f"nothing goes there until {instant(quota.until)}" if now < quota.until else "it begins again, slowly"
        do = f"it needs nobody, but where it comes often ask for a higher quota, or set a rate: carillon app set {quote(one.app)}"
        what = f"it is over its quota ({quota.reason}), and goes on by itself"
        more = {"since": quota.since, "until": quota.until, "figures": goes, **waits}
        yield _of(one, "provider_over_quota", "warning", what, f"{do} --provider-rate", **more)


#: By the breaker's reason: the condition's name, and what is wrong. Other reasons are answers of the provider.
_OF_REASON: Final = {
    "unreachable": ("provider_unreachable", "it cannot be reached"),
    "refused": ("provider_unreachable", "it refuses connections"),
    "silent": ("provider_silent", "it does not answer"),
    "timeout": ("provider_silent", "it does not answer in time"),
    "slow": ("provider_silent", "it answers too slowly"),
    "unavailable": ("provider_unavailable", "it answers mostly 5xx or 429"),
    "unusable_credential": ("credential_unusable", "its key or certificate cannot be used"),
    "certificate_topic": ("credential_unusable", "its certificate is not for the topic of these pushes"),
    "certificate_expired": ("credential_ended", "its certificate has ended"),
    "tls alert": ("credential_refused", "its host refuses the certificate, or wants one"),
    "access_token_refused": ("credential_refused", "the token endpoint refuses its service account"),
    "clock": ("provider_stopped", "its host calls fresh provider tokens expired"),
    "mass_refusal": ("provider_stopped", "it refuses most device tokens"),
    "refused_unproven": ("provider_stopped", "it refuses device tokens and has accepted nothing with this key"),
}


def _stop(one: ProviderFacts, stopped: Stopped) -> tuple[str, str, str]:
    """The condition's name, what is wrong, and what to do."""
    if stopped.manual:
        resume = f"let it flow again: carillon provider resume {quote(one.name)} --app {quote(one.app)}"
        return "provider_paused", f"it is paused by hand ({stopped.reason}), and its pushes are held back", resume
    kind, _, more = stopped.reason.partition(":")
    name, what = _OF_REASON.get(kind.strip(), ("provider_stopped", "its answers say that something is wrong with it"))
    detail = f" ({stopped.reason})" if more or kind not in _OF_REASON else f" ({kind})"
    return name, f"{what}{detail}, and its pushes are held back", _remedy(one, name)


def _remedy(one: ProviderFacts, name: str) -> str:
    if name in UNANSWERED:
        return "look at its host and at the network; its pushes go out once it answers, and a restart does not help"
    if name.startswith("credential"):
        return f"store it again with {_store(one)}"
    return one.words.fix


def _apps(snapshot: Snapshot) -> Iterator[Condition]:
    if snapshot.providers is None:
        return
    with_provider = {one.app for one in snapshot.providers}
    for app in snapshot.apps:
        if app.name not in with_provider:
            what, do = "it has no provider, so nothing can be pushed", f"store one: {commands(quote(app.name))}"
            yield Condition("app_without_provider", "warning", what, do, app.name)
        elif not app.push_enabled and app.traffic:
            do = f"switch them on: carillon app set {quote(app.name)} --push"
            yield Condition("app_switched_off", "warning", "pushes are off, and messages come", do, app.name)


def _letters(letters: Letters | None) -> Iterator[Condition]:
    if letters is None or not letters.late:
        return
    many = letters.late * 100 > LETTERS_SHARE * letters.messages or letters.late >= LETTERS_MANY
    most = f", most of them of app {letters.app or '(unknown)'}: {letters.reason}" if letters.reason else ""
    what = "documents could not be read or handled, and nobody is pushed to for them"
    do = "correct what publishes them, then retry or drop them: carillon dead-letters list"
    figures = f"{letters.late:,} in the last hour{most}; {letters.total:,} in all"
    yield Condition("dead_letters", "warning" if many else "notice", what, do, figures=figures)


def _outbox(outbox: OutboxFacts | None, now: float) -> Iterator[Condition]:
    if outbox is not None and outbox.oldest >= BEHIND:
        what, do = (
            "committed events wait in the outbox and are not published",
            "see that carillon outbox relay runs, and its log",
        )
        figures = f"{counted(outbox.waiting, 'row waits', 'rows wait')}, the oldest for {lasting(outbox.oldest)}"
        yield Condition("outbox_behind", "warning", what, do, since=now - outbox.oldest + BEHIND, figures=figures)


def _single(found: Iterable[Condition]) -> Iterator[Condition]:
    """One of each key: the first, as it tells more."""
    seen = set()
    for one in found:
        if one.key not in seen:
            seen.add(one.key)
            yield one


def _bounded(found: Iterable[Condition]) -> Iterator[Condition]:
    by_name: dict[str, list[Condition]] = {}
    for one in found:
        by_name.setdefault(one.name, []).append(one)
    for name, alike in by_name.items():
        alike.sort(key=lambda one: one.order)
        yield from alike[:MOST]
        if len(alike) > MOST:
            n = f"{len(alike) - MOST:,} more"
            yield Condition(
                f"{name}_more", alike[0].severity, f"there are more of {name}", "begin with those above", figures=n
            )


def _store(one: ProviderFacts) -> str:
    return f"carillon push {one.words.command} --app {quote(one.app)} --name {quote(one.name)}"
