"""The account of a run, notification by notification, from what was published and what the simulator saw. Pure.

    lost          expected, and never accepted
    given up      expected, and never accepted: a service refused the token for good, by mistake
    unexpected    accepted, and nobody expected it
    doubled       accepted again, and nothing excuses it
    after a kill  accepted again: a worker was killed while the first was on its way, or its answer was, or while Redis was
                  away and the outcome could not be written down
    unanswered    accepted again: the service had not answered the first, or its connection broke before the answer can have been
                  read, so nobody could know
    lost in a failover   expected, never accepted, and its message was confirmed when its partition's primary was about to be
                  replaced: replication is behind the answer, so the new primary need not have it
    after a failover     accepted again: something of the first, from its publishing to its written outcome, was known to a
                  primary alone that was replaced
    out of order  first accepted after a later message of the same channel was, on the same device
    wrong badge   a device whose last push carried another number than that of its messages

Whatever was accepted again has the same id: that is how it is recognised here. At APNs and on Android it is that of the
notification; for other devices it is made of message and token.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple

#: Seconds from the last moment at which an answer may have left to the moment at which a worker has written it down.
#: Outcomes are marked every tenth of a second while a batch is in flight; the rest is what a busy machine needs.
MARKED: Final = 1.5
#: Longest latency of an answer where nothing is wrong, seconds.
ANSWERED: Final = 0.05
#: Seconds before and after an arrival in which a connection that breaks may have cost its answer: what a sender that has not
#: noticed yet still writes, and what lies unread in its socket.
BROKEN: Final = 1.0
LOST: Final = 0.5
#: Seconds from a row of the outbox to its confirmation.
RELAYED: Final = 10.0
#: Longest latency while a service is slow.
SLOWLY: Final = 12.0


#: Of a kind of service, and its number there.
Connection = tuple[str, int]


class Accepted(NamedTuple):
    """A notification that a service took; `at` is its arrival in UNIX seconds."""

    id: str
    token: str
    at: float
    answered: bool
    connection: Connection = ("apns", 0)
    #: The number in the payload; None: none was seen.
    badge: int | None = None


class Repeat(NamedTuple):
    """A notification that was accepted again, and when both times."""

    id: str
    first_at: float
    again_at: float


class Kill(NamedTuple):
    name: str
    at: float


Span = tuple[float, float]


class Failover(NamedTuple):
    """Another server became the primary of a partition.

    `last_at` is when the one before was last the only one, `over_at` when it was none any more for sure. The new one has
    everything that was confirmed before `has_until`.
    """

    partition: int
    last_at: float
    over_at: float
    has_until: float

    def took(self, began: float, ended: float) -> bool:
        """Whether something that was written between these moments may be known to the old primary alone."""
        return began <= self.over_at and ended >= self.has_until

    @property
    def behind(self) -> float:
        """Seconds by which the new primary was behind when the old one was last the only one."""
        return max(0.0, self.last_at - self.has_until)


@dataclass
class Account:
    expected: int
    accepted: int
    lost: list[str] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)
    lost_in_failover: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    doubled: list[Repeat] = field(default_factory=list)
    unanswered: int = 0
    after_failover: int = 0
    #: Kill (by its index) -> notifications that were sent again because of it.
    after_kill: Counter[int] = field(default_factory=Counter)
    #: Longest time from an arrival to the kill that had it sent again, seconds, without those in which Redis took nothing.
    oldest_in_flight: float = 0.0


@dataclass(frozen=True)
class Excuses:
    """What was done to the run. Times are in UNIX seconds and in their order."""

    #: Of workers.
    kills: Sequence[Kill] = ()
    #: In which the answers of a kind of service took their time.
    slow: Mapping[str, Sequence[Span]] = field(default_factory=dict)
    #: In which Redis took nothing, so that no outcome could be written down; in their order.
    away: Sequence[Span] = ()
    #: Notifications whose token a service refused.
    refused: Collection[str] = ()
    #: Connection -> when a request on it was left without an answer.
    broken: Mapping[Connection, Sequence[float]] = field(default_factory=dict)
    #: Token -> failovers of its partition that may lose something.
    failovers: Mapping[str, Sequence[Failover]] = field(default_factory=dict)
    #: Notifications whose message was confirmed when such a failover took place.
    at_risk: Collection[str] = ()
    #: When the publishing of a notification's message began, and when workers had written down what became of it, in their order.
    published: Mapping[str, float] = field(default_factory=dict)
    concluded: Mapping[str, Sequence[float]] = field(default_factory=dict)


class Place(NamedTuple):
    """Where a message stands: its channel, and its place in the app's stream."""

    channel: str
    place: int


class Passed(NamedTuple):
    """A notification, and a later one of its device and channel that was accepted before it."""

    late: Accepted
    by: Accepted


