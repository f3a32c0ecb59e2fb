"""The push log: what became of each notification, and who got none, by time. In lines of the ledger's entries."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec

from worker.core.errors import WorkerError
from worker.core.ledger_entry import decides
from worker.database.lookups import Said, provider_names, said
from worker.database.postgres import Pool
from worker.database.push_log import (
    Choice,
    LedgerEntry,
    Parts,
    Place,
    TooMuchError,
    bounded,
    clock,
    following,
    newest,
    retried,
)
from worker.reports.reasons import DROPS, MEMBERS, MESSAGES
from worker.reports.words import instant

__all__ = [
    "OUTCOMES",
    "Filter",
    "Following",
    "Line",
    "Page",
    "TooMuchError",
    "UnknownPlaceError",
    "as_json",
    "newer",
    "read",
]

#: What a line can say: in the ledger, and for people.
OUTCOMES: Final[Mapping[str, str]] = {
    "accepted": "Accepted",
    "retry": "To be retried",
    "parked": "Held back",
    "limited": "Waits for a rate",
    "retired": "Refused",
    "dropped": "Given up",
    "overtook": "Went ahead",
    "pushed": "To be pushed to",
    "skipped": "Not pushed to",
}
#: Of those the ones that decisions have, not notifications.
DECISIONS: Final = ("pushed", "skipped")
#: Those before which a notification may have been tried already.
_TRIES: Final = ("accepted", "retry", "retired", "dropped")
#: After so long an entry that has its time is there to be read.
_WRITTEN: Final = timedelta(seconds=30)
#: Entries that are read at once.
_ENTRIES: Final = 200
#: Entries that are looked through for one page at most, beyond those that the statement leaves out.
LOOKED_AT: Final = 20_000


class Filter(NamedTuple):
    """Which lines are shown. Times in UNIX seconds, `until` excluded; None: any."""

    since: float
    until: float | None = None
    app: str | None = None
    user: str | None = None
    device: int | None = None
    #: By its name.
    provider: str | None = None
    outcome: str | None = None
    reason: str | None = None
    #: Also decisions: who is to be pushed to, and who is not.
    decisions: bool = False


class Line(NamedTuple):
    """One outcome of one notification, or one decision. `at` in UNIX seconds."""

    at: float
    app: str
    event: str
    #: '' where it is about all of a message's recipients, or about members who were counted without a look at each.
    user: str
    device: int | None
    #: Of `OUTCOMES`.
    outcome: str
    reason: str
    #: The name of the provider and the form of its settings; '' where there is none.
    provider: str
    form: str
    #: Milliseconds until the answers of its batch had come; None: not sent, or not known.
    took: int | None
    #: Members whom it is about.
    number: int = 1
    #: What is known of its message; None: it was not recorded, as a badge's.
    said: Said | None = None
    #: Which try of the notification it is, from 1; None: it is none, or not known.
    attempt: int | None = None


class Page(NamedTuple):
    """Lines, the newest first, and what `read` needs for the next page; None: there is none."""

    lines: Sequence[Line]
    following: str | None
    #: Where `newer` begins to count what is not on the first page.
    newest: str


class UnknownPlaceError(WorkerError):
    """A page was asked for by a text that `Page.following` never was."""


class _Cursor(NamedTuple):
    """The place of an entry, and how many of its lines were shown."""

    micros: int
    moment: int
    app: str
    event: str
    part: str
    shown: int

    @property
    def place(self) -> Place:
        seconds, micros = divmod(self.micros, 1_000_000)
        at = datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros)
        return Place(at, self.moment, self.app, self.event, self.part)


@dataclass(frozen=True)
class Following:
    """Lines as they come: `read` gives those since the last time, the oldest first."""

    pool: Pool
    filter: Filter

    def read(self, after: Place) -> tuple[list[Line], Place]:
        """The next lines after a place, of a bounded number of entries, and the place from which on there may be more."""
        lines, last, now = self.step(after)
        return lines, last or self.later(after, now)

    @staticmethod
    def later(after: Place, now: datetime) -> Place:
        """Where to go on if there was nothing after a place, so that what is not chosen is not looked through again and again."""
        return max(after, Place(now - _WRITTEN))

    def step(self, after: Place) -> tuple[list[Line], Place | None, datetime]:
        """The same with the place of the last entry, if there was one, and the store's time before it was read."""
        with bounded(self.pool) as db:
            now, names = clock(db), provider_names(db)
            choice = choice_of(self.filter, names)
            entries = following(db, choice._replace(since=max(choice.since, after.at)), after, _ENTRIES)
        lines = [line for entry in entries for line in _lines(entry, names) if _wanted(line, self.filter)]
        return lines, entries[-1].place if entries else None, now

    def now(self) -> Place:
        """The place after all that has been written."""
        with bounded(self.pool) as db:
            return Place(clock(db))


