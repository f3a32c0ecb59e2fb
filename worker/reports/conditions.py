"""The one list of what needs somebody. `carillon health`, `doctor`, `provider list` and the log ask it, so that they agree.

`find` decides over one `Snapshot` and does no I/O: `worker/reports/reading.py` reads it. What a snapshot does not know (None)
makes no condition: who could not look says so beside the list.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from shlex import quote
from typing import Final, Literal, NamedTuple

from worker.core.breaker import Quota, Stopped
from worker.core.fleet import is_foreign
from worker.providers.base import Words
from worker.providers.kinds import commands
from worker.reports.words import counted, instant

#: `error`: pushes are stopped or lost, or soon will be. `warning`: everything flows, and somebody has to do something.
Severity = Literal["warning", "error"]

#: Per cent of Redis' memory from which it is filling up, and from which publishers are refused.
FILLING: Final = 70
FULL: Final = 80
#: Seconds for which entries may wait while the intake takes nothing.
STILL: Final = 30.0
#: Seconds without a leader: a worker that stops hands over in less.
LEADERLESS: Final = 10.0
#: Seconds for which trimmed entries are a condition.
TRIMMED: Final = 86_400.0
#: Seconds that two clocks may differ.
SKEW: Final = 5.0
#: Days before a credential's end from which it is a condition.
EXPIRY_DAYS: Final = 30
#: Conditions of one name that are listed one by one.
MOST: Final = 50
_DAY: Final = 86_400.0


class Condition(NamedTuple):
    """`text` says what is wrong and what to do. `provider` is a name; `since`, `until` UNIX seconds, or None: not known.

    Redis has the fields in this order: those of later releases come last, with defaults.
    """

    name: str
    severity: Severity
    text: str
    app: str | None = None
    provider: str | None = None
    since: float | None = None
    #: Of the provider's origins the one that it is about: `push service updates.push.services.mozilla.com`.
    origin: str = ""
    until: float | None = None

    @property
    def key(self) -> str:
        """By which it is known again."""
        parts = (self.name, self.app, self.provider, *([self.origin] if self.origin else ()))
        return "/".join(part or "" for part in parts)

    @property
    def about(self) -> str:
        """What it is about, for a line of a report: `provider chat/apns`, `app chat`, or its name in words."""
        if self.provider is not None:
            return f"provider {self.app}/{self.provider}{self.origin and f', {self.origin}'}"
        return f"app {self.app}" if self.app is not None else self.name.replace("_", " ")


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """What INFO says."""

    used: int = 0
    #: 0: no limit.
    maximum: int = 0
    policy: str = "noeviction"
    append_only: bool = True


@dataclass(frozen=True, slots=True)
class AppFacts:
    name: str
    push_enabled: bool = True
    #: Whether it got recent messages; only asked if pushes are off.
    traffic: bool = False


@dataclass(frozen=True, slots=True)
class WayFacts:
    #: Empty: the whole provider.
    origin: str = ""
    stopped: Stopped | None = None
    quota: Quota | None = None
    #: Batches that wait for it.
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class ProviderFacts:
    app: str
    name: str
    words: Words
    #: Those that do not flow.
    ways: Sequence[WayFacts] = ()
    #: UNIX seconds at which its certificate ends; None: it has none, or it could not be read.
    ends: float | None = None
    #: Whether the keys at hand decrypt its credential; None: not tried.
    readable: bool | None = None
    #: A worker (host) whose keys do not.
    unreadable_by: str | None = None


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """A stream of events. Times in UNIX seconds by the engines' clocks."""

    name: str
    #: None: the stream of all apps.
    app: str | None = None
    #: Age of the oldest entry that was not taken, in seconds; None: none waits.
    oldest: float | None = None
    waiting: int | None = None
    #: Seconds since the intake last moved its cursor; None: not known.
    still: float | None = None
    #: Seconds by which the newest id is ahead of Redis' clock.
    ahead: float = 0.0
    #: Id of that oldest entry.
    first: str = ""


class Trimmed(NamedTuple):
    """Entries that somebody else took off a stream, and when the last was missed (UNIX seconds)."""

    stream: str
    app: str | None
    n: int
    at: float


