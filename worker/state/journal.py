"""The journal: which messages are open, how far each is expanded, and the batches still to be delivered.

An entry stays on its stream until its expansion and all of its batches are done. Every change of state is one Lua script, so
a crash falls before it or after it, and a script that is run twice does nothing the second time.

Messages (`e`), second looks at them and batches (`b`) are either *ready*, in a line of which each app gets an equal share, or
*due* at a time: taken and leased to a worker, or waiting for their time or for another batch. The tick makes ready what is due.

Their keys: `worker/state/keys.py`.
"""

import contextlib
import logging
import secrets
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, count
from typing import Any, Final, Literal, NamedTuple

import msgspec

from worker.core import batch as batches
from worker.core import second_look
from worker.core.badges import Cleared
from worker.core.batch import COUNT, OVERTAKE, Batch, Freed, Lane
from worker.core.breaker import Look, Stopped
from worker.core.digest import Counted, Missed, line_of
from worker.core.entry import entry_of, joined
from worker.core.errors import LeaseLost, WorkerError
from worker.core.ledger_entry import Entry
from worker.core.live import is_live
from worker.core.reminder import Next, Pushed, Reminder
from worker.core.second_look import SecondLook
from worker.core.tally import is_tally
from worker.core.way import Way, way_in
from worker.state.breaker import RECENT
from worker.state.gate import Gate, GateOfServer
from worker.state.partition import Partition
from worker.state.recent_accounts import RecentAccounts
from worker.state.streams import loaded

log = logging.getLogger(__name__)

#: Cursor that says: this expansion is done.
DONE: Final = "-"
#: Bytes of documents that one worker takes at once to expand: they are in memory until all are expanded.
OCTETS: Final = 1 << 20
#: Seconds for which a batch waits as a whole for those that have some of its devices.
PATIENCE: Final = 1.0
#: The same for one that has most of its devices free by then.
SOON: Final = 0.1
#: Seconds for which a process remembers the accounts of what it has delivered, and how many octets of them at most.
_RECENTLY: Final = 30.0
_REMEMBERED: Final = 4 << 20
_ACCEPTED: Final = b'"accepted"'
_decode_account: Final = msgspec.json.Decoder(Entry).decode
_decode_numbers: Final = msgspec.json.Decoder(list[int]).decode
#: Groups of an app's channels, as of parts/messages.lua.
_GROUPS: Final = 32
Counts = Mapping[str, Mapping[str, int]]


class Step(msgspec.Struct, frozen=True):
    """An expansion goes on at `following`, or is `DONE`, as a second look always is; the rest is as it was taken.

    `entry`: the `id` of what was taken.
    """

    entry: str
    state: str
    following: str
    group: str = ""
    turn: str = "0"


class Opened(msgspec.Struct, frozen=True):
    """A message to expand from `cursor` on ('' at its beginning), or a second look at one."""

    entry: str
    app: str
    cursor: str
    document: bytes
    #: 0: opened by a release before, which had none.
    place: int
    #: What Redis keeps of it.
    state: str
    #: The group of channels that its task has, and that task; without a group the message has a lease of its own.
    group: str = ""
    turn: str = "0"
    #: The number of a second look, which `cursor` describes; '' for a message.
    look: str = ""

    @property
    def id(self) -> str:
        """What the journal calls it: a second look has an id of its own."""
        return _look_id(self.look, self.entry) if self.look else self.entry

    def step(self, following: str) -> Step:
        return Step(self.id, self.state, following, self.group, self.turn)


class Recorded(msgspec.Struct, frozen=True):
    """A message that intake has recorded, with its place."""

    entry: str
    app: str
    place: int
    #: Its messages are expanded in their order.
    channel: str = ""


class Push(NamedTuple):
    """A targeted push that intake has recorded. It begins at `cursor`, and not before `at` (UNIX seconds)."""

    entry: str
    app: str
    place: int
    cursor: str
    at: float


class QueuedBatch(NamedTuple):
    """A batch with its id, as it is written."""

    id: str
    batch: Batch
    #: Seconds until it may be taken; 0: at once.
    delay: float = 0.0
    #: The batch that it waits for, `delay` seconds at most.
    behind: str = ""
    #: Whether its jobs are put off, so that later ones of the same device and channel wait for them.
    put_off: bool = False
    #: Whether it has its devices as the batch had them that it was a part of: it was not sent yet.
    takes_over: bool = False


