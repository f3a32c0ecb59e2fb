"""The delivery report of one message, in words and as JSON. Pure; `worker/reports/looking_up.py` reads the facts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from worker.core.breaker import Quota, Stopped
from worker.core.ledger_entry import decides
from worker.core.outcome_label import OVERTOOK
from worker.core.purposes import BROADCAST
from worker.providers.kinds import UNKNOWN, words_of
from worker.reports.reasons import DROPS, MESSAGES
from worker.reports.words import counted, instant

#: Outcomes after which nothing more is tried.
FINAL: Final = ("accepted", "retired", "dropped")


#: What became of a notification to one device.
State = Literal["accepted", "refused", "given up", "waits"]
_STATES: Final[Mapping[str, State]] = {"accepted": "accepted", "retired": "refused", "dropped": "given up"}


class Part(NamedTuple):
    """A part of a message's account, `page:<n>`, `look:<n>` or `batch:<id>`, and when it was so (UNIX seconds)."""

    name: str
    at: float
    account: Mapping[str, Any]
    #: Of a batch: its provider, and the milliseconds until its answers had come. 0: not known.
    provider: int = 0
    took: int = 0


class Tried(NamedTuple):
    """One outcome of a device, and when it had it (UNIX seconds); the rest as of `Part`."""

    outcome: str
    at: float
    provider: int = 0
    took: int = 0


class Delayed(NamedTuple):
    """Somebody who is decided again then (UNIX seconds). `present`: which key said that they were present, or ''."""

    until: float
    present: str
    #: For what else, where it is no message: `second_look.Kind`. Without either the message is folded.
    look: str = ""

    @property
    def words(self) -> str:
        why = f"was {self.present}" if self.present else _LOOKS.get(self.look, "to be one of several")
        return f"delayed until {instant(self.until)}, {why}"


_LOOKS: Final = {"activity": "the activity has no token yet", "clear": "their devices were cleared just now"}


def delayed_in(account: Mapping[str, Any]) -> dict[str, Delayed]:
    """By user, of the account of a page."""
    folding = account.get("folding", {})
    other = Delayed(account.get("until", 0), account.get("present", ""), account.get("look", ""))
    return {user: Delayed(folding[user], "") if user in folding else other for user in account.get("delayed", ())}


class Recorded(NamedTuple):
    """A message that was recorded. Times in UNIX seconds."""

    entry: str
    at: float
    #: How often it was published once more under its id, and when last.
    repeats: int = 0
    repeated_at: float | None = None


class Letter(NamedTuple):
    """A dead letter about the event."""

    id: int
    at: float
    error: str


class Via(NamedTuple):
    """The provider of a device, and what holds its notifications back."""

    name: str
    #: The form of its settings.
    kind: str
    stopped: Stopped | None = None
    quota: Quota | None = None
    #: That of its origins which is stopped or over its quota; empty where it is the whole provider.
    origin: str = ""
    #: Whether the device stands for a broadcast channel.
    is_broadcast: bool = False

    @property
    def by(self) -> str:
        """Who answers, as in "accepted by APNs"."""
        return BROADCAST if self.is_broadcast else words_of(self.kind).by

    @property
    def flows(self) -> bool:
        return self.stopped is None and self.quota is None


@dataclass(frozen=True)
class Facts:
    """Everything that is known of one event. Times in UNIX seconds."""

    parts: Sequence[Part] = ()
    recorded: Recorded | None = None
    letters: Sequence[Letter] = ()
    #: When a scheduled push begins; None: it is not scheduled.
    scheduled: float | None = None
    #: Whether something of it is still to be done.
    open: bool = False
    #: device id -> its provider
    ways: Mapping[int, Via] = field(default_factory=dict)
    #: user -> those of their devices that have no outcome yet
    devices: Mapping[str, Sequence[int]] = field(default_factory=dict)
    #: device id -> when it is tried next
    following: Mapping[int, float] = field(default_factory=dict)
    #: Seconds for which the oldest entry waits that the intake has not taken; None: none waits.
    untaken: float | None = None
    #: The home of a spread app, for which messages wait in other partitions; None: none does.
    home: int | None = None
    #: Since when events are kept, in UNIX seconds, and whether older ones were deleted.
    kept_since: float = 0.0
    forgets: bool = True
    #: provider id -> its name
    names: Mapping[int, str] = field(default_factory=dict)

    @property
    def known(self) -> bool:
        """Whether the event was taken, also if it was refused."""
        return bool(self.parts or self.recorded or self.letters)


