"""One run: the system under steady traffic, faults alone and mixed, then everything mended, and the account."""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, NamedTuple

import psutil
import psycopg
import redis

from producers import PublishError
from producers.events import MemberAdded, MessageNew
from producers.partitions import Layout
from tests.chaos import account, schedule, shared
from tests.chaos.account import Account, Excuses, Failover, Kill, Passed, Place
from tests.chaos.crew import WORKERS
from tests.chaos.faults import ALONE_ONLY, FAULTS, KILLS, PLANNED, faults_of
from tests.chaos.progress import Progress, left_in
from tests.chaos.services import kind_of
from tests.chaos.system import Engine, System, await_true, running
from tests.chaos.traffic import Sent
from tests.chaos.watch import Sample, Watch, of_event
from tests.chaos.world import KIND_OF_WAY, STEADY, Channel, Said, World
from worker.core.backoff import LONGEST_DELAY
from worker.core.batch import Lane
from worker.core.push_ids import apns_id
from worker.reports.invariants import check_invariants
from worker.state.partition import Keyspace
from worker.state.redis import Unavailable as RedisUnavailable
from worker.state.redis import connect

#: Seconds of traffic before the first fault, in a short run and in one where each fault comes alone first.
CALM: Final = 8.0
LONG_CALM: Final = 20.0
#: Kills of a worker with nothing else near, and the seconds from one on that belong to it.
KILLS_APART: Final = 6
APART: Final = 15.0
#: Messages that are published just before such a kill.
BUSY: Final = 3000
#: Seconds after a fault of Redis' in which outcomes may still be unwritten: a killed one has to come up first.
RETURNS: Final = 3.0
#: Seconds that a single fault is watched after its end at most, and that it takes beyond its own where what it needs is away.
AFTER: Final = 60.0
PATIENT: Final = 60.0
#: Seconds of rest after a single fault.
REST: Final = 2.0
#: Seconds for which redirects are tried, once nothing else is at fault, and for which one try is waited for.
REDIRECTS: Final = 120.0
REDIRECTED: Final = 15.0
#: What stands ready: messages and batches, of both lanes.
_LINES: Final[tuple[tuple[Literal["e", "b"], Lane], ...]] = (
    ("e", "urgent"),
    ("e", "bulk"),
    ("b", "urgent"),
    ("b", "bulk"),
)
#: Kinds of services whose faults follow one another in a mix; None: what befalls us.
_TRACKS: Final = ((None,), ("apns",), ("fcm", "web"))


class Window(NamedTuple):
    """A fault and when it was in force, UNIX seconds."""

    fault: str
    began: float
    ended: float


@dataclass(frozen=True)
class Options:
    """`scale` is the part of 100,000 that a burst has events and the largest channel members."""

    seconds: float
    seed: int
    faults: tuple[str, ...] = ()
    rate: float = 12.0
    scale: float = 0.02
    #: Seconds between two kills in a mix.
    kill_every: float = 2.5
    #: Seconds within which the system must be idle once all faults are over: the longest delay of a retry, and some more.
    idle_within: float = LONGEST_DELAY + 120.0
    #: Faults last as in a long run.
    lasting: bool = False
    #: Workers reach Postgres through PgBouncer in transaction mode.
    pooler: bool = False
    #: Faults that a mix leaves out.
    without: tuple[str, ...] = ()
    engine: Engine = "single"
    partitions: int = 1
    #: There is one app, whose channels are in all of them.
    spread: bool = False

    @property
    def possible(self) -> list[str]:
        """The faults of this engine."""
        return [name for name in faults_of(self.engine) if name not in self.without]

    @property
    def short(self) -> bool:
        """Faults last only as long as it takes to see them."""
        return self.seconds < 600 and not self.lasting

    @property
    def alone_first(self) -> bool:
        return self.seconds >= 240

    @property
    def gap(self) -> float:
        """Seconds between two lasting faults of a mix."""
        return 0.5 if self.seconds < 100 else 3.0 if self.short else 8.0

    @property
    def stages(self) -> list[str]:
        """The faults that come alone, in their order, before the mix."""
        if self.faults:
            return []
        if not self.alone_first:
            return ["blast", "burst"]
        others = [name for name in self.possible if name not in ALONE_ONLY]
        return [*ALONE_ONLY, *schedule.alone(self.seed, others)]

    def seconds_of(self, fault: str) -> float:
        return FAULTS[fault].short if self.short else FAULTS[fault].seconds

    @property
    def loads(self) -> float:
        """Seconds for what a fault of `ALONE_ONLY` has published."""
        return 60 + 400 * self.scale

    @property
    def mixed(self) -> float:
        """Seconds of the mix at least."""
        return 60.0 if self.alone_first else 30.0

    @property
    def longest(self) -> float:
        """Seconds from the first traffic to an idle system at most."""
        alone = [self.seconds_of(name) + (self.loads if name in ALONE_ONLY else 0.0) for name in self.stages]
        if self.alone_first and not self.faults:
            alone += [APART] * KILLS_APART
        each = PATIENT + AFTER + REST
        alone_for = LONG_CALM + sum(alone) + len(alone) * each
        if self.faults:
            last = max(self.seconds_of(name) + self.loads for name in self.faults) + each
            return LONG_CALM + self.seconds + len(self.faults) * last + self.idle_within
        return alone_for + max(self.mixed, self.seconds) + PATIENT + AFTER + REDIRECTS + self.idle_within

    @property
    def many(self) -> int:
        return max(300, int(100_000 * self.scale))


