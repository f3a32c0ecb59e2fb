"""What one expansion will write: grows message by message, and is written in one step of the journal."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, Final, NamedTuple

from producers.events import Event
from worker.core.batch import Batch, Job, Lane, Sending, batch_id
from worker.core.digest import Missed
from worker.core.ledger_entry import account as ledger_account
from worker.core.live import is_live
from worker.core.model import Device
from worker.core.position import position
from worker.core.second_look import MOST, Kind, SecondLook
from worker.core.taking_back import CLEAR
from worker.core.tally import Tally, encode
from worker.core.trace_context import sampled
from worker.pipeline.spans import Attributes, Span, counted, span
from worker.state.journal import DONE, Opened, QueuedBatch, QueuedLook, Step

#: A notification before it is in a batch: the rendered message, the device, and why.
_Wanted = tuple[Sending, Device, str]
#: App, provider, lane, what the devices are for, and whether it goes ahead of messages.
_Key = tuple[str, int, Lane, str, bool]
#: The origin of each device, as its way is named.
OriginsOf = Callable[[Sequence[Device]], Sequence[str]]

_NOBODY: Final[Mapping[str, Any]] = {}


class Traced(NamedTuple):
    """A page of an event whose publisher traces it. `parent` as of `Span`."""

    parent: str
    app: str
    event: str
    page: int
    account: Mapping[str, Any]


class Plan:
    """`new_id` gives a batch id that was never given before, `batch` is the most jobs of one, `now` is in UNIX seconds.

    `origins` gives what names the origins of a provider's devices of one purpose, None where they have none.
    """

    def __init__(
        self,
        new_id: Callable[[], str],
        batch: int,
        origins: Callable[[int, str], OriginsOf | None],
        now: float,
    ) -> None:
        self._new_id, self._batch, self._origins, self._moment = new_id, batch, origins, int(now * 1000)
        self._wanted: defaultdict[_Key, list[_Wanted]] = defaultdict(list)
        self.steps: list[Step] = []
        self.accounts: list[bytes] = []
        #: Expansions that go on, on the bulk lane.
        self.unfinished = 0
        #: By app. A Counter takes twice as long to add to.
        self.counts: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
        self.looks: list[QueuedLook] = []
        #: What is left of messages for those in quiet time.
        self.missed: list[Missed] = []
        #: Names of reminders that end, because their user has answered.
        self.answered: list[str] = []
        #: Second looks so far of each page, or second look, of an entry.
        self._numbers: Counter[tuple[str, str]] = Counter()
        #: Pages of traced events.
        self.traced: list[Traced] = []

    def take(self, opened: Opened, following: str, event: Event, page: int, account: Mapping[str, Any]) -> None:
        """One page of an event is expanded, or a second look at it, with what it says of whom."""
        self.steps.append(opened.step(following))
        part = f"look:{opened.look}" if opened.look else f"page:{page}"
        self.accounts.append(ledger_account(opened.app, event.id, part, account, self._moment))
        self.unfinished += following != DONE
        if parent := sampled(event.traceparent):
            self.traced.append(Traced(parent, opened.app, event.id, page, account))

    def refuse(self, opened: Opened, event: Event, reason: str, page: int = 0) -> None:
        """An event that is no message, or the rest of it, goes to nobody."""
        self.counts[opened.app][f"skipped_message.{reason}"] += 1
        self.take(opened, DONE, event, page, {"message": reason})

    def take_users(
        self,
        opened: Opened,
        event: Event,
        pushed: Sequence[str],
        skipped: Mapping[str, Sequence[str]],
        delayed: Mapping[str, Any] = _NOBODY,
    ) -> None:
        """An event that is no message is expanded. `skipped`: users by the reason. `delayed`: as of `look_again`."""
        considered = len(pushed) + sum(map(len, skipped.values()))
        count = self.counts[opened.app]
        count["considered"] += considered
        count["pushed"] += len(pushed)
        for reason, users in skipped.items():
            count[f"skipped.{reason}"] += len(users)
        account = {"considered": considered, "pushed": pushed, "skipped": skipped, **delayed}
        self.take(opened, DONE, event, 0, account)

    def decided(self, app: str, user: str, event_id: str, reason: str) -> None:
        """What is of no entry is sent to the user, or not for a reason."""
        skipped = {reason: [user]} if reason else {}
        content = {"considered": 1, "pushed": [] if reason else [user], "skipped": skipped}
        self.accounts.append(ledger_account(app, event_id, "page:0", content, self._moment))

    def look_again(
        self, opened: Opened, page: int, kind: Kind, delay: float, users: Sequence[str], extra: Any = None
    ) -> Mapping[str, Any]:
        """These users of the page are decided in `delay` seconds; `extra` as of `SecondLook`.

        Returns what an account says of them.
        """
        before = opened.look or str(page)
        place = opened.place or position(opened.entry)
        for begin in range(0, len(users), MOST):
            look = SecondLook(kind, list(users[begin : begin + MOST]), extra)
            number = f"{before}.{self._numbers[opened.entry, before]}"
            self._numbers[opened.entry, before] += 1
            self.looks.append(QueuedLook(opened.entry, number, opened.app, place, delay, look))
        return {"delayed": list(users), "until": int(self._moment / 1000 + delay), "look": kind}

    def spans(self, began: float, ended: float) -> list[Span]:
        """One for each page of a traced event. Times in UNIX seconds."""
        count = {"messaging.batch.message_count": len(self.steps)}
        return [
            span("expand", parent, (began, ended), app, event, {**count, "carillon.page": page, **_attributes(account)})
            for parent, app, event, page, account in self.traced
        ]

    def documents(self) -> list[bytes]:
        """What the ledger gets: the accounts, and a tally for each app."""
        counted = ((app, {name: n for name, n in counts.items() if n}) for app, counts in self.counts.items())
        return [
            *self.accounts,
            *(encode(app, Tally(self._new_id(), counts=counts)) for app, counts in counted if counts),
        ]

    def add_jobs(self, app: str, lane: Lane, sending: Sending, devices: Iterable[Device], why: str = "") -> None:
        ahead, last = is_live(sending), None
        for device in devices:
            key = (device.provider_id, device.purpose)
            if key != last:
                last = key
                wanted = self._wanted[app, device.provider_id, lane, device.purpose, ahead]
            wanted.append((sending, device, why))

    def queued(self) -> list[QueuedBatch]:
        batches = (
            _batch(key, origin, some, self._moment)
            for key, of_provider in self._wanted.items()
            for origin, wanted in self._by_origin(key[1], key[3], of_provider)
            for some in _pieces(wanted, self._batch)
        )
        return [QueuedBatch(batch_id(batch, self._new_id()), batch) for batch in batches]

    def _by_origin(
        self, provider: int, purpose: str, wanted: Sequence[_Wanted]
    ) -> Iterable[tuple[str, Sequence[_Wanted]]]:
        origins_of = self._origins(provider, purpose)
        if origins_of is None:
            return [("", wanted)]
        found: defaultdict[str, list[_Wanted]] = defaultdict(list)
        for origin, one in zip(origins_of([device for _, device, _ in wanted]), wanted, strict=True):
            found[origin].append(one)
        return found.items()


def _attributes(account: Mapping[str, Any]) -> Attributes:
    """How many members a page's part of the ledger entry says to be pushed, and skipped for which reason."""
    if "message" in account:
        return counted({f"skipped_message.{account['message']}": 1})
    skipped = {f"skipped.{reason}": len(users) for reason, users in account["skipped"].items()}
    rest = {f"skipped.{reason}": n for reason, n in account.get("rest", {}).items()}
    return {
        "carillon.considered": account["considered"],
        **counted({"pushed": len(account["pushed"])} | skipped | rest),
    }