@dataclass(frozen=True)
class Report:
    """`pushed` has every try of each device of each user who is to get it, the final one last."""

    considered: int = 0
    #: Why nobody got it.
    whole: str | None = None
    pushed: dict[str, dict[int, list[Tried]]] = field(default_factory=dict)
    #: user -> reason
    skipped: dict[str, str] = field(default_factory=dict)
    #: reason -> members who were counted without a look at each.
    counted: Counter[str] = field(default_factory=Counter)
    #: Of those who got it in quiet time, what let it through: `quiet.Passed`.
    passed: dict[str, str] = field(default_factory=dict)
    #: Who is decided again, and is not yet.
    delayed: dict[str, Delayed] = field(default_factory=dict)
    #: Of those whom a preference refused, whose row that was: `preferences.RowName`.
    by: dict[str, str] = field(default_factory=dict)

    def only(self, user: str) -> "Report":
        """The same for this user only."""
        return Report(
            self.considered,
            self.whole,
            {user: self.pushed[user]} if user in self.pushed else {},
            {user: self.skipped[user]} if user in self.skipped else {},
            self.counted,
            {user: self.passed[user]} if user in self.passed else {},
            {user: self.delayed[user]} if user in self.delayed else {},
            {user: self.by[user]} if user in self.by else {},
        )

    def states(self, devices: Mapping[str, Sequence[int]]) -> dict[str, dict[int, State]]:
        """What became of each user's devices; `devices` as of `Facts`."""
        return {
            user: {id: state_of(of.get(id, ())) for id in (*of, *devices.get(user, ()))}
            for user, of in self.pushed.items()
        }

    def by_provider(self) -> dict[int, Counter[State]]:
        """Devices by what became of them, of each provider that had them last; 0: of entries of a release before."""
        found: dict[int, Counter[State]] = {}
        for devices in self.pushed.values():
            for tries in devices.values():
                found.setdefault(tries[-1].provider, Counter())[state_of(tries)] += 1
        return found

    def answered_until(self) -> dict[int, float]:
        """When each provider had its last outcome, in UNIX seconds."""
        found: dict[int, float] = {}
        for devices in self.pushed.values():
            for one in (one for tries in devices.values() for one in tries):
                found[one.provider] = max(one.at, found.get(one.provider, 0.0))
        return found

    def by_reason(self) -> dict[str, list[str]]:
        """Who is skipped, by reason; the reason with most users first."""
        found: dict[str, list[str]] = {}
        for user, reason in self.skipped.items():
            found.setdefault(reason, []).append(user)
        return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))


def state_of(tries: Sequence[Tried]) -> State:
    """What became of a device's notification, by all of its tries."""
    kinds = {one.outcome.partition(".")[0] for one in tries}
    for kind, state in _STATES.items():
        if kind in kinds:
            return state
    return "waits"


def report(parts: Sequence[Part]) -> Report:
    """What the parts of one event tell together."""
    pages = [part.account for part in parts if decides(part.name)]
    whole = next((str(page["message"]) for page in pages if "message" in page), None)
    made = Report(sum(page.get("considered", 0) for page in pages), whole)
    for page in pages:
        made.pushed.update({user: {} for user in page.get("pushed", ())})
        made.counted.update(page.get("rest", {}))
        made.passed.update(page.get("passed", {}))
        made.by.update(page.get("by", {}))
        for reason, users in page.get("skipped", {}).items():
            made.skipped.update(dict.fromkeys(users, reason))
        made.delayed.update(delayed_in(page))
    for user in [user for user in made.delayed if user in made.pushed or user in made.skipped]:
        del made.delayed[user]
    for part in parts:
        if part.name.startswith("batch:"):
            for outcome, devices in part.account.items():
                for user, device in devices:
                    made.pushed.setdefault(user, {}).setdefault(device, []).append(
                        Tried(outcome, part.at, part.provider, part.took)
                    )
    for devices in made.pushed.values():
        for tries in devices.values():
            # Outcomes that were written together have no order of their own.
            tries.sort(key=lambda one: (_final(one.outcome), one.at))
    return made


def _final(outcome: str) -> bool:
    return outcome.partition(".")[0] in FINAL


