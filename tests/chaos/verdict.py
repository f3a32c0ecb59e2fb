"""From what a run saw to its figures, and to whether they are good enough. Pure."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import inf
from typing import Any, Final, NamedTuple

from tests.chaos.account import percentile
from tests.chaos.faults import BY_OTHERS, MISTAKES
from tests.chaos.run import APART, Found, Window
from tests.chaos.services import ways_of
from tests.chaos.undisturbed import AFTER, BEFORE, Medians, Timed, Trouble, compare
from tests.chaos.world import KIND_OF_WAY, Kind

#: Seconds within which every worker consumes again after a fault, and work of a killed worker is resumed.
CONSUMES: Final = 10.0
RESUMES: Final = APART
#: Times that the p99 of direct messages may grow while a message to the largest channel is delivered.
BLAST: Final = 3.0
#: Seconds before the first fault from which on something may be published for it.
BUSY_BEFORE: Final = 2.0
#: Megabytes that a process may have, and gain in a minute once it is warm.
MEMORY: Final = 400.0
#: Notifications lost to a provider that refuses every token, until it is stopped.
GIVEN_UP: Final = 400
#: Seconds that a direct message may take at p99 while another app makes itself heard.
OTHERS: Final = 1.0
#: Seconds within which every message of a burst is accepted while APNs answers 429 to one in ten.
AMID_429: Final = 20.0
#: Seconds before a kill in which an answer may have been on its way: what arrived earlier must not be sent again.
IN_FLIGHT: Final = 0.5
#: Times that the median of other ways' notifications may grow while one way is at fault.
BESIDE: Final = 1.1
#: What stands for a figure that the run gave no occasion to take.
NOT_MEASURED: Final = "not measured"


class Bar(NamedTuple):
    """A promise and whether the run kept it."""

    name: str
    wanted: str
    found: str
    kept: bool


class Verdict(NamedTuple):
    figures: dict[str, Any]
    bars: list[Bar]
    #: By fault: how often, and the longest until every worker consumed again.
    faults: list[tuple[str, int, float | None]]

    @property
    def good(self) -> bool:
        return all(bar.kept for bar in self.bars)


def judge(found: Found) -> Verdict:
    account, spans = found.account, _spans(found.windows)
    workers = [kill for kill in found.kills if kill.name in found.worked]
    late = _latencies(found, lambda at: not any(a - BEFORE <= at <= b + AFTER for a, b in spans))
    again = _consumed_again(found)
    resumed = _resumed(found, [kill.at for kill in workers])
    calm, blasted = _direct(found)
    ratio = blasted / calm if calm and blasted else None
    memory = _memory(found)
    slowest = max((one.seconds for one in again), default=None)
    most = max(account.after_kill.values(), default=0)
    bars = [
        Bar("lost", "0", str(len(account.lost)), not account.lost),
        Bar("doubled, no worker killed", "0", str(len(account.doubled)), not account.doubled),
        Bar("never expected", "0", str(len(account.unexpected)), not account.unexpected),
        Bar(
            "out of order",
            "0 but for overtaken",
            f"{len(found.out_of_order)}, {found.overtaken} overtaken",
            len(found.out_of_order) <= found.overtaken,
        ),
        Bar("devices whose last push has a wrong badge", "0", str(len(found.wrong_badges)), not found.wrong_badges),
        Bar("members of a wrong place", "0", str(found.wrong_place), not found.wrong_place),
        Bar("times that a full Redis stayed full", "0", str(found.stayed_full), not found.stayed_full),
        _given_up(found),
        Bar("devices retired that work", "0", _by_kind(found.retired), not found.retired),
        Bar(
            "dead devices retired",
            f"all of {found.dead}",
            f"{found.dead - found.unconfirmed - found.dead_left}, {found.unconfirmed} unconfirmed"
            if found.dead
            else NOT_MEASURED,
            not found.dead_left,
        ),
        _forbidden(found),
        Bar("poison dead-lettered", str(found.poisoned), str(found.dead_letters), found.poisoned <= found.dead_letters),
        Bar(
            "idle after the end",
            "yes",
            "no" if found.idle_after is None else _seconds(found.idle_after),
            found.idle_after is not None,
        ),
        Bar("violations of invariants", "0", str(len(found.violations)), not found.violations),
        Bar(
            "shared counters that differ from the ledger",
            "0 but after a failover",
            str(len(found.miscounted)),
            # What a new primary does not know is done and counted again; the ledger has it once.
            not found.miscounted or found.unplanned > 0,
        ),
        Bar("deployments that hung", "0", str(found.hung), not found.hung),
        Bar(
            "every worker consumes again",
            f"{CONSUMES:.0f} s",
            _seconds(slowest),
            slowest is None or slowest <= CONSUMES,
        ),
        Bar(
            "work of a killed worker resumed",
            f"{RESUMES:.0f} s",
            _seconds(resumed),
            resumed is None or resumed <= RESUMES,
        ),
        Bar(
            "memory of a process",
            f"{MEMORY:.0f} MB",
            f"{max(memory.values(), default=0):.0f} MB",
            max(memory.values(), default=0) < MEMORY,
        ),
    ]
    bars.append(_failovers(found))
    medians = _beside(found)
    most_beside = max((during / calm for calm, during in medians.values()), default=None)
    bars.append(
        Bar(
            "median beside another way's fault",
            f"{BESIDE:g} times",
            NOT_MEASURED if most_beside is None else f"{most_beside:.2f} times",
            most_beside is None or most_beside <= BESIDE,
        )
    )
    others = percentile(_during_faults(found, BY_OTHERS), 0.99)
    bars.append(
        Bar("direct messages in others' load", f"{OTHERS:g} s", _seconds(others), others is None or others <= OTHERS)
    )
    bursts: tuple[tuple[str, Kind], ...] = (("burst", "direct"), ("blast", "alike"))
    for name, kind in bursts:
        amid = max(_during_faults(found, (f"{name}_amid_429",), kind), default=None)
        bars.append(
            Bar(f"last of a {name} amid 429", f"{AMID_429:g} s", _seconds(amid), amid is None or amid <= AMID_429)
        )
    old = account.oldest_in_flight
    bars.append(
        Bar("answered before a kill and sent again", f"within {IN_FLIGHT:g} s", _seconds(old), old <= IN_FLIGHT)
    )
    if ratio is not None:
        bars.append(Bar("direct messages in a blast", f"{BLAST:g} times", f"{ratio:.1f} times", ratio <= BLAST))
    figures = {
        "messages": len(found.sent),
        "through_outbox": sum(one.through_outbox for one in found.sent),
        "notifications": account.expected,
        "accepted": account.accepted,
        "by_kind": {kind: _account(found, kind) for kind in found.by_kind},
        "median_calm_and_beside": {kind: f"{calm:.3f} s; {during:.3f} s" for kind, (calm, during) in medians.items()},
        "kills": dict(Counter(kill.name for kill in found.kills)),
        "repeated_after_kill": sum(account.after_kill.values()),
        "most_repeated_after_one_kill": most,
        "longest_in_flight_at_kill": round(account.oldest_in_flight, 3),
        "repeated_unanswered": account.unanswered,
        "repeated_after_failover": account.after_failover,
        "failovers": [
            f"partition {one.partition} from {_clock(one.last_at)}, {one.over_at - one.last_at:.1f} s, {one.behind:.1f} s behind"
            for one in found.failovers
        ],
        "confirmed_at_failover": found.at_risk,
        "confirmed_and_unrecorded": found.unrecorded,
        "out_of_order_during": _during(found, [one.by.at for one in found.out_of_order]),
        "out_of_order_at": sorted({_clock(one.by.at) for one in found.out_of_order}),
        "out_of_order_by": [round(one.late.at - one.by.at, 3) for one in found.out_of_order[:20]],
        "wrong_badges": [f"{found.way_of_token[token]}: {said}" for token, said in found.wrong_badges.items()][:20],
        "left_before_sending": found.left,
        "lost_during": _during(found, [found.sent[found.message_of[id]].at for id in account.lost]),
        "doubled_after": [round(repeat.again_at - repeat.first_at, 3) for repeat in account.doubled[:20]],
        "doubled_at": [_clock(repeat.first_at) for repeat in account.doubled[:20]],
        "doubled_during": _during(found, [repeat.first_at for repeat in account.doubled]),
        "late_p99": _rounded(percentile(late, 0.99)),
        "late_max": _rounded(max(late, default=None)),
        "calm_notifications": len(late),
        "direct_p99_calm": _rounded(calm),
        "direct_p99_blast": _rounded(blasted),
        "direct_p99_by_load": {
            fault: _rounded(percentile(waits, 0.99))
            for fault in BY_OTHERS
            if (waits := _during_faults(found, (fault,)))
        },
        "resumed_in": _rounded(resumed),
        "idle_after": _rounded(found.idle_after),
        "left_over": found.left_over,
        "slow_to_return": [
            f"{one.worker} {one.seconds:.1f} s after {one.fault} at {_clock(one.ended)}"
            for one in again
            if one.seconds > CONSUMES
        ],
        "returns_measured": len(again),
        "returns_median": _rounded(percentile([one.seconds for one in again], 0.5)),
        "republished": found.republished,
        "begun_again": found.begun_again,
        "failures": found.failures,
        "not_inflicted": found.not_inflicted,
        "violations": found.violations,
        "miscounted": found.miscounted,
        "errors": found.errors,
        "memory_mb": {name: round(most) for name, most in memory.items()},
        "memory_growth_mb_per_minute": _growth(found),
        "counts": found.counts,
    }
    faults = [
        (name, n, max((one.seconds for one in again if one.fault == name), default=None))
        for name, n in sorted(Counter(window.fault for window in found.windows).items())
    ]
    return Verdict(figures, bars, faults)


def _failovers(found: Found) -> Bar:
    """What was lost because it was not replicated: never what was confirmed before what the new primary had."""
    lost = len(found.account.lost_in_failover)
    said = f"{lost} in {found.unplanned} of {len(found.failovers)} failovers" if found.failovers else NOT_MEASURED
    return Bar("lost with a primary, not replicated", "of what it lacked", said, found.unplanned > 0 or not lost)


def _account(found: Found, kind: str) -> dict[str, int]:
    one = found.by_kind[kind]
    return {
        "expected": one.expected,
        "accepted": one.accepted,
        "lost": len(one.lost),
        "given_up": len(one.given_up),
        "doubled": len(one.doubled),
        "repeated_after_kill": one.after_kill.total(),
        "repeated_unanswered": one.unanswered,
        "out_of_order": sum(KIND_OF_WAY[found.way_of[passed.late.id]] == kind for passed in found.out_of_order),
        "wrong_badges": sum(KIND_OF_WAY[found.way_of_token[token]] == kind for token in found.wrong_badges),
        "wrongly_retired": found.retired.get(kind, 0),
    }


def _forbidden(found: Found) -> Bar:
    """Subscriptions that lead into this machine: what came there, of what was led there."""
    tried = sum(window.fault == "hostile_subscriptions" for window in found.windows)
    return Bar(
        "connections to where none may lead",
        "0",
        f"{found.intruders}, {found.redirects} redirects" if tried else NOT_MEASURED,
        not found.intruders and (not tried or bool(found.redirects)),
    )


def _beside(found: Found) -> Mapping[str, Medians]:
    times = (
        Timed(found.sent[index].at, found.accepted_at[id] - found.sent[index].at, found.way_of[id])
        for id, index in found.message_of.items()
        if id in found.accepted_at
    )
    return compare(times, [Trouble(window.began, window.ended, ways_of(window.fault)) for window in found.windows])


def _by_kind(counts: dict[str, int]) -> str:
    return ", ".join(f"{kind} {n}" for kind, n in sorted(counts.items())) or "0"


def _given_up(found: Found) -> Bar:
    given_up, mistakes = len(found.account.given_up), sum(window.fault in MISTAKES for window in found.windows)
    return Bar(
        "given up in a mistake",
        f"{GIVEN_UP} each",
        f"{given_up} in {mistakes}" if mistakes else NOT_MEASURED,
        given_up <= GIVEN_UP * mistakes,
    )


def _spans(windows: Sequence[Window]) -> list[tuple[float, float]]:
    return [(window.began, window.ended) for window in windows]


def _during(found: Found, times: Sequence[float]) -> dict[str, int]:
    """How many of these moments fell into which fault, the last that had begun before; '' for none."""
    during: Counter[str] = Counter()
    for at in times:
        begun = [window.fault for window in found.windows if window.began - 0.1 <= at <= window.ended + 1.0]
        during[" ".join(begun)] += 1
    return dict(during)


def _latencies(found: Found, counts: Any, kind: str | None = None) -> list[float]:
    """Seconds from the beginning of publishing to the first acceptance, of messages published when it `counts`."""
    return [
        found.accepted_at[id] - found.sent[index].at
        for id, index in found.message_of.items()
        if id in found.accepted_at
        # Many in attentive channels are decided again, which takes its time.
        and (of := found.sent[index].said.channel.kind) != "attentive"
        and kind in (None, of)
        and counts(found.sent[index].at)
    ]


def _during_faults(found: Found, faults: Sequence[str], kind: Kind = "direct") -> list[float]:
    """Latencies of messages of this kind published while one of these faults alone was at work, or up to `AFTER` after it."""
    spans = []
    for window in found.windows:
        following = min((w.began for w in found.windows if w.began > window.began), default=inf)
        if window.fault in faults:
            spans.append((window.began, min(window.ended + AFTER, following - BEFORE)))
    return _latencies(found, lambda at: any(began <= at <= ended for began, ended in spans), kind)


class Return(NamedTuple):
    """When the last worker had finished a batch after a fault: which, how many seconds after, and the fault's end."""

    fault: str
    worker: str
    seconds: float
    ended: float