def read(pool: Pool, chosen: Filter, after: str | None = None, *, limit: int = 50) -> Page:
    """A page of the log; `after` is the `following` of the page before.

    Raises `TooMuchError` if the store cannot look through so much in time, `UnknownPlaceError` for an unknown `after`.
    """
    cursor = None if after is None else _cursor(after)
    found: list[Line] = []
    with bounded(pool) as db:
        names = provider_names(db)
        choice, last = choice_of(chosen, names), None
        # Before anything is read, so that nothing comes in between.
        now, first = text_of(Place(clock(db))), ""
        for entry, again in _entries(db, choice, cursor):
            first = first or text_of(entry.place)
            shown = cursor.shown if again and cursor is not None else 0
            for number, line in enumerate(_newest_first(entry, names)):
                if number < shown or not _wanted(line, chosen):
                    continue
                if len(found) == limit:
                    return Page(_complete(db, found), last, first or now)
                found.append(line)
                last = text_of(entry.place, number + 1)
        return Page(_complete(db, found), None, first or now)


def newer(pool: Pool, chosen: Filter, than: str, *, most: int) -> tuple[int, str]:
    """How many lines came since a page's `newest`, and the place from which on to count the next ones. Raises as `read` does.

    It ends once there are `most`.
    """
    follow, place, found = Following(pool, chosen), place_of(than), 0
    for _ in range(LOOKED_AT // _ENTRIES):
        lines, last, now = follow.step(place)
        found += len(lines)
        place = last or follow.later(place, now)
        if last is None or found >= most:
            break
    return found, text_of(place)


def _entries(db: Any, choice: Choice, cursor: _Cursor | None) -> Iterator[tuple[LedgerEntry, bool]]:
    """Entries from the newest on, and whether each is the cursor's own, which comes once more for the rest of its lines."""
    before = None
    if cursor is not None:
        place = cursor.place
        # The smallest place behind the cursor's own.
        before = place._replace(part=f"{place.part}\x01")
    looked = 0
    while entries := newest(db, choice, before, _ENTRIES):
        for entry in entries:
            yield entry, cursor is not None and entry.place == cursor.place
        looked += len(entries)
        if len(entries) < _ENTRIES:
            return
        if looked >= LOOKED_AT:
            raise TooMuchError("that is too much to look through: name an app, or a shorter time")
        before = entries[-1].place


def choice_of(chosen: Filter, names: Mapping[int, tuple[str, str, str]]) -> Choice:
    """The entries in which lines may be that are chosen. `names`: app, name and form of the settings of each provider."""
    parts: Parts = "all" if chosen.decisions else "batches"
    if chosen.outcome is not None:
        parts = "decisions" if chosen.outcome in DECISIONS else "batches"
    providers = None
    if chosen.provider is not None:
        providers = [
            id for id, (app, name, _) in names.items() if name == chosen.provider and chosen.app in (None, app)
        ]
    needles = []
    if chosen.user is not None:
        needles.append(_json(chosen.user))
    if chosen.device is not None:
        needles.append(f", {chosen.device}]")
    if chosen.reason is not None:
        needles.append(_json(chosen.reason)[1:])
    if chosen.outcome is not None and chosen.outcome not in DECISIONS:
        needles.append(f'"{chosen.outcome}')
    until = None if chosen.until is None else datetime.fromtimestamp(chosen.until, UTC)
    return Choice(datetime.fromtimestamp(chosen.since, UTC), until, chosen.app, providers, parts, needles)


def _json(text: str) -> str:
    """As Postgres writes it in a JSON document."""
    return json.dumps(text, ensure_ascii=False)


def _lines(entry: LedgerEntry, names: Mapping[int, tuple[str, str, str]]) -> Iterator[Line]:
    """What an entry says, line by line."""
    _, _, app, event, part = entry.place
    about = (entry.moment, app, event)
    if decides(part):
        for user, outcome, reason, number in _decisions(entry.account):
            yield Line(*about, user, None, outcome, reason, "", "", None, number)
        return
    _, name, form = names.get(entry.provider, ("", "", ""))
    took = entry.took or None
    for label, pairs in entry.account.items():
        outcome, _, reason = label.partition(".")
        for user, device in pairs:
            yield Line(*about, user, device, outcome, reason, name, form, took)


def _decisions(account: Mapping[str, Any]) -> Iterator[tuple[str, str, str, int]]:
    """User, outcome, reason and number of members."""
    if (whole := account.get("message")) is not None:
        yield "", "skipped", str(whole), 1
    for user in account.get("pushed", ()):
        yield user, "pushed", "", 1
    for reason, users in account.get("skipped", {}).items():
        for user in users:
            yield user, "skipped", reason, 1
    for reason, number in account.get("rest", {}).items():
        yield "", "skipped", reason, number


def _newest_first(entry: LedgerEntry, names: Mapping[int, tuple[str, str, str]]) -> list[Line]:
    return [*_lines(entry, names)][::-1]


def _wanted(line: Line, chosen: Filter) -> bool:
    wanted = (chosen.user, chosen.device, chosen.outcome, chosen.reason, chosen.provider)
    has = (line.user, line.device, line.outcome, line.reason, line.provider)
    return all(one is None or one == of for one, of in zip(wanted, has, strict=True))


def complete(pool: Pool, lines: Sequence[Line]) -> list[Line]:
    """Lines of `Following` with what is known of their messages, and their tries."""
    with bounded(pool) as db:
        return _complete(db, lines)


def _complete(db: Any, lines: Sequence[Line]) -> list[Line]:
    """With what is known of their messages, and their tries."""
    events = [*{(line.app, line.event): None for line in lines}]
    devices = [*{line.device for line in lines if line.device is not None and line.outcome in _TRIES}]
    known, again = said(db, events), retried(db, events, devices) if devices else {}
    return [
        line._replace(said=known.get((line.app, line.event)), attempt=_attempt(line, again.get((line.app, line.event))))
        for line in lines
    ]


def _attempt(line: Line, again: Mapping[int, Sequence[float]] | None) -> int | None:
    if line.device is None or line.outcome not in _TRIES or again is None:
        return None
    return 1 + sum(at < line.at for at in again.get(line.device, ()))


def text_of(place: Place, shown: int = 0) -> str:
    """The name of a place, for `place_of`; for `read` with the number of its lines that were shown."""
    seconds = int(place.at.timestamp())
    cursor = _Cursor(seconds * 1_000_000 + place.at.microsecond, *place[1:], shown)
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor)).decode().rstrip("=")