@dataclass(frozen=True, slots=True)
class Leader:
    """Who took the intake's lease last."""

    owner: str
    since: float
    #: Seconds until the lease ends; negative: nobody leads.
    left: float


@dataclass(frozen=True, slots=True)
class Letters:
    """Dead letters: all, those of the last hour, and of these the most frequent app and reason."""

    total: int = 0
    late: int = 0
    app: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that the conditions depend on, of one moment. None: it could not be read."""

    now: float
    apps: Sequence[AppFacts] = ()
    providers: Sequence[ProviderFacts] | None = None
    streams: Sequence[StreamFacts] = ()
    redis: RedisFacts | None = None
    #: Postgres takes no writes.
    read_only: bool | None = None
    #: Nobody ever led: `Leader` with an empty owner. None: not known, or no workers are expected.
    leader: Leader | None = None
    letters: Letters | None = None
    trimmed: Sequence[Trimmed] = ()
    #: A worker (host) whose keys did not open a device's secret, in the last minutes.
    devices_unreadable_by: str | None = None
    #: Seconds by which an engine's clock is ahead of this host's.
    skews: dict[str, float] = field(default_factory=dict)
    #: This fleet's name, and that of the fleet that the database belongs to.
    fleet: str = ""
    recorded_fleet: str = ""


def find(snapshot: Snapshot) -> list[Condition]:
    """The conditions: errors first, then by subject. At most `MOST` of each name, and one that counts the rest."""
    found = [
        *_engines(snapshot),
        *_intake(snapshot),
        *(one for provider in snapshot.providers or () for one in _provider(provider, snapshot.now)),
        *_apps(snapshot),
        *_devices(snapshot.devices_unreadable_by),
        *_letters(snapshot.letters),
    ]
    return sorted(
        _bounded(found),
        key=lambda one: (one.severity != "error", one.name, one.app or "", one.provider or "", one.origin),
    )


def _devices(unreadable_by: str | None) -> Iterator[Condition]:
    if unreadable_by is not None:
        text = (
            f"the CARILLON_SECRET_KEYS of the worker on {unreadable_by} do not open the keys of some browsers, which got nothing"
            " (secret_unreadable): give every worker the same keys, an old one until an hour after carillon secrets rotate"
        )
        yield Condition("device_secret_unreadable", "error", text)


def _engines(snapshot: Snapshot) -> Iterator[Condition]:
    if snapshot.read_only:
        text = (
            "Postgres takes no writes, as a replica or a server in recovery does: name the primary, or promote this one"
        )
        yield Condition("postgres_read_only", "error", text)
    if is_foreign(snapshot.recorded_fleet, snapshot.fleet):
        here = f"CARILLON_FLEET is {snapshot.fleet!r}" if snapshot.fleet else "CARILLON_FLEET is not set"
        text = f"the database belongs to fleet {snapshot.recorded_fleet!r}, {here}: pushes go to nobody but those whom"
        text += " app set --only-to names; if it is yours: carillon fleet --take-over"
        yield Condition("not_allowed_here", "warning", text)
    if (redis := snapshot.redis) is not None:
        yield from _redis(redis)
    for engine, skew in snapshot.skews.items():
        if abs(skew) > SKEW:
            text = f"{abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} this machine's: set both by NTP"
            yield Condition(f"clock_of_{engine}", "warning", f"{text}, or provider tokens and expiries go wrong")


def _redis(redis: RedisFacts) -> Iterator[Condition]:
    percent = redis.used * 100 // redis.maximum if redis.maximum else 0
    if percent >= FILLING:
        refused = "publishers are refused" if percent >= FULL else f"publishers are refused from {FULL} % on"
        text = f"{percent} % of its memory is used, and {refused}: see that workers run and providers flow, or raise maxmemory"
        yield Condition("redis_filling", "error" if percent >= FULL else "warning", text)
    if redis.maximum and redis.policy != "noeviction":
        text = f"{redis.policy}: Redis may throw away pushes when it is full: set maxmemory-policy noeviction"
        yield Condition("redis_eviction", "error", text)
    if not redis.append_only:
        text = "appendonly is off, so a restart loses pushes: set appendonly yes in redis.conf"
        yield Condition("redis_persistence", "warning", text)


def _intake(snapshot: Snapshot) -> Iterator[Condition]:
    leader = snapshot.leader
    waits = any(stream.oldest is not None for stream in snapshot.streams)
    # A new system with no unread entries needs no leader yet.
    nobody = leader is not None and leader.left < -LEADERLESS and bool(leader.owner or waits)
    if leader is not None and nobody:
        last = f"{leader.owner} did until {-leader.left:.0f} s ago" if leader.owner else "nobody ever did"
        text = f"no worker takes events off the stream ({last}): start carillon worker, or look at its log"
        yield Condition("no_leader", "error", text, since=snapshot.now + leader.left if leader.owner else None)
    for stream in snapshot.streams:
        still = (
            None
            if stream.oldest is None
            else min(stream.oldest, stream.oldest if stream.still is None else stream.still)
        )
        if still is not None and still >= STILL and not nobody:
            n = stream.waiting
            waiting = "entries wait" if n is None else counted(n, "entry waits", "entries wait")
            whose = f"that of {leader.owner}, which leads" if leader is not None else "the workers'"
            first = f", the first is {stream.first}" if stream.first else ""
            text = f"{waiting} on {stream.name}{first}, and none was taken for {still:.0f} s: look at the log, {whose}"
            yield Condition("intake_not_moving", "error", text, stream.app, since=snapshot.now - still)
        if stream.ahead > SKEW:
            text = (
                f"the newest id of {stream.name} is {stream.ahead:,.0f} s ahead of Redis' clock: it was ahead once, or a producer"
                " gives ids of its own; set the clock, and let Redis give the ids ('*')"
            )
            yield Condition("stream_ahead_of_clock", "warning", text, stream.app)
    for one in snapshot.trimmed:
        if snapshot.now - one.at < TRIMMED:
            text = (
                f"{counted(one.n, 'entry was', 'entries were')} taken off {one.stream} by somebody else before they were done,"
                " so their pushes are lost: no producer may use MAXLEN, XTRIM or XDEL"
            )
            yield Condition("entries_trimmed", "error", text, one.app)


def _provider(one: ProviderFacts, now: float) -> Iterator[Condition]:
    def condition(name: str, severity: Severity, text: str, since: float | None = None) -> Condition:
        return Condition(name, severity, text, one.app, one.name, since)

    if one.unreadable_by is not None:
        text = f"the CARILLON_SECRET_KEYS of the worker on {one.unreadable_by} do not decrypt its credential: give every worker"
        yield condition("credential_unreadable", "error", f"{text} the same keys, or store it again")
    elif one.readable is False:
        text = "none of the keys in CARILLON_SECRET_KEYS decrypts its credential: add the key it was stored with, or store it"
        yield condition("credential_unreadable", "error", f"{text} again with {_store(one)}")
    for way in one.ways:
        for found in _way(one, way, now):
            yield found._replace(origin=f"{one.words.origin} {way.origin}" if way.origin else "")
    if one.ends is None:
        return
    days = (one.ends - now) / _DAY
    anew = f"{one.words.renew} and store it with"
    if days <= 0:
        text = f"its {one.words.ending} ended {counted(round(-days), 'day')} ago: {anew} {_store(one)}"
        yield condition("credential_ended", "error", text, one.ends)
    elif days <= EXPIRY_DAYS:
        text = (
            f"its {one.words.ending} is good for {counted(round(days), 'day')} only: {anew} {_store(one)}"
            f"{one.words.instead and f', or {one.words.instead}'}"
        )
        yield condition("credential_ending", "warning", text)


def _way(one: ProviderFacts, way: WayFacts, now: float) -> Iterator[Condition]:
    if (stopped := way.stopped) and not (one.unreadable_by and stopped.reason == "unusable_credential"):
        name, text = _stop(one, stopped, way.waiting, now)
        yield Condition(name, "error", text, one.app, one.name, stopped.since)
    if (quota := way.quota) is not None:
        began = f"over its quota for {max(0.0, now - quota.since):.0f} s ({quota.reason})"
        goes = f"nothing goes there until {instant(quota.until)}" if now < quota.until else "it begins again, slowly"
        text = f"{began}{_waits(way.waiting)}: {goes}; it needs nobody, but where it comes often ask for a higher quota, or set"
        text += f" a rate: carillon app set {quote(one.app)} --provider-rate"
        yield Condition("provider_over_quota", "warning", text, one.app, one.name, quota.since, until=quota.until)


def _waits(waiting: int) -> str:
    return f"; {counted(waiting, 'batch waits', 'batches wait')}" if waiting else ""


#: By the breaker's reason: the condition's name, and what is wrong. Other reasons are answers of the provider.
_STOPS: Final = {
    "unreachable": ("provider_unreachable", "it cannot be reached"),
    "refused": ("provider_unreachable", "it refuses connections"),
    "silent": ("provider_silent", "it does not answer"),
    "timeout": ("provider_silent", "it does not answer in time"),
    "slow": ("provider_silent", "it answers too slowly"),
    "unavailable": ("provider_unavailable", "it answers mostly 5xx or 429"),
    "unusable_credential": ("credential_unusable", "its key or certificate cannot be used"),
    "certificate_expired": ("credential_ended", "its certificate has ended"),
    "tls alert": ("credential_refused", "its host refuses the certificate, or wants one"),
    "clock": ("provider_stopped", "its host calls fresh provider tokens expired"),
    "mass_refusal": ("provider_stopped", "it refuses most device tokens"),
}


def _stop(one: ProviderFacts, stopped: Stopped, waiting: int, now: float) -> tuple[str, str]:
    since, waits = f"for {max(0.0, now - stopped.since):.0f} s", _waits(waiting)
    resume = f"carillon provider resume {quote(one.name)} --app {quote(one.app)}"
    if stopped.manual:
        return "provider_paused", f"paused by hand {since}: {stopped.reason}{waits}: {resume}"
    kind, _, more = stopped.reason.partition(":")
    name, what = _STOPS.get(kind.strip(), ("provider_stopped", "its answers say that something is wrong with it"))
    detail = f" ({stopped.reason})" if more or kind not in _STOPS else f" ({kind})"
    return name, f"stopped {since}: {what}{detail}{waits}: {_remedy(one, name)}"


def _remedy(one: ProviderFacts, name: str) -> str:
    if name in ("provider_unreachable", "provider_silent", "provider_unavailable"):
        return "look at its host and at the network; it flows by itself once it answers"
    if name.startswith("credential"):
        return f"store it again with {_store(one)}"
    return one.words.fix


def _apps(snapshot: Snapshot) -> Iterator[Condition]:
    if snapshot.providers is None:
        return
    with_provider = {one.app for one in snapshot.providers}
    for app in snapshot.apps:
        if app.name not in with_provider:
            text = f"it has no provider, so nothing can be pushed: {commands(quote(app.name))}"
            yield Condition("app_without_provider", "warning", text, app.name)
        elif not app.push_enabled and app.traffic:
            text = f"pushes are off, and messages come: carillon app set {quote(app.name)} --push"
            yield Condition("app_switched_off", "warning", text, app.name)


def _letters(letters: Letters | None) -> Iterator[Condition]:
    if letters is not None and letters.late:
        most = f", most of them of app {letters.app or '(unknown)'}: {letters.reason}" if letters.reason else ""
        late = f"{letters.late:,} of them in the last hour"
        yield Condition(
            "dead_letters", "warning", f"{letters.total:,} in all, {late}: carillon dead-letters list{most}"
        )


def _bounded(found: Iterable[Condition]) -> Iterator[Condition]:
    by_name: dict[str, list[Condition]] = {}
    for one in found:
        by_name.setdefault(one.name, []).append(one)
    for name, alike in by_name.items():
        yield from alike[:MOST]
        if len(alike) > MOST:
            worst: Severity = "error" if any(one.severity == "error" for one in alike) else "warning"
            yield Condition(f"{name}_more", worst, f"and {len(alike) - MOST:,} more with {name}")


def _store(one: ProviderFacts) -> str:
    return f"carillon push {one.words.command} --app {quote(one.app)} --name {quote(one.name)}"