@dataclass
class Found:
    """Everything that a run saw."""

    options: Options
    account: Account
    #: By kind of provider.
    by_kind: dict[str, Account]
    sent: list[Sent]
    #: Id of a notification -> index into `sent`.
    message_of: dict[str, int]
    #: Id -> its device's way; and the same by token.
    way_of: dict[str, str]
    way_of_token: dict[str, str]
    #: Id -> when it first was accepted.
    accepted_at: dict[str, float]
    windows: list[Window]
    kills: list[Kill]
    worked: dict[str, list[float]]
    samples: list[Sample]
    #: By kind, devices that were retired though they work.
    retired: dict[str, int]
    #: Dead devices that were written to; how many of these are to be retired after another day, as so many were gone at once;
    #: and of how many nothing is known.
    dead: int
    unconfirmed: int
    dead_left: int
    #: Connections to where no subscription may lead, and redirects that led there.
    intruders: int
    redirects: int
    poisoned: int
    dead_letters: int
    hung: int
    begun_again: int
    failures: dict[str, int]
    errors: dict[str, int]
    not_inflicted: dict[str, int]
    republished: int
    #: Seconds from the end of all faults until the system was idle; None: it was not.
    idle_after: float | None
    #: First accepted after a later one of the same device and channel, and how many of these the system says it let pass.
    out_of_order: list[Passed]
    overtaken: int
    #: Tokens whose last push had another number than that of their messages, and both numbers.
    wrong_badges: dict[str, str]
    #: Members that were notified though they were none at the message's place, or were not though they were.
    wrong_place: int
    #: Members at their message's place who had left before it could be sent, more than ten seconds later.
    left: int
    #: Times that a full Redis had not come down by itself.
    stayed_full: int
    #: What did not hold between Redis' keys and Postgres' rows once the system was idle.
    violations: list[str]
    #: Shared counters that do not say what the ledger says.
    miscounted: list[str]
    #: Failovers of partitions, how many of these were not planned, and messages confirmed when such a one took place.
    failovers: list[Failover]
    unplanned: int
    at_risk: int
    #: Messages that were confirmed and are not in Postgres.
    unrecorded: int
    #: What was on its way when the run stopped waiting for an idle system; '': nothing.
    left_over: str
    #: The machine and what else it had to do.
    machine: str
    counts: dict[str, int] = field(default_factory=dict)


