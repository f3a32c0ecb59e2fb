"""Notification preferences: which of a message's triggers are on for a user, and which row said so. Pure.

The nearest level counts, and a switch that somebody set anywhere corrects it, unless they muted the thing.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Final, Literal, NamedTuple

from producers.fields import Level, Trigger
from worker.core.triggers import TRIGGERS, Triggers

#: Who said it, nearest first: the user of a thread, of a channel and of everything, the channel, the app, or nobody.
RowName = Literal["thread", "member", "user", "channel", "app", "built in"]

# Reasons of those for whom no trigger is on.
NO_TRIGGER: Final = "not_in_thread"
USER_OFF: Final = "push_off"
THREAD_MUTED: Final = "thread_muted"
CHANNEL_MUTED: Final = "channel_muted"
MENTIONS_ONLY: Final = "mentions_only"
LEVEL_NONE: Final = "level_none"
SWITCHED_OFF: Final = "switched_off"
#: Of which the account says whose row it was.
REASONS: Final = frozenset({USER_OFF, THREAD_MUTED, CHANNEL_MUTED, MENTIONS_ONLY, LEVEL_NONE, SWITCHED_OFF})

_NO_SWITCHES: Final[Mapping[Trigger, bool]] = {}
_PERSONAL: Final = frozenset[Trigger]({"direct", "mention", "reply"})
_MENTIONS: Final = _PERSONAL | frozenset[Trigger]({"thread", "group", "here", "everyone", "keyword"})
#: The triggers that each level switches on. Of reactions only `none` says anything.
LEVELS: Final[Mapping[Level, frozenset[Trigger]]] = {
    "all": _MENTIONS | frozenset[Trigger]({"message"}),
    "mentions": _MENTIONS,
    "personal": _PERSONAL,
    "none": frozenset(),
}


class Row(NamedTuple):
    """What somebody said about how loud something is."""

    #: None: nothing.
    level: Level | None = None
    switches: Mapping[Trigger, bool] = _NO_SWITCHES
    #: UNIX seconds up to which `muted_level` is in the level's place; 0: not muted.
    muted_until: float = 0.0
    muted_level: Level = "none"
    #: False, of a user: nothing at all.
    enabled: bool = True


#: Nearest first; rows that say nothing may be left out.
Rows = Sequence[tuple[RowName, Row]]


class Answer(NamedTuple):
    """Whether a trigger is on, and who said so."""

    on: bool
    by: RowName
    #: Why it is off; '' where it is on.
    reason: str = ""


class Verdict(NamedTuple):
    """What a message is for a user after their preferences: the triggers that are on, the most salient first."""

    on: tuple[Trigger, ...]
    #: The row that decided about the first of them, or about the most salient one if none is on.
    by: RowName = "built in"
    #: Why none is on; '' where one is.
    reason: str = ""


_MESSAGE: Final = Verdict(("message",))
_NO_VERDICTS: Final[Mapping[str, Verdict]] = {}
_NOBODY: Final[Mapping[str, Collection[str]]] = {}


class Verdicts(NamedTuple):
    """What a message is for each of its candidates."""

    everybody: Verdict = _MESSAGE
    #: Those for whom it is something else.
    some: Mapping[str, Verdict] = _NO_VERDICTS
    #: Who gets nothing, by reason.
    refused: Mapping[str, Collection[str]] = _NOBODY

    def of(self, user: str) -> Verdict:
        return self.some.get(user, self.everybody)


PLAIN: Final = Verdicts()


class AllBut(Collection[str]):
    """Everybody but these users. Has no end: it is only asked who is in it."""

    def __init__(self, users: Collection[str]) -> None:
        self._users = users

    def __contains__(self, user: object) -> bool:
        return user not in self._users

    def __iter__(self) -> Iterator[str]:
        raise TypeError("everybody else cannot be listed")

    def __len__(self) -> int:
        return 1


class Step(NamedTuple):
    """One row of the walk, and what it says."""

    by: RowName
    said: str
    #: Where the walk ends.
    answer: Answer | None = None


def ask(trigger: Trigger, rows: Rows, now: float) -> Answer:
    """Whether a trigger is on. `now` in UNIX seconds."""
    *_, (_, _, answer) = walk(trigger, rows, now)
    assert answer is not None
    return answer


def walk(trigger: Trigger, rows: Rows, now: float) -> Iterator[Step]:
    """From the nearest row outwards; the last step has the answer."""
    noted: Answer | None = None
    for name, row in rows:
        muted = row.muted_until > now
        level = row.muted_level if muted else row.level
        said = f"muted but for {level}" if muted and level != "none" else "muted" if muted else f"level {level}"
        if trigger in row.switches and not (muted and level == "none"):
            on = row.switches[trigger]
            yield Step(name, f"{trigger} {'on' if on else 'off'}", Answer(on, name, "" if on else SWITCHED_OFF))
            return
        if level == "none" and noted is None:
            yield Step(name, said, Answer(False, name, _none_by(name)))
            return
        if level is None or trigger == "reaction":
            yield Step(name, "says nothing of it")
        elif noted is None:
            on = trigger in LEVELS[level]
            noted = Answer(on, name, "" if on else MENTIONS_ONLY)
            yield Step(name, f"{said}: {'on' if on else 'off'}, unless a switch farther out says otherwise")
        else:
            yield Step(name, f"{said}: a nearer level counts")
    if noted is not None:
        yield Step(noted.by, "the nearest level", noted)
    elif trigger == "reaction":
        yield Step("built in", "reactions are off", Answer(False, "built in", SWITCHED_OFF))
    else:
        yield Step("built in", "on", Answer(True, "built in"))


def _none_by(name: RowName) -> str:
    return THREAD_MUTED if name == "thread" else CHANNEL_MUTED if name == "member" else LEVEL_NONE


def judge(triggers: Iterable[Trigger], rows: Rows, now: float) -> Verdict:
    """What is left of the triggers, which are given most salient first. `now` in UNIX seconds."""
    if not triggers:
        return Verdict((), reason=NO_TRIGGER)
    for name, row in rows:
        if not row.enabled:
            return Verdict((), name, USER_OFF)
    answers = [(trigger, ask(trigger, rows, now)) for trigger in triggers]
    on = [(trigger, answer) for trigger, answer in answers if answer.on]
    _, first = on[0] if on else answers[0]
    return Verdict(tuple(trigger for trigger, _ in on), first.by, first.reason)


def judge_again(why: Trigger, rows: Rows, now: float) -> str:
    """Why somebody who was to get a push for `why` wants it no more; '' where they may want it.

    Which other triggers were on is not known by then. Any that is less salient may have been.
    """
    others = () if why == "reaction" else TRIGGERS[TRIGGERS.index(why) + 1 :]
    return judge((why, *(trigger for trigger in others if trigger != "reaction")), rows, now).reason


def judge_calls(own: Mapping[str, Rows], now: float) -> Verdicts:
    """Who gets no call: who wants nothing at all, or muted its channel for a while. Levels and switches are of messages."""
    off = {user for user, rows in own.items() if any(not row.enabled for _, row in rows)}
    muted = {
        user
        for user, rows in own.items()
        for name, row in rows
        if name == "member" and row.muted_until > now and row.muted_level == "none"
    }
    return Verdicts(refused={USER_OFF: off, CHANNEL_MUTED: muted - off})


_NO_ROWS: Final[Mapping[str, Rows]] = {}


def common_rows(level: Level | None, app: Level, switches: Mapping[Trigger, bool]) -> Rows:
    """What a channel (its `level`) and its app say, where it is anything other than what is built in."""
    rows: list[tuple[RowName, Row]] = []
    if level is not None:
        rows.append(("channel", Row(level)))
    if app != "all" or switches:
        rows.append(("app", Row(None if app == "all" else app, switches)))
    return rows


def judge_all(triggers: Triggers, common: Rows = (), own: Mapping[str, Rows] = _NO_ROWS, now: float = 0.0) -> Verdicts:
    """What a message is for each candidate. `common` are the channel's and the app's row; `own`, by user, those of users who have
    any, nearest first.
    """
    if triggers.everybody == ("message",) and not (triggers.some or common or own):
        return PLAIN

    @cache
    def without_rows(of: tuple[Trigger, ...]) -> Verdict:
        return judge(of, common, now)

    everybody = without_rows(triggers.everybody)
    some = {user: without_rows(of) for user, of in triggers.some.items() if user not in own}
    some |= {user: judge(triggers.of(user), (*rows, *common), now) for user, rows in own.items()}
    return Verdicts(everybody, some, _refused(everybody, some))


def _refused(everybody: Verdict, some: Mapping[str, Verdict]) -> Mapping[str, Collection[str]]:
    refused: dict[str, Collection[str]] = {}
    for reason in {verdict.reason for verdict in some.values()} - {"", everybody.reason}:
        refused[reason] = frozenset(user for user, verdict in some.items() if verdict.reason == reason)
    if everybody.reason:
        refused[everybody.reason] = AllBut(
            frozenset(user for user, verdict in some.items() if verdict.reason != everybody.reason)
        )
    return refused