def _cursor(text: str) -> _Cursor:
    try:
        document = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        cursor = msgspec.json.decode(document, type=_Cursor)
        known = "\0" not in "".join(cursor.place[2:])
    except (ValueError, OverflowError):
        known = False
    if not known:
        raise UnknownPlaceError("no page of the log has this place")
    return cursor


def place_of(text: str) -> Place:
    """The place that a page names. Raises `UnknownPlaceError` for what is none."""
    return _cursor(text).place


def reason_in_words(line: Line) -> str:
    """Why, in words with the code; '' where there is nothing to say."""
    if not line.reason:
        return ""
    of_decisions = {**MESSAGES, **MEMBERS} if line.user or line.number > 1 else {**MEMBERS, **MESSAGES}
    known = {"dropped": DROPS, "skipped": of_decisions}
    words = known.get(line.outcome, {}).get(line.reason)
    return line.reason if words is None else f"{words} ({line.reason})"


def as_json(line: Line) -> dict[str, Any]:
    """A line as a JSON object. The time is RFC 3339, the device's id a string, `took` in milliseconds, `attempt` from 1."""
    return {
        "at": instant(line.at),
        "app": line.app,
        "event": line.event,
        "message": line.said and (line.said.message or None),
        "channel": line.said and (line.said.channel or None),
        "user": line.user or None,
        "device": None if line.device is None else str(line.device),
        "outcome": line.outcome,
        "reason": line.reason or None,
        "provider": line.provider or None,
        "took": line.took,
        "attempt": line.attempt,
        "number": line.number,
    }