def run(options: Options, directory: Path, say: Callable[[str], None] = lambda _: None) -> Found:
    """Raises TimeoutError where the system does not even come up. `say` gets a line now and then."""
    chosen = options.faults or options.possible
    blast = options.many if "blast" in chosen else 0
    with running(
        directory,
        seed=options.seed,
        rate=options.rate,
        blast=blast,
        burst=options.many,
        pooler=options.pooler,
        engine=options.engine,
        partitions=options.partitions,
        spread=options.spread,
    ) as system:
        watch = Watch(
            system.simulator.controls,
            system.crew,
            lambda: system.hands.pids() | {"simulator": system.simulator.pid},
        )
        watch.start()
        with Progress(say, system) as progress:
            idle_after = _through(system, options, storm := _Storm(system, options, progress), progress)
            left_over = "" if idle_after is not None else left_in(system)
            progress.at("the records are read, and the account is drawn up")
            watch.stop()
            return _found(system, options, storm, watch, idle_after, left_over)


def _through(system: System, options: Options, storm: "_Storm", progress: Progress) -> float | None:
    """Traffic and faults to their end. Returns the seconds until the system was idle after that; None: it was not."""
    progress.tell(f"the account follows within {options.longest / 60:.0f} minutes, mostly in a third of that")
    progress.at("traffic without faults")
    time.sleep(LONG_CALM if options.alone_first else CALM)
    ends = time.monotonic() + options.seconds
    if options.faults:
        while time.monotonic() < ends:
            for fault in options.faults:
                progress.at(fault)
                storm.alone(fault)
    else:
        if options.alone_first:
            storm.kill_apart()
        for number, fault in enumerate(stages := options.stages, 1):
            progress.at(f"alone, {number} of {len(stages)}: {fault}")
            storm.alone(fault)
        progress.at("faults mixed")
        storm.mix(max(options.mixed, ends - time.monotonic()))
        storm.watch_return()
        if "hostile_subscriptions" in options.possible:
            storm.meet_redirects()
    system.traffic.fall_silent()
    progress.at(f"waits {options.idle_within:.0f} s at most for an idle system")
    return _await_idle(system, options.idle_within)


class _Storm:
    """Carries faults out and notes when."""

    def __init__(self, system: System, options: Options, progress: Progress) -> None:
        self._system, self._options, self._progress = system, options, progress
        self.windows: list[Window] = []
        #: Faults that could not be inflicted, or not to their end, because what they are done to was away.
        self.not_inflicted: Counter[str] = Counter()

    def alone(self, fault: str) -> None:
        """The fault, and then time for every worker to work again."""
        self._inflict(fault, self._options.seconds_of(fault))
        self.watch_return()
        if fault in ALONE_ONLY:
            with suppress(TimeoutError):
                await_true(self._quiet, self._options.loads, "the blast")
        time.sleep(REST)

    def watch_return(self) -> None:
        """Until every worker has worked again, while there is something to do."""
        began, worked = time.time(), self._system.crew.worked
        with suppress(TimeoutError):
            await_true(lambda: all(worked[name][-1] > began for name in WORKERS), AFTER, "the workers")

    def kill_apart(self) -> None:
        """Busy workers, with time enough between two of them to see what became of the work of each."""
        traffic, many = self._system.traffic, min(self._options.many, BUSY)
        for number in range(KILLS_APART):
            self._progress.at(f"a busy worker is killed, {number + 1} of {KILLS_APART}")
            ends = time.monotonic() + APART
            traffic.blast([self._system.world.say("direct") for _ in range(many)])
            # What is confirmed by then is what the work of the killed one is measured by.
            with suppress(TimeoutError):
                await_true(lambda: traffic.unconfirmed < many / 2, 5, "the messages to be confirmed")
            time.sleep(0.2)
            self.alone("kill_worker")
            time.sleep(max(0.0, ends - time.monotonic()))

    def mix(self, seconds: float) -> None:
        """What befalls us, what befalls APNs and what befalls the others, each one after another, and kills whenever."""
        left_out = (*ALONE_ONLY, *KILLS)
        lasting = {name: self._options.seconds_of(name) for name in self._options.possible if name not in left_out}
        tracks = [{name: lasting[name] for name in lasting if kind_of(name) in kinds} for kinds in _TRACKS]
        began = time.monotonic()
        at_work = []
        for spell in schedule.mixed(
            self._options.seed, seconds, tracks, kill_every=self._options.kill_every, gap=self._options.gap
        ):
            time.sleep(max(0.0, began + spell.at - time.monotonic()))
            at_work.append(threading.Thread(target=self._inflict, args=(spell.fault, spell.seconds)))
            at_work[-1].start()
        for thread in at_work:
            thread.join()

    def meet_redirects(self) -> None:
        """A push service redirects, at least once: in a mix its pushes may meet another fault, or be too old by then."""
        service, ends = self._system.services["web"], time.monotonic() + REDIRECTS
        while not service.met("302") and time.monotonic() < ends:
            self._progress.at("a push service redirects")
            self._inflict("hostile_subscriptions", 0.0)
            with suppress(TimeoutError):
                await_true(lambda: service.met("302"), REDIRECTED, "a redirect")

    def _inflict(self, fault: str, seconds: float) -> None:
        began = time.time()
        try:
            with FAULTS[fault].act(self._system, seconds):
                time.sleep(seconds)
        except (redis.RedisError, psycopg.Error, psutil.NoSuchProcess, OSError, PublishError):
            self.not_inflicted[fault] += 1
        self.windows.append(Window(fault, began, time.time()))

    def _quiet(self) -> bool:
        """Only what the steady traffic makes is on its way."""
        journals = self._system.journals
        waiting = sum(journal.ready(kind, lane) for journal in journals for kind, lane in _LINES)
        stands = sum(journal.backlog()[0] for journal in journals)
        return not self._system.traffic.unconfirmed and max(waiting, stands) < 3 * self._options.rate