class QueuedLook(NamedTuple):
    """A second look at a message, as it is written. `number` is one that the message has for no other: `0.1`."""

    entry: str
    number: str
    app: str
    place: int
    #: Seconds until its time.
    delay: float
    look: SecondLook


class Banner(NamedTuple):
    """A notification that may be on a screen. `name` as of `shown.member`, `at`: ms since the epoch, of its message."""

    app: str
    name: str
    at: int


class Taken(NamedTuple):
    """A batch in this worker's hands: badges, and of an earlier try its outcomes and the jobs that were accepted."""

    id: str
    batch: Batch
    badges: list[int]
    outcomes: bytes
    accepted: Sequence[int]
    #: Its way, or its provider, does not flow.
    look: Look | None
    #: Devices that another batch has had in flight for long, or that are another's turn.
    blocked: Collection[int]
    #: Job -> until when (UNIX seconds) it waits for an earlier one of its device and channel, and the batch of that one.
    waits: dict[int, tuple[int, str]]
    #: Jobs that go before an earlier one, which has held them for long enough.
    overtaking: list[int]
    #: Whether any device of its way was in a cooldown, or was refused and accepted nothing since. For its own devices that
    #: stays so: only their answers change it.
    troubled: bool
    #: Whether its badge numbers were taken at the home of its app before, which is another partition.
    numbered: bool = False
    #: How many others of its lane could be taken as well; of many, at least 16.
    others: int = 0


class Proof(NamedTuple):
    """So many devices accepted what was sent with this credential (its name); the sending began so many seconds ago."""

    devices: int
    credential: str
    ago: float


class UnreadableError(WorkerError):
    """A batch was taken and is none that this release can read."""

    def __init__(self, id: str, document: bytes, fault: Exception) -> None:
        super().__init__(str(fault))
        self.id, self.document = id, document


