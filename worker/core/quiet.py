"""Quiet time: weekly windows in a time zone, a pause, and what breaks through.

Quiet time is intervals of instants, not readings of a clock. An occurrence of a window on a day begins at the first instant at
which a clock of the zone shows its begin, and ends at the last instant at which it shows its end. A time that is never shown is
the jump over it. Windows in which people are notified take their edges the other way round: what may be quiet is quiet.
"""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final, Literal, NamedTuple, get_args

from producers import events
from producers.events import MessageNew
from producers.fields import Day

#: In the order of `Window.days`.
WEEKDAYS: Final[tuple[Day, ...]] = get_args(Day)
#: What lets a message through quiet time.
Passed = Literal["urgent", "trigger", "user", "channel"]

DAY: Final = 86_400
#: Seconds: a silence that is longer has no end.
LONGEST: Final = 8 * DAY
#: Seconds after which a silence without an end is looked at again.
LOOK_AGAIN: Final = 3_600

#: A naive time that counts the seconds of a wall clock from here.
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001
#: 1970-01-01 was a Thursday.
_FIRST_WEEKDAY: Final = 3


class Window(NamedTuple):
    """`begin` and `end` are minutes after midnight, `end` up to 1440. An end that is not after the begin is on the next day."""

    #: Days on which it begins; 0 is Monday.
    days: tuple[int, ...]
    begin: int
    end: int


class Hours(NamedTuple):
    """Weekly windows of a time zone."""

    zone: tzinfo
    windows: tuple[Window, ...]
    #: Whether people are notified in the windows and all other time is quiet; else the windows are quiet.
    notify: bool = False


class Span(NamedTuple):
    """A stretch of time, `[begin, end)` in UNIX seconds, all of which is quiet or none of it."""

    quiet: bool
    begin: int
    end: int
    #: Whether the other state begins at `end`; False: not within eight days.
    ends: bool

    @property
    def until(self) -> int | None:
        """The end of a silence; None: there is none, or no end."""
        return self.end if self.quiet and self.ends else None


class Allow(NamedTuple):
    """What breaks through."""

    urgent: bool = True
    triggers: Collection[str] = ("call",)
    #: Senders, and channels, by id.
    users: Collection[str] = ()
    channels: Collection[str] = ()


class Quiet(NamedTuple):
    """When a user is not to be notified, and what happens then. `pause_until` in UNIX seconds; 0: no pause."""

    hours: Hours | None = None
    pause_until: float = 0.0
    allow: Allow = Allow()
    after: Literal["digest", "nothing"] = "digest"
    badge: Literal["after", "silent"] = "after"


class Silence(NamedTuple):
    """A user is not to be notified now."""

    reason: Literal["paused", "quiet", "over_daily_cap"]
    #: UNIX seconds at which pause and windows, or the day, are over; None: no end within eight days.
    until: float | None
    setting: Quiet
    #: Why a message would have been for the user.
    triggers: Sequence[str] = ()


class Silent(NamedTuple):
    """For whom of a message's candidates it is quiet."""

    #: Who gets nothing, by the reason of the silence.
    refused: Mapping[str, Mapping[str, Silence]]
    #: For whom the message comes through, and by what.
    passed: Mapping[str, Passed]


NOBODY: Final = Silent({}, {})


def silent(
    settings: Mapping[str, Quiet], event: MessageNew, triggers: Callable[[str], Sequence[str]], moment: float
) -> Silent:
    """For whom it is quiet at the moment. `triggers`: those of the message that are on for a user."""
    refused: dict[str, dict[str, Silence]] = {}
    passed: dict[str, Passed] = {}
    urgent, sender, channel = event.message.urgency == "urgent", event.sender.id, event.channel.id
    for user, setting in settings.items():
        if (found := silence(setting, moment)) is not None:
            on = triggers(user)
            by = passes(setting.allow, urgent=urgent, triggers=on, sender=sender, channel=channel)
            if by is None:
                refused.setdefault(found.reason, {})[user] = found._replace(triggers=on)
            else:
                passed[user] = by
    return Silent(refused, passed) if refused or passed else NOBODY


def silence(quiet: Quiet, moment: float) -> Silence | None:
    """The user's silence at a moment, UNIX seconds; None: they may be notified."""
    if moment < quiet.pause_until:
        end: float | None = quiet.pause_until
        if quiet.hours is not None and (span := _span_after_pause(quiet.hours, quiet.pause_until)).quiet:
            end = span.until
        return Silence("paused", end if end is not None and end - moment <= LONGEST else None, quiet)
    if quiet.hours is not None and (span := latest_span(quiet.hours, moment)).quiet:
        return Silence("quiet", span.until, quiet)
    return None