def _await_idle(system: System, seconds: float) -> float | None:
    began = time.monotonic()

    def idle() -> bool:
        try:
            return system.idle()
        except (psycopg.OperationalError, *RedisUnavailable):
            return False

    try:
        await_true(idle, seconds, "an idle system")
    except TimeoutError:
        return None
    return time.monotonic() - began


def _found(
    system: System, options: Options, storm: _Storm, watch: Watch, idle_after: float | None, left_over: str
) -> Found:
    world = system.world
    with psycopg.connect(system.postgres_url) as db:
        devices = db.execute(
            "SELECT token, id, active, doubted_at IS NOT NULL FROM carillon.devices WHERE app = ANY(%s)",
            (system.world.apps,),
        ).fetchall()
        letters = db.execute("SELECT count(*) FROM carillon.dead_letters").fetchone()
        with connect(system.hands.urls.redis) as client:
            violations = [] if idle_after is None else check_invariants(Keyspace(client), db)
        with suppress(TimeoutError):
            await_true(
                lambda: not any(one.accounts(1) for one in system.journals), 10.0, "a ledger that has everything"
            )
        miscounted = shared.differences(db)
    ids = {device_token: id for device_token, id, *_ in devices}
    sent = list(system.traffic.sent)
    expected, message_of = _expected(sent, world, ids)
    ways = {one.token: one.way for one in world.devices.values()}
    first: dict[str, float] = {}
    for one in watch.accepted:
        first[one.id] = min(one.at, first.get(one.id, one.at))
    kills = [Kill(*kill) for kill in system.crew.kills]
    of_workers = [kill for kill in kills if kill.name in WORKERS]
    broken = {connection: sorted(times) for connection, times in watch.unanswered.items()}
    away = [(began, ended + RETURNS) for fault, began, ended in sorted(storm.windows) if fault.startswith("redis_")]
    # Of a planned failover nothing is excused: no server gives way before another one has everything.
    planned = [window for window in storm.windows if window.fault in PLANNED]
    failovers = [one for one in system.failovers if not account.planned(one, planned)]
    away = sorted([*away, *((one.last_at, one.over_at + RETURNS) for one in system.failovers)])
    at_risk = _at_risk(sent, system.layout, failovers)
    risked = {id for id, index in message_of.items() if index in at_risk}
    of_apps = {
        app: [one for one in failovers if options.spread or one.partition == system.layout.home_of(app)]
        for app in world.apps
    }
    slow = {kind: service.slow for kind, service in system.services.items()}
    excuses = Excuses(
        *(of_workers, slow, sorted(away), watch.refused, broken),
        failovers={one.token: of_apps[world.app_of(user)] for user, one in world.devices.items()},
        at_risk=risked,
        published={id: sent[index].at for id, index in message_of.items()},
        concluded=_concluded(system, watch, {id: sent[index] for id, index in message_of.items()}, ids),
    )
    judged = account.judge(expected, watch.accepted, excuses)
    counts = dict(system.counts())
    visited = _visited(sent, world, message_of, expected)
    # Whoever has left is not notified of what waits for longer than a moment: the system says of how many it thought so.
    left = [id for id in (*judged.lost, *judged.lost_in_failover) if id in visited][: counts.get("dropped.left", 0)]
    stayed_away = set(left)
    judged.lost = [id for id in judged.lost if id not in stayed_away]
    judged.lost_in_failover = [id for id in judged.lost_in_failover if id not in stayed_away]
    by_kind = {
        kind: account.judge(
            {id: token for id, token in expected.items() if KIND_OF_WAY[ways[token]] == kind and id not in stayed_away},
            [one for one in watch.accepted if one.connection[0] == kind],
            excuses,
        )
        for kind in system.services
    }
    retired = {device_token for device_token, _, active, _ in devices if not active}
    unconfirmed = {device_token for device_token, _, active, unconfirmed in devices if active and unconfirmed}
    notified = {world.devices[user].token for one in sent for user in one.said.notified}
    dead = {token for tokens in world.dead.values() for token in tokens}
    # A device that a service refused by mistake, or whose user had left, got one message less than it counts; and what was
    # confirmed by a primary that was replaced may count or not.
    but = {expected[id] for id in (*judged.given_up, *left, *risked)}
    return Found(
        options=options,
        account=judged,
        by_kind=by_kind,
        way_of={id: ways[token] for id, token in expected.items()},
        way_of_token=ways,
        out_of_order=account.out_of_order(_places(system, sent, message_of), watch.accepted),
        overtaken=counts.get("overtaken", 0),
        wrong_badges=account.wrong_badges(expected, watch.accepted, but),
        wrong_place=len(visited.intersection(judged.lost))
        + len(_visitors(sent, world, ids).intersection(judged.unexpected)),
        left=len(left),
        stayed_full=system.stayed_full,
        violations=violations,
        miscounted=miscounted,
        sent=sent,
        message_of=message_of,
        accepted_at=first,
        windows=sorted(storm.windows, key=lambda window: window.began),
        kills=kills,
        worked={name: list(system.crew.worked[name]) for name in WORKERS},
        samples=watch.samples,
        retired=dict(Counter(KIND_OF_WAY[way] for token, way in ways.items() if token in retired - dead)),
        dead=len(notified & dead),
        unconfirmed=len(notified & dead & unconfirmed),
        dead_left=len((notified & dead) - retired - unconfirmed),
        intruders=system.trap.came,
        redirects=system.services["web"].met("302"),
        poisoned=system.poisoned,
        dead_letters=0 if letters is None else int(letters[0]),
        hung=system.hung,
        begun_again=system.crew.begun_again,
        failures=dict(system.crew.failures),
        errors=system.crew.errors(),
        not_inflicted=dict(storm.not_inflicted),
        republished=system.traffic.repeated,
        idle_after=idle_after,
        failovers=system.failovers,
        unplanned=len(failovers),
        at_risk=len(at_risk),
        unrecorded=_unrecorded(system, sent),
        left_over=left_over,
        machine=_machine(watch.slowness),
        counts=counts,
    )