class Journal:
    """Redis' side of the pipeline."""

    def __init__(self, partition: Partition, *, lease: float, gate: Gate | GateOfServer | None = None) -> None:
        """`gate`: what those go through who take work, and who ask for what is at the home of a spread app."""
        self._gate = contextlib.nullcontext() if gate is None else gate
        self._redis, self._keys, self._scripts = partition.redis, partition.keys, partition.scripts
        self._names, self.partition, self._of = partition.names, partition.index, partition
        #: Seconds of a lease.
        self.lease = lease
        #: Names each call that takes what it opens, so that a repeated one is known.
        self._caller, self._calls = secrets.token_hex(6), count()
        self._delivered = RecentAccounts(time.monotonic, seconds=_RECENTLY, octets=_REMEMBERED)
        self._tells_until = 0.0

    def open(self, messages: Sequence[Recorded], *, token: int) -> int:
        """Makes these ready to be expanded. A second time changes nothing. `token`: that of the leader's lease.

        Returns how many can be taken: those of a group of channels that a task has wait for it. Raises LeaseLost.
        """
        return int(self._open(token, messages)[0]) if messages else 0

    def open_and_take(
        self, messages: Sequence[Recorded], documents: Mapping[str, bytes], *, token: int
    ) -> tuple[int, Sequence[Opened]]:
        """As `open`, and takes those of them that `take_messages` would give. `documents` by entry.

        Returns how many others can be taken, and those that are leased to this worker.
        """
        turn = f"{self._caller}-{next(self._calls)}"
        ready, taken = self._open(token, messages, turn=turn, lease=self.lease)
        by_entry = {one.entry: one for one in messages}
        found = []
        for entry, group in taken:
            one = by_entry[entry.decode()]
            of_task = group.decode(), turn
            found.append(Opened(one.entry, one.app, "", documents[one.entry], one.place, _state(one), *of_task))
        return int(ready), found

    def _open(self, token: int, messages: Sequence[Recorded], *, turn: str = "", lease: float = 0.0) -> Any:
        of_groups: defaultdict[str, list[Recorded]] = defaultdict(list)
        for one in messages:
            of_groups[_group_of(one.app, one.channel)].append(one)
        in_order = list(chain.from_iterable(of_groups.values()))
        answer = self._scripts.open(
            token=token,
            groups=[(group, len(some)) for group, some in of_groups.items()],
            entries=[one.entry for one in in_order],
            states=[_state(one) for one in in_order],
            turn=turn,
            lease=lease,
        )
        if not answer:
            raise LeaseLost("a newer leader opens messages")
        return answer

    def open_targeted(self, pushes: Sequence[Push]) -> None:
        """Each waits for its time from now on, then for the bulk lane. A second time does nothing."""
        if pushes:
            self._scripts.open_targeted(pushes=pushes)

    def take_messages(self, lane: Lane, limit: int) -> list[Opened]:
        """Up to `limit` messages to expand, an equal share of each app that waits, leased to this worker.

        In the urgent lane second looks are among them. Fewer, but at least one, if their documents exceed `OCTETS`. Messages
        of a channel that another task expands are left out.
        """
        with self._gate:
            turn, taken = self._scripts.take_messages(
                lane=lane, limit=limit, lease=self.lease, octets=OCTETS, patience=OVERTAKE
            )
        found = list(_opened(taken, turn.decode()))
        for one in found:
            if not one.document:
                log.error(
                    "an open event's entry is gone, nobody can be pushed to: find the producer that trims its stream",
                    extra={"app": one.app, "entry": one.entry},
                )
        return found

    def wake(self) -> bool:
        """Whether a wake-up for urgent messages is needed: none is on its way.

        The answer holds for a second, or until a worker takes messages.
        """
        return bool(self._redis.set(self._keys.WOKEN(), 1, nx=True, px=1000))

    def give_back(self, lane: Lane, messages: Sequence[Opened]) -> None:
        """Messages that were taken and not expanded are the first of their lines again, in this order."""
        if messages:
            records = [(one.id, one.app, one.group, one.turn) for one in messages]
            self._scripts.give_back(lane=lane, messages=records)

    def renew_messages(self, messages: Sequence[Opened]) -> None:
        """Renews the leases of messages that are still being expanded."""
        if messages:
            records = [(one.id, one.state, one.group, one.turn) for one in messages]
            self._scripts.renew_messages(lease=self.lease, messages=records)

    def put_off(self, messages: Sequence[Opened], seconds: float) -> None:
        """Messages that were taken on the bulk lane and not expanded are ready again after so many seconds."""
        if messages:
            records = [(one.id, one.state, one.group, one.turn) for one in messages]
            self._scripts.renew_messages(lease=seconds, messages=records)

    def postpone(self, message: Opened) -> int:
        """A message that could not be expanded is tried again after a lease.

        Returns how many messages can be taken because no task has their group any more.
        """
        return int(
            self._scripts.postpone(entry=message.entry, group=message.group, turn=message.turn, delay=self.lease)
        )

    def expand(
        self,
        steps: Sequence[Step],
        queued: Sequence[QueuedBatch],
        counts: Counts,
        accounts: Sequence[bytes],
        looks: Sequence[QueuedLook] = (),
        missed: Sequence[Missed] = (),
        answered: Collection[str] = (),
    ) -> tuple[set[str], int]:
        """Takes all steps with what they made, or none: then there are ids that another worker was first with.

        `answered`: names of reminders that end. Returns these ids, and how many messages can be taken because no task has their
        channels any more.
        """
        return self.expand_and_take(steps, queued, counts, accounts, looks, missed, answered)[:2]

    def expand_and_take(
        self,
        steps: Sequence[Step],
        queued: Sequence[QueuedBatch],
        counts: Counts,
        accounts: Sequence[bytes],
        looks: Sequence[QueuedLook] = (),
        missed: Sequence[Missed] = (),
        answered: Collection[str] = (),
        full: Collection[Way] | None = None,
    ) -> tuple[set[str], int, Taken | None]:
        """As `expand`, and takes the first of the urgent batches, where `take_batch` would give just that one.

        It is of no way in `full`; None: none is taken.
        """
        first = next((one for one in queued if self._is_at_once(one, full)), None) if full is not None else None
        here = [one for one in missed if self._of.is_home(one.app)]
        left, as_taken = _left_for_users(here), _steps(steps)
        stale, freed, *taken = self._scripts.expand(
            tasks=as_taken.tasks,
            steps=as_taken.steps,
            single=as_taken.single,
            pages=as_taken.pages,
            patience=OVERTAKE,
            batches=self._queued(queued),
            looks=[_queued_look(one) for one in looks],
            missed=left.missed,
            badges=left.badges,
            silent=left.silent,
            answered=list(answered),
            homeward=[] if len(here) == len(missed) else list(self._notes(missed)),
            counts=_counts(counts),
            accounts=accounts,
            at_once="" if first is None else first.id,
            lease=self.lease,
        )
        of_first = None
        if first is not None and taken:
            badges, waits, overtaking, troubled = taken[0]
            how = _waits(waits), list(overtaking), bool(troubled)
            of_first = Taken(first.id, first.batch, _numbers(badges), b"", (), None, frozenset(), *how)
        return {entry.decode() for entry in stale}, int(freed), of_first

    def _is_at_once(self, queued: QueuedBatch, full: Collection[Way]) -> bool:
        # Badge numbers are those of the app's home.
        batch = queued.batch
        waits = queued.delay or queued.behind or queued.put_off
        return batch.lane == "urgent" and not waits and batch.way not in full and self._of.is_home(batch.app)

    def tell_missed(
        self,
        digests: Sequence[Sequence[Any]],
        badges: Sequence[Sequence[Any]],
        queued: Sequence[QueuedBatch],
        counts: Counts,
        accounts: Sequence[bytes],
    ) -> set[str]:
        """Takes all digests and badges, as tell_missed.lua has them, with what they made, or none.

        Returns the names of those with which another worker was first.
        """
        stale = self._scripts.tell_missed(
            digests=digests, badges=badges, batches=self._queued(queued), counts=_counts(counts), accounts=accounts
        )
        return {name.decode() for name in stale}

    def remind(
        self,
        reminders: Sequence[tuple[Reminder, Next, int]],
        queued: Sequence[QueuedBatch],
        counts: Counts,
        accounts: Sequence[bytes],
    ) -> set[str]:
        """Takes what becomes of all reminders, with what they made, or nothing. With each, up to when (ms) the user has read.

        Returns the names of those with which another worker was first.
        """
        records = [
            (one.name, repr(one.due), "" if following.due is None else repr(following.due), following.times, read)
            for one, following, read in reminders
        ]
        stale = self._scripts.remind(
            reminders=records, batches=self._queued(queued), counts=_counts(counts), accounts=accounts
        )
        return {name.decode() for name in stale}

    def take_batch(self, lane: Lane, *, full: Collection[Way] = ()) -> Taken | None:
        """The next batch of the lane, leased to this worker, of no way in `full`; None when none waits.

        A batch waits for those that have any of its devices, as a whole for `SOON` or `PATIENCE` seconds.
        Raises `UnreadableError`.
        """
        with self._gate:
            taken = self._scripts.take_batch(
                lane=lane, lease=self.lease, patience=PATIENCE, soon=SOON, full=",".join(map(str, full))
            )
        if not taken:
            return None
        id, document, badges, outcomes, accepted, stop, blocked, waits, overtaking, troubled, numbered, others = taken
        try:
            batch = batches.decode(document)
        except ValueError as fault:
            raise UnreadableError(id.decode(), document, fault) from None
        return Taken(
            id.decode(),
            batch,
            _numbers(badges),
            outcomes,
            _numbers(accepted),
            _look(*stop) if stop else None,
            frozenset(map(int, blocked)),
            _waits(waits),
            list(overtaking),
            bool(troubled),
            bool(numbered),
            int(others),
        )

    def uncount(self, batch: str, dropped: Sequence[int]) -> list[int]:
        """These jobs of the batch are not sent, and count in no badge. Returns the batch's badge numbers by now.

        A second time does nothing.
        """
        return _numbers(self._scripts.uncount(batch=self._keys.BATCH(batch), dropped=list(dropped)))

    def note_numbered(self, batch: str) -> None:
        """The batch has its badge numbers of the home of its app: they are not counted again."""
        self._scripts.note_numbered(id=batch)

    def await_home(self, batch: str, delay: float) -> None:
        """The batch is taken again after `delay` seconds. It keeps its devices: what came after it waits as well."""
        self._scripts.await_home(id=batch, delay=delay)

    def return_batch(self, batch: str, delay: float = 0.0) -> Freed:
        """Hands the batch back, to be taken again at once or after `delay` seconds.

        Returns how many batches are ready that waited for it.
        """
        return Freed(*self._scripts.return_batch(id=batch, delay=delay))

    def mark(self, batch: str, outcomes: bytes) -> None:
        """Records outcomes, so that a resumed batch sends nothing twice; renews the lease."""
        self._scripts.mark(id=batch, outcomes=outcomes, lease=self.lease)

    def record(self, accepted: Sequence[tuple[str, Sequence[int]]]) -> Freed:
        """Records which jobs of each batch were accepted, also of finished batches; renews the leases.

        Returns how many batches can be taken that waited for these: by now they may be sent to other devices.
        """
        records = [(batch, ",".join(map(str, jobs))) for batch, jobs in accepted]
        return Freed(*self._scripts.record(lease=self.lease, soon=SOON, batches=records))

    def ready_batches(self, batches: Sequence[str]) -> Freed:
        """Makes ready those of these whose time has come. Returns how many can be taken by now."""
        return Freed(*self._scripts.ready_batches(batches=list(batches)))

    def finish(
        self,
        batch: str,
        later: Sequence[QueuedBatch],
        counts: Counts,
        accounts: Sequence[bytes],
        looks: Sequence[QueuedLook] = (),
        shown: Sequence[Banner] = (),
        pushed: Sequence[Pushed] = (),
        well: Proof | None = None,
    ) -> Freed:
        """Finishes the batch, except for jobs that are tried later, and for users who are decided again. Notes its banners.

        `pushed`: of what users are reminded. `well`: what was accepted, where all jobs were: the breaker counts other answers by
        itself. Returns how many batches are ready that waited for it.
        """
        delivered = [document for document in accounts if _ACCEPTED in document]
        self._delivered.add(delivered)
        freed = Freed(
            *self._scripts.finish(
                id=batch,
                recent=RECENT,
                well=0 if well is None else well.devices,
                credential="" if well is None else well.credential,
                ago=0.0 if well is None else well.ago,
                later=self._queued(later),
                looks=[_queued_look(one) for one in looks],
                shown=shown,
                pushed=[
                    (one.name, one.delay, one.at, f"{one.message}\n{one.collapse_id}\n{one.sender}") for one in pushed
                ],
                counts=_counts(counts),
                accounts=accounts,
            )
        )
        if time.monotonic() < self._tells_until:  # what it had taken on the server before is not known here
            self._tell(delivered)
        return freed

    def tell_again(self) -> int:
        """Writes the accounts of what this process has delivered recently again: another server's data may lack them.

        So are, for a while, those of what is delivered from now on: it may have been taken on the server before. The ledger
        keeps one of each. Returns how many they were.
        """
        self._tells_until = time.monotonic() + _RECENTLY
        return self._tell(self._delivered.all())

    def _tell(self, documents: Sequence[bytes]) -> int:
        accounts = [document for document in documents if not is_tally(_decode_account(document))]
        for at in range(0, len(accounts), 500):
            self._redis.rpush(self._keys.ACCOUNTS(), *accounts[at : at + 500])
        return len(accounts)

    def failed(self, batch: str) -> int:
        """Counts a failed try of a batch; returns how many there were."""
        return int(self._scripts.fail(batch=self._keys.BATCH(batch)))

    def document(self, entry: str) -> bytes:
        """The document of this entry; empty if it has left the stream."""
        found: Any = self._scripts.document(entry=entry)
        return bytes(found or b"")

    def last_try(self, entry: str, *, tries: int) -> bool:
        """Counts a failed expansion; True when it was the last one of those allowed."""
        return int(self._redis.hincrby(self._keys.TRIES(), entry, 1)) >= tries

    def abandon(self, id: str) -> int:
        """Gives up expanding a dead-lettered message, or its second look; its batches so far are still delivered.

        Returns how many messages that waited for it can be taken now.
        """
        return int(self._scripts.abandon(entry=id))

    def accounts(self, limit: int) -> list[bytes]:
        """The oldest accounts that the ledger has not taken down yet; `forget_accounts` them once it has."""
        found: Any = self._redis.lrange(self._keys.ACCOUNTS(), 0, limit - 1)
        return list(found)

    def forget_accounts(self, documents: Sequence[bytes]) -> None:
        """Forgets these, the oldest; a second time, as by a client that had no answer, does nothing."""
        if documents:
            self._scripts.forget_accounts(
                accounts=self._keys.ACCOUNTS(), n=len(documents), first=documents[0], last=documents[-1]
            )

    def make_due_ready(self, limit: int = 1000, *, rounds: int = 10) -> int:
        """Makes ready what is due: retries whose time has come, and what a dead worker had taken. Returns how many.

        In steps of `limit`, so that Redis is never busy for long, and at most so many steps.
        """
        ready, gap = 0, b""
        for _ in range(rounds):
            made, due, gap = self._scripts.due(limit=limit, patience=self.lease, gap=gap)
            ready += int(made)
            if due < limit:
                break
        return ready

    def unwatched(self) -> bool:
        """Whether due work was not made ready for three seconds. One caller gets True and does it; others get False."""
        return bool(self._scripts.watch(watched=self._keys.WATCHED()))

    def ready(self, kind: Literal["e", "b"], lane: Lane) -> int:
        """Messages or batches that wait to be taken."""
        messages, batches = self.ready_by_lane()[lane]
        return messages if kind == "e" else batches

    def ready_by_lane(self) -> Mapping[Lane, tuple[int, int]]:
        """Messages, and batches, that wait to be taken."""
        urgent_messages, urgent_batches, *of_bulk = map(int, self._scripts.ready())
        return {"urgent": (urgent_messages, urgent_batches), "bulk": (of_bulk[0], of_bulk[1])}

    def load(self) -> dict[str, tuple[int, int]]:
        """Messages, and batches, that wait to be taken, of both lanes, for each app that has any."""
        return loaded(self._scripts.load())

    def drop(self, entries: Sequence[str]) -> None:
        """Deletes entries from their streams, except open ones."""
        if entries:
            self._scripts.drop(entries=entries)

    def unknown(self, entries: Mapping[str, bytes]) -> set[str]:
        """Those of these entries that are neither on their stream nor open, and of whose events no account waits.

        With each, how an account of its event begins. What is open and ends meanwhile has an account before it is open no more.
        """
        return {entry.decode() for entry in self._scripts.unknown(events=list(entries.items()))} if entries else set()

    def backlog(self) -> tuple[int, int]:
        """Entries on the streams, and how many of them are open and not scheduled for later."""
        apps: Any = self._redis.smembers(self._keys.APPS())
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.hlen(self._keys.OPEN())
            pipe.scard(self._keys.SCHEDULED())
            for stream in self._names.streams(app.decode() for app in apps):
                pipe.xlen(stream)
            opened, scheduled, *lengths = pipe.execute()
        return sum(map(int, lengths)), int(opened) - int(scheduled)

    def counts(self, app: str) -> dict[str, int]:
        """Totals of an app since its beginning, by counter."""
        found: Any = self._redis.hgetall(self._keys.COUNTS(app))
        return {name.decode(): int(total) for name, total in found.items()}

    def clear_badges(self, cleared: Sequence[Cleared]) -> set[str]:
        """Badge numbers start again at 0. Returns the entries whose devices get an update; these are open now.

        A number counts the messages at later places, whenever they are delivered. A second time does nothing. The other
        entries leave their stream.
        """
        if not cleared:
            return set()
        records = [(one.entry, one.app, one.place or one.entry, _cleared_devices(one)) for one in cleared]
        return {entry.decode() for entry in self._scripts.clear(clearings=records)}

    def _notes(self, missed: Sequence[Missed]) -> Iterator[tuple[int, bytes]]:
        """What is for users whose home is elsewhere, by home."""
        of_homes: dict[int, list[Missed]] = {}
        for one in missed:
            if not self._of.is_home(one.app):
                of_homes.setdefault(self._of.home_of(one.app), []).append(one)
        for home, some in of_homes.items():
            yield home, msgspec.json.encode(_left_for_users(some))

    def _queued(self, queued: Sequence[QueuedBatch]) -> list[Sequence[Any]]:
        """As `batches` of expand.lua, and `later` of finish.lua."""
        records: list[Sequence[Any]] = []
        for id, batch, delay, behind, put_off, takes_over in queued:
            entries = joined(sending.entry for sending in batch.sendings if sending.entry)
            lines = batches.waiting_lines(batch, id) if put_off else ""
            orders = batches.device_orders(batch, badges=self._of.is_home(batch.app))
            part = (id, batches.encode(batch), batch.app, batch.lane, orders, entries)
            ahead = is_live(batch.sendings[0])
            records.append((*part, delay, batch.way, lines, behind, int(takes_over), int(ahead)))
        return records