def device_line(tries: Sequence[Tried], way: Via | None = None, following: float | None = None) -> str:
    """A device's outcomes in words. `following`: when it is tried next."""
    if not tries:
        return _waits(way, following)
    if any(one.outcome == OVERTOOK for one in tries):
        rest = device_line([one for one in tries if one.outcome != OVERTOOK], way, following)
        return f"{rest}; it was sent before an earlier one of its channel, after waiting 30 s for it"
    before, last = tries[:-1], tries[-1]
    kind, _, reason = last.outcome.partition(".")
    by = UNKNOWN.by if way is None else way.by
    words = {
        "accepted": f"accepted by {by}",
        "retired": f"refused by {by} ({reason}); the device is retired",
        "dropped": f"given up: {DROPS[reason]} ({reason})"
        if reason in DROPS
        else f"given up ({reason}); the device stays",
        "retry": f"refused for now ({reason}), will be tried again",
        "limited": f"waits, for {by} takes only so many for a device ({reason})"
        if reason == "service_rate"
        else f"waits for a rate of the app ({reason})",
    }.get(kind, last.outcome)
    held = way is not None and not way.flows
    if kind == "parked" or (kind in ("retry", "limited") and held):
        words = _waits(way, following) if held else f"waits for its provider ({reason})"
    elif kind in ("retry", "limited") and following is not None:
        words += f" {'until' if kind == 'limited' else 'at'} {instant(following)}"
    if kind not in FINAL:
        return f"{words}{_earlier(before)}"
    sent = f", {last.took:,} ms after it was sent" if last.took and kind != "dropped" else ""
    return f"{words}, {instant(last.at)}{sent}{_earlier(before)}"


def _waits(way: Via | None, following: float | None) -> str:
    if way is not None and way.stopped is not None:
        what = "is paused by hand" if way.stopped.manual else "is stopped"
        of_it = f"{words_of(way.kind).origin} {way.origin} of " if way.origin else ""
        whose = f"{of_it}its provider {way.name!r}"
        return f"waits: {whose} {what} since {instant(way.stopped.since)} ({way.stopped.reason})"
    if way is not None and way.quota is not None:
        whose = f"the {words_of(way.kind).origin}'s" if way.origin else "its provider's"
        return f"waits for {whose} quota until {instant(way.quota.until)} ({way.quota.reason})"
    return "on its way" if following is None else f"waits until {instant(following)}"


def _earlier(before: Sequence[Tried]) -> str:
    if not before:
        return ""
    causes = Counter(one.outcome.partition(".")[2] or one.outcome for one in before)
    listed = ", ".join(cause if n == 1 else f"{cause}: {n:,} times" for cause, n in causes.most_common())
    return f", after {counted(len(before), 'earlier try', 'earlier tries')} ({listed})"


class Person(NamedTuple):
    """What one candidate got. `devices`: id, state and its outcomes in words."""

    user: str
    state: State | Literal["skipped"]
    #: Of one who is skipped; of one who is delayed in words.
    reason: str = ""
    devices: Sequence[tuple[int, State, str]] = ()


def people(facts: Facts, made: Report) -> list[Person]:
    """Every candidate who is named: who waits first, then who got nothing in the end, who got it, and who was skipped."""
    order: tuple[State, ...] = ("waits", "given up", "refused", "accepted")
    best_first: tuple[State, ...] = ("waits", "accepted", "refused", "given up")
    found = []
    for user, of in made.states(facts.devices).items():
        devices = [
            (id, state, device_line(made.pushed[user].get(id, ()), facts.ways.get(id), facts.following.get(id)))
            for id, state in of.items()
        ]
        states = set(of.values())
        # Who has it on one device has it.
        best: State = next((state for state in best_first if state in states), "waits")
        found.append(Person(user, best, "", devices))
    found += [Person(user, "waits", of.words) for user, of in made.delayed.items()]
    found.sort(key=lambda one: (order.index(one.state), one.user))
    return [*found, *(Person(user, "skipped", reason) for user, reason in sorted(made.skipped.items()))]


def headline(facts: Facts, made: Report) -> str:
    """What became of an event, in one line."""
    if made.whole is not None:
        return f"Nobody got a push: {MESSAGES.get(made.whole, made.whole)}"
    if not any(decides(part.name) for part in facts.parts):
        return (
            "Refused: it is a dead letter" if facts.letters else "It waits" if facts.open else "Nothing more is known"
        )
    states = Counter(one.state for one in people(facts, made) if one.state != "skipped")
    were = "was" if len(made.pushed) == 1 else "were"
    considered = made.considered + len(made.delayed)
    return f"{len(made.pushed):,} of {considered:,} {were} to be notified" + (
        f": {', '.join(f'{n:,} {state}' for state, n in states.items())}" if states else ""
    )


def heads(facts: Facts) -> list[str]:
    """The lines about the event as a whole."""
    lines = []
    if facts.recorded is not None:
        lines.append(f"published {instant(published(facts.recorded.entry))}, taken {instant(facts.recorded.at)}")
        if pages := [part.at for part in facts.parts if decides(part.name)]:
            lines.append(_expanded(pages))
        if (n := facts.recorded.repeats) > 0:
            last = "" if facts.recorded.repeated_at is None else f", last at {instant(facts.recorded.repeated_at)}"
            lines.append(f"published {n + 1:,} times under this id{last}; counted once")
    lines += [
        f"dead-lettered {instant(one.at)}: {one.error}; see: carillon dead-letters show {one.id}"
        for one in facts.letters
    ]
    if facts.scheduled is not None:
        lines.append(f"scheduled: it begins at {instant(facts.scheduled)}")
    elif facts.recorded is not None and not any(decides(part.name) for part in facts.parts):
        if facts.open:
            lines.append("on its way: it waits for a worker to expand it")
        elif not facts.letters:
            gone = facts.recorded.at < facts.kept_since
            lines.append(
                f"nothing more is known: what became of it was deleted, {KEPT}"
                if gone
                else "nothing more is known: its ledger entry is not written yet"
            )
    return lines