def out_of_order(places: Mapping[str, Place], accepted: Iterable[Accepted]) -> list[Passed]:
    """The notifications that were first accepted after a later one of the same device and channel.

    `places` by id; what has none does not count.
    """
    latest: dict[tuple[str, str], tuple[int, Accepted]] = {}
    seen: set[str] = set()
    passed: list[Passed] = []
    for one in sorted(accepted, key=lambda one: one.at):
        place = places.get(one.id)
        if place is None or one.id in seen:
            continue
        seen.add(one.id)
        before = latest.get((one.token, place.channel))
        if before is not None and place.place < before[0]:
            passed.append(Passed(one, before[1]))
        else:
            latest[one.token, place.channel] = place.place, one
    return passed


def wrong_badges(
    expected: Mapping[str, str], accepted: Iterable[Accepted], but: Collection[str] = ()
) -> dict[str, str]:
    """Tokens whose last push carried another number than how many notifications the device was to get, and both numbers.

    `expected` is the token by id; tokens in `but` are not looked at.
    """
    numbers = Counter(expected.values())
    last: dict[str, Accepted] = {}
    for one in accepted:
        if one.token not in last or one.at >= last[one.token].at:
            last[one.token] = one
    return {
        token: f"{one.badge} instead of {numbers[token]}"
        for token, one in sorted(last.items())
        if token not in but and one.badge != numbers[token]
    }


def planned(failover: Failover, spells: Iterable[tuple[str, float, float]]) -> bool:
    """Whether it took place in one of these (fault, beginning, end)."""
    return any(began <= failover.over_at and failover.last_at <= ended for _, began, ended in spells)


def judge(expected: Mapping[str, str], accepted: Iterable[Accepted], excuses: Excuses) -> Account:
    """`expected` is the token by id."""
    seen: defaultdict[str, list[Accepted]] = defaultdict(list)
    total = 0
    for one in accepted:
        total += 1
        seen[one.id].append(one)
    account = Account(len(expected), total)
    missing = [id for id in expected if id not in seen]
    account.lost_in_failover = [id for id in missing if id in excuses.at_risk and id not in excuses.refused]
    account.lost = [id for id in missing if id not in excuses.refused and id not in excuses.at_risk]
    account.given_up = [id for id in missing if id in excuses.refused]
    for id, arrivals in seen.items():
        if expected.get(id) != arrivals[0].token:
            account.unexpected.append(id)
        arrivals.sort(key=lambda one: one.at)
        for first, again in pairwise(arrivals):
            _excuse(account, first, again, excuses)
    return account


def _excuse(account: Account, first: Accepted, again: Accepted, excuses: Excuses) -> None:
    took_long = any(began <= first.at <= ended for began, ended in excuses.slow.get(first.connection[0], ()))
    known_by = first.at + (SLOWLY if took_long else ANSWERED) + MARKED
    for began, ended in excuses.away:
        if began <= known_by and first.at <= ended:
            known_by = max(known_by, ended + MARKED)
    index = bisect_left(excuses.kills, first.at, key=lambda kill: kill.at)
    if not first.answered:
        account.unanswered += 1
    elif index < len(excuses.kills) and excuses.kills[index].at <= min(known_by, again.at):
        account.after_kill[index] += 1
        in_flight = _there(first.at, excuses.kills[index].at, excuses.away)
        account.oldest_in_flight = max(account.oldest_in_flight, in_flight)
    elif _broke(first, excuses.broken):
        account.unanswered += 1
    elif took_long:
        # Where an answer takes as long as we wait for one, the two may cross on the way.
        account.unanswered += 1
    elif _was_lost(first, again, known_by, excuses):
        account.after_failover += 1
    else:
        account.doubled.append(Repeat(first.id, first.at, again.at))


def _was_lost(first: Accepted, again: Accepted, known_by: float, excuses: Excuses) -> bool:
    """Whether a failover may have lost what was known of the first: that it was sent, or what it was made of before."""
    concluded = next((at for at in excuses.concluded.get(first.id, ()) if at >= first.at), known_by)
    began, ended = excuses.published.get(first.id, first.at), min(concluded, again.at)
    return any(one.took(began, ended) for one in excuses.failovers.get(first.token, ()))


def _there(began: float, ended: float, away: Sequence[Span]) -> float:
    """Seconds of this time in which Redis took what was written. `away` in their order; they may overlap."""
    seconds = 0.0
    for gone, back in away:
        seconds += max(0.0, min(gone, ended) - began)
        began = max(began, min(back, ended))
    return seconds + max(0.0, ended - began)


def _broke(first: Accepted, broken: Mapping[Connection, Sequence[float]]) -> bool:
    """Whether its connection was cut or garbled before its answer can have been read."""
    times = broken.get(first.connection, ())
    index = bisect_left(times, first.at - BROKEN)
    return index < len(times) and times[index] <= first.at + ANSWERED + LOST


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value below which this share of the values lies; None without values."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else None