def _state(one: Recorded) -> str:
    """What EXPANDING keeps of a message at its beginning."""
    return f"{one.app}\n\n{one.place}\n{batches.channel_key(one.channel)}"


@lru_cache(maxsize=8192)
def _group_of(app: str, channel: str) -> str:
    """The group of the channel, as of parts/messages.lua; `@<app>` for none."""
    return f"{int(batches.channel_key(channel)[:2], 16) % _GROUPS}@{app}" if channel else f"@{app}"


def _opened(taken: Sequence[bytes], turn: str) -> Iterator[Opened]:
    """What take_messages.lua gave: messages of one group stand in a row."""
    parts = iter(taken)
    before, group = b"", ""
    for name, state, document, of in zip(parts, parts, parts, parts, strict=True):
        if of != before:
            before, group = of, of.decode()
        id, kept = name.decode(), state.decode()
        fields = kept.split("\n", 3)
        place = int(fields[2] or 0) if len(fields) > 2 else 0
        # What is in a group is no second look.
        entry = id if group else entry_of(id)
        look = "" if entry == id else id.partition("/")[0]
        yield Opened(entry, fields[0], fields[1], document, place, kept, group, turn, look)


class _Steps(NamedTuple):
    """Steps as expand.lua has them."""

    tasks: list[tuple[str, str, int]]
    steps: list[str]
    single: list[tuple[str, str]]
    pages: list[tuple[str, str]]