#: How long anything is known.
KEPT: Final = "as everything after CARILLON_MESSAGE_RETENTION_DAYS"


def _expanded(pages: Sequence[float]) -> str:
    if len(pages) == 1:
        return f"expanded {instant(pages[0])}"
    return f"expanded {instant(min(pages))} to {instant(max(pages))}, in {len(pages):,} parts"


def unknown(app: str, event: str, facts: Facts) -> str:
    """The report of an event of which nothing is stored: never published as far as is known, or perhaps deleted since."""
    of_app = f"app {app!r}" if app else "any app"
    text = f"nothing is known of event {event!r} of {of_app}: it was never published under this id"
    since = instant(facts.kept_since)
    if facts.forgets:
        text += f" since {since}. What was published before that is deleted, {KEPT}"
    else:
        text += f". Nothing was deleted yet: this system is younger than what it keeps, it began {since}"
    if facts.untaken is not None:
        text += f"\nEntries wait to be taken, the oldest for {facts.untaken:.0f} s: it may be among them. See carillon health"
    if facts.home is not None:
        text += f"\nMessages of {app} wait until partition {facts.home}, its home, has committed what was published before them"
    return text


def as_json(facts: Facts, made: Report) -> dict[str, Any]:
    """The report as one JSON object. Device ids are strings, times are RFC 3339, `took` is in milliseconds."""
    devices = {user: {str(id): tries for id, tries in of.items()} for user, of in made.pushed.items()}
    return {
        "considered": made.considered,
        "nobody": made.whole,
        "pushed": {user: {id: [t.outcome for t in tries] for id, tries in of.items()} for user, of in devices.items()},
        "pushed_at": {
            user: {id: [instant(t.at) for t in tries] for id, tries in of.items()} for user, of in devices.items()
        },
        "devices": {
            user: {str(id): _device_json(facts, id, state, made.pushed[user].get(id, ())) for id, state in of.items()}
            for user, of in made.states(facts.devices).items()
        },
        "providers": {
            facts.names.get(id, "?"): dict(states) for id, states in made.by_provider().items() if id in facts.names
        },
        "skipped": made.skipped,
        "delayed": {user: {"until": instant(of.until), "present": of.present} for user, of in made.delayed.items()},
        "by": made.by,
        "counted": dict(made.counted),
        "passed": made.passed,
        "published": None if facts.recorded is None else instant(published(facts.recorded.entry)),
        "taken": None if facts.recorded is None else instant(facts.recorded.at),
        "expanded": [instant(part.at) for part in facts.parts if decides(part.name)],
        "scheduled": None if facts.scheduled is None else instant(facts.scheduled),
        "repeats": 0 if facts.recorded is None else facts.recorded.repeats,
        "open": facts.open,
        "dead_letters": [{"id": one.id, "at": instant(one.at), "error": one.error} for one in facts.letters],
        "waits": {
            str(id): {
                "provider": way.name,
                "kind": way.kind,
                "stopped": way.stopped and {"reason": way.stopped.reason, "since": instant(way.stopped.since)},
                "quota": way.quota and {"reason": way.quota.reason, "until": instant(way.quota.until)},
                "origin": way.origin or None,
                "next": None if (at := facts.following.get(id)) is None else instant(at),
            }
            for id, way in facts.ways.items()
            if not way.flows or id in facts.following
        },
    }


def _device_json(facts: Facts, id: int, state: State, tries: Sequence[Tried]) -> dict[str, Any]:
    last = tries[-1] if tries else None
    way, following = facts.ways.get(id), facts.following.get(id)
    answered = last is not None and last.outcome.partition(".")[0] in ("accepted", "retired", "retry")
    return {
        "state": state,
        "outcome": None if last is None else last.outcome,
        "at": None if last is None else instant(last.at),
        "sent": instant(last.at - last.took / 1000) if last is not None and answered and last.took else None,
        "took": last.took if last is not None and answered and last.took else None,
        "tries": len(tries),
        "provider": None if last is None else facts.names.get(last.provider),
        "next": None if following is None or state != "waits" else instant(following),
        "words": device_line(tries, way, following),
    }


def published(entry: str) -> float:
    """UNIX seconds at which an entry was put on the stream."""
    return int(entry.partition("-")[0]) / 1000