def _consumed_again(found: Found) -> list[Return]:
    """For each fault that no other disturbed."""
    returns = []
    for window in found.windows:
        first = {name: next((at for at in times if at > window.ended), inf) for name, times in found.worked.items()}
        last = max(first, key=first.__getitem__)
        seconds = first[last] - window.ended
        disturbed = any(
            other is not window and other.began < window.ended + min(seconds, CONSUMES) and other.ended > window.ended
            for other in found.windows
        )
        if seconds <= CONSUMES or not disturbed:
            returns.append(Return(window.fault, last, seconds, window.ended))
    return returns


def _resumed(found: Found, kills: Sequence[float]) -> float | None:
    """Longest time from the kill of a worker to the last acceptance of what was published before, no other fault near."""
    worst = None
    others = [window for window in found.windows if window.fault != "kill_worker"]
    published = sorted(
        (found.sent[index].confirmed_at, found.accepted_at[id])
        for id, index in found.message_of.items()
        if id in found.accepted_at
    )
    for at in kills:
        if any(window.began < at + RESUMES and window.ended > at - 2 * RESUMES for window in others):
            continue
        after = [accepted - at for confirmed, accepted in published if at - 30 <= confirmed <= at < accepted]
        worst = max([*after, *([worst] if worst is not None else [])], default=worst)
    return worst