def _expected(sent: Sequence[Sent], world: World, ids: dict[str, int]) -> tuple[dict[str, str], dict[str, int]]:
    """Token, and message, of every notification that must be accepted."""
    expected: dict[str, str] = {}
    message_of: dict[str, int] = {}
    for index, one in enumerate(sent):
        id_of = _ids(one.said, world, ids)
        for user in one.said.notified:
            device = world.devices[user]
            if not world.is_dead(device.token):
                id = id_of(user)
                expected[id], message_of[id] = device.token, index
    return expected, message_of


def _at_risk(sent: Sequence[Sent], layout: Layout, failovers: Sequence[Failover]) -> set[int]:
    """Which of these a failover of their partition may have lost."""
    return {
        index
        for index, one in enumerate(sent)
        if any(
            failover.partition in _partitions_of(one.said.channel, layout)
            and failover.took(one.at, one.confirmed_at + (account.RELAYED if one.through_outbox else 0.0))
            for failover in failovers
        )
    }


def _concluded(system: System, watch: Watch, of: Mapping[str, Sent], ids: Mapping[str, int]) -> dict[str, list[float]]:
    """When workers had written down what became of what was accepted again, by what they said of its batches."""
    times = Counter(one.id for one in watch.accepted)
    token_of = {one.id: one.token for one in watch.accepted if times[one.id] > 1 and one.id in of}
    found: dict[str, list[float]] = {}
    with psycopg.connect(system.postgres_url) as db:
        for id, token in token_of.items():
            rows = db.execute(
                "SELECT DISTINCT substr(part, 7) FROM carillon.ledger, jsonb_each(account) AS outcome,"
                " jsonb_array_elements(outcome.value) AS job"
                " WHERE app = %s AND event_id = %s AND part LIKE 'batch:%%' AND job->>1 = %s",
                (of[id].said.channel.app, of[id].said.event.id, str(ids[token])),
            )
            found[id] = sorted(at for (batch,) in rows for at in system.crew.concluded.get(batch, ()))
    return found