def _steps(steps: Sequence[Step]) -> _Steps:
    of_tasks: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    single: list[tuple[str, str]] = []
    pages: list[tuple[str, str]] = []
    for one in steps:
        if one.group:
            of_tasks[one.group, one.turn].append(one.entry)
        else:
            single.append((one.entry, one.state))
        if one.following != DONE:
            pages.append((one.entry, one.following))
    tasks = [(group, turn, len(entries)) for (group, turn), entries in of_tasks.items()]
    return _Steps(tasks, list(chain.from_iterable(of_tasks.values())), single, pages)


def _look_id(number: str, entry: str) -> str:
    return f"{number}/{entry}"


def _queued_look(one: QueuedLook) -> tuple[str, float, str]:
    state = f"{one.app}\n{second_look.encode(one.look).decode()}\n{one.place}\n"
    return _look_id(one.number, one.entry), one.delay, state


class _Left(NamedTuple):
    """What messages leave for users of whom nothing is pushed, as expand.lua and carry_home.lua have it."""

    missed: list[Sequence[Any]]
    badges: list[Sequence[Any]]
    silent: list[Sequence[Any]]


def _left_for_users(missed: Sequence[Missed]) -> _Left:
    return _Left(
        [_counted(one, one.counted) for one in missed if one.counted is not None],
        [
            (one.app, device, one.place, "" if number == COUNT else number)
            for one in missed
            for device, number in one.badges.items()
        ],
        [(one.app, one.user, one.shown) for one in missed if one.shown and one.badges],
    )


def _counted(one: Missed, what: Counted) -> Sequence[Any]:
    return one.app, one.user, what.conversation, line_of(what.kept), int(what.kept.called), what.end, what.due


def _numbers(listed: bytes) -> list[int]:
    """Numbers that are separated by commas; there may be one behind the last, too."""
    return _decode_numbers(b"[%b]" % listed.rstrip(b","))


def _waits(listed: Sequence[Any]) -> dict[int, tuple[int, str]]:
    return {job: (until, holder.decode()) for job, until, holder in listed}


def _look(reason: bytes, since: bytes, manual: bytes, how: bytes, alone: bytes, whose: bytes) -> Look:
    stopped = Stopped(reason.decode(), float(since), manual == b"1")
    return Look(stopped, how == b"probe", way_in(whose), alone == b"alone")


def _cleared_devices(one: Cleared) -> str:
    return ",".join(f"{id}!" if id in one.quiet else str(id) for id in one.devices)


def _counts(counts: Counts) -> list[tuple[str, str, int]]:
    return [(app, name, n) for app, of_app in counts.items() for name, n in of_app.items() if n]