def _direct(found: Found) -> tuple[float | None, float | None]:
    """p99 of direct messages in calm times before the first fault, and while a blast was delivered."""
    blasts = {index for index, one in enumerate(found.sent) if one.said.channel.kind == "blast"}
    if not blasts:
        return None, None
    first = min(window.began for window in found.windows)
    ends = max(
        (found.accepted_at[a] for a, index in found.message_of.items() if index in blasts and a in found.accepted_at),
        default=0.0,
    )
    began = min(found.sent[index].at for index in blasts)
    # What comes next is not the blast's doing, even if a straggler of it is still on its way.
    ends = min([ends, *(window.began for window in found.windows if window.began > began and window.fault != "blast")])
    calm = _latencies(found, lambda at: at < first - BUSY_BEFORE, "direct")
    during = _latencies(found, lambda at: began <= at <= ends, "direct")
    return percentile(calm, 0.99), percentile(during, 0.99)


def _memory(found: Found) -> dict[str, float]:
    """Most megabytes that each process had; the simulator keeps a record of everything and does not count."""
    most: dict[str, float] = {}
    for sample in found.samples:
        if sample.name != "simulator":
            most[sample.name] = max(sample.megabytes, most.get(sample.name, 0.0))
    return most


def _growth(found: Found) -> dict[str, float]:
    """Of processes that lived for two minutes: megabytes gained in a minute from their first half minute on."""
    lives: defaultdict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    for sample in found.samples:
        if sample.age >= 30:
            lives[sample.name, sample.pid].append((sample.age, sample.megabytes))
    grown: dict[str, float] = {}
    for (name, _), life in lives.items():
        (from_, before), (to, after) = life[0], life[-1]
        if to - from_ >= 90 and name != "simulator":
            grown[name] = max(round((after - before) / (to - from_) * 60, 2), grown.get(name, float("-inf")))
    return grown


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%H:%M:%S}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _seconds(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.1f} s"