def _partitions_of(channel: Channel, layout: Layout) -> set[int]:
    """Where a message of the channel leaves something: in its partition, and in the home of its app."""
    return {layout.partition_of(channel.app, channel.id), layout.home_of(channel.app)}


def _unrecorded(system: System, sent: Sequence[Sent]) -> int:
    with psycopg.connect(system.postgres_url) as db:
        recorded = {event for (event,) in db.execute("SELECT event_id FROM carillon.messages")}
    return sum(isinstance(one.said.event, MessageNew) and one.said.event.id not in recorded for one in sent)


def _ids(said: Said, world: World, ids: dict[str, int]) -> Callable[[str], str]:
    """The ids of a message's notifications, by user, as `watch` reads them of requests."""
    event = said.event.id

    def id_of(user: str) -> str:
        device = world.devices[user]
        named = device.make in ("apns", "android")
        return apns_id(event, said.channel.app, ids[device.token]) if named else of_event(event, device.token)

    return id_of


def _places(system: System, sent: Sequence[Sent], message_of: dict[str, int]) -> dict[str, Place]:
    """Where the message of each notification stands in the stream."""
    with psycopg.connect(system.postgres_url) as db:
        rows = db.execute("SELECT event_id, position FROM carillon.messages WHERE app = ANY(%s)", (system.world.apps,))
        places: dict[str, int] = {event: place for event, place in rows}  # noqa: C416 - dict() loses the types
    return {
        id: Place(said.channel.id, places[said.event.id])
        for id, index in message_of.items()
        # What was decided again may come after what its reader was notified of at once.
        if (said := sent[index].said).event.id in places and said.channel.kind != "attentive"
    }


def _visited(sent: Sequence[Sent], world: World, message_of: dict[str, int], expected: dict[str, str]) -> set[str]:
    """The notifications of visitors: of members who have left again."""
    steady = {
        one.said.channel.id: {world.devices[user].token for user in one.said.channel.members[:STEADY]} for one in sent
    }
    return {
        id
        for id, index in message_of.items()
        if (channel := sent[index].said.channel).kind == "changing" and expected[id] not in steady[channel.id]
    }


def _visitors(sent: Sequence[Sent], world: World, ids: dict[str, int]) -> set[str]:
    """The id that the notification of each message before a visitor came, or after they had left, would have on their device."""
    found = set()
    for index, one in enumerate(sent):
        if isinstance(one.said.event, MemberAdded):
            user = one.said.event.users[0]
            for near in sent[max(0, index - 1) : index + 4]:
                if user not in near.said.notified and isinstance(near.said.event, MessageNew):
                    found.add(_ids(near.said, world, ids)(user))
    return found


def _machine(slowness: Sequence[float]) -> str:
    usual = account.percentile(slowness, 0.5) or 0.0
    worst = account.percentile(slowness, 0.99) or 0.0
    return (
        f"{os.cpu_count()} cores; work took {usual:.1f} times its CPU time at the median, {worst:.0f} times at the p99."
    )