def _pieces(wanted: Sequence[_Wanted], most: int) -> Iterator[Sequence[_Wanted]]:
    """Pieces of at most so many, each in the given order, for as many devices as there are.

    Of one device one notification is sent after another, and of two batches with the same device one waits for the other. So a
    piece has the first of each of some devices, the next their second ones, and so on; pieces of other devices come between.
    """
    if len(wanted) <= most:
        yield wanted
        return
    of_device: defaultdict[int, list[int]] = defaultdict(list)
    for number, (_, device, _) in enumerate(wanted):
        of_device[device.id].append(number)
    devices = [of_device[device] for device in sorted(of_device)]
    groups = [list(_layers(devices[start : start + most], most)) for start in range(0, len(devices), most)]
    for pieces in zip_longest(*groups, fillvalue=()):
        for piece in pieces:
            if piece:
                yield [wanted[number] for number in sorted(piece)]


def _layers(devices: Sequence[Sequence[int]], most: int) -> Iterator[Sequence[int]]:
    """The notifications of these devices: the first of each, then the second of each, and so on, in pieces of at most so many."""
    rows = [number for row in zip_longest(*devices) for number in row if number is not None]
    for start in range(0, len(rows), most):
        yield rows[start : start + most]


def _batch(key: _Key, origin: str, wanted: Sequence[_Wanted], decided: int) -> Batch:
    sendings: list[Sending] = []
    jobs: list[Job] = []
    last = None
    for sending, device, why in wanted:
        if sending is not last:
            sendings.append(sending)
            last = sending
        jobs.append(
            Job(
                len(sendings) - 1,
                device.id,
                device.user,
                device.token,
                device.registered_at,
                why=why,
                platform=device.platform,
                secret=device.secret,
                clears=device.traits is not None and CLEAR in device.accepts,
            )
        )
    return Batch(*key[:3], sendings, jobs, origin=origin, decided=decided)