def passes(allow: Allow, *, urgent: bool, triggers: Iterable[str], sender: str, channel: str) -> Passed | None:
    """What lets a message through quiet time; None: nothing. `triggers`: why it is for the user."""
    if urgent and allow.urgent:
        return "urgent"
    if allow.triggers and any(trigger in allow.triggers for trigger in triggers):
        return "trigger"
    if sender in allow.users:
        return "user"
    return "channel" if channel in allow.channels else None


def begun_since(decided: float, setting: Quiet, moment: float) -> bool:
    """Whether it is quiet at the moment, and was not when it was decided, as far as is known: a pause has no beginning."""
    found = silence(setting, moment)
    return found is not None and (found.reason == "paused" or silence(setting, decided) is None)


def window(given: events.Window) -> Window:
    """A window of the contract."""
    return Window(tuple(map(WEEKDAYS.index, given.days)), _minutes(given.begin), _minutes(given.to))


def latest_span(hours: Hours, moment: float) -> Span:
    """As `span_at`, from memory while the last span of these hours holds: then it is two comparisons."""
    memory = _memory(hours)
    span = memory[0]
    if span is None or not span.begin <= moment < span.end:
        span = memory[0] = span_at(hours, moment)
    return span


@lru_cache(maxsize=4096)
def _memory(hours: Hours) -> list[Span | None]:  # noqa: ARG001 - it is the key
    """The last span of these hours: many users have the same."""
    return [None]


def span_at(hours: Hours, moment: float) -> Span:
    """The span that a moment, UNIX seconds, is in."""
    edges = _edges(hours, moment)
    following = bisect_right(edges, moment)
    quiet = bool(following % 2) is not hours.notify
    begin = edges[following - 1] if following else int(moment)
    if following < len(edges) and edges[following] - moment <= LONGEST:
        return Span(quiet, begin, edges[following], ends=True)
    return Span(quiet, begin, int(moment) + LOOK_AGAIN, ends=False)


#: In which span a pause ends: many messages ask that of one pause.
_span_after_pause: Final = lru_cache(maxsize=4096)(span_at)


def always_quiet(hours: Hours, moment: float) -> bool:
    """Whether it is quiet and no end is in sight."""
    span = span_at(hours, moment)
    return span.quiet and not span.ends


def _minutes(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)


def _edges(hours: Hours, moment: float) -> list[int]:
    """Begin and end of each stretch that windows cover, from before the moment to nine days after it, in ascending order."""
    today = int(moment + _offset(hours.zone, moment)) // DAY
    edges: list[int] = []
    for begin, end in sorted(_occurrences(hours, range(today - 2, today + 10))):
        if edges and begin <= edges[-1]:
            edges[-1] = max(end, edges[-1])
        else:
            edges += (begin, end)
    return edges


def _occurrences(hours: Hours, days: Sequence[int]) -> Iterable[tuple[int, int]]:
    """Those that begin on these days, which count from 1970-01-01."""
    for day in days:
        for window in hours.windows:
            if (day + _FIRST_WEEKDAY) % 7 in window.days:
                until = day if window.end > window.begin else day + 1
                begins = _showings(hours.zone, day * DAY + window.begin * 60)
                ends = _showings(hours.zone, until * DAY + window.end * 60)
                begin, end = (begins[1], ends[0]) if hours.notify else (begins[0], ends[1])
                if begin < end:
                    yield begin, end


def _showings(zone: tzinfo, wall: int) -> tuple[int, int]:
    """The first and the last instant at which a clock shows this; both are the jump over it where no clock does."""
    local = (_EPOCH + timedelta(seconds=wall)).replace(tzinfo=zone)
    before, after = _seconds(local), _seconds(local.replace(fold=1))
    if before >= after:
        return wall - before, wall - after
    low, high = wall - after, wall - before
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(zone, middle) == before:
            low = middle
        else:
            high = middle
    return high, high


def _offset(zone: tzinfo, moment: float) -> int:
    return _seconds(datetime.fromtimestamp(moment, zone))


def _seconds(local: datetime) -> int:
    offset = local.utcoffset()
    return 0 if offset is None else int(offset.total_seconds())
