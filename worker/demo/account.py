"""Draws up the account: what was expected against what the simulators took, what the journal counted, what Postgres holds.

For every pair of message and device that must get it:

    lost         the device works, and the message did not arrive
    duplicate    it arrived again
    unexpected   it arrived where nothing should have

A device that is gone may be tried once by each message, must be retired once it was tried, and gets nothing from then on. Whether
a later message still tried it is read from the simulators' records, and everything else follows from that.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, NamedTuple

from worker.demo.expectation import EditReading, Reading, SilentReading
from worker.demo.services.base import Content, joined
from worker.demo.watch import Request
from worker.demo.world import DEAF, Device, KindName, World

#: Answers after which the same push is sent again.
TRIED_AGAIN: Final = frozenset(
    (
        *("TooManyRequests", "InternalServerError", "ServiceUnavailable", "Shutdown"),
        *("UNAVAILABLE", "INTERNAL", "InternalFault"),
    )
)
#: Refusals that a wrong key, topic or project explains as well: the push is sent once more before its device is retired.
CONFIRMED: Final = frozenset(("BadDeviceToken", "SENDER_ID_MISMATCH"))
KINDS: Final[tuple[KindName, ...]] = ("apns", "fcm", "web")
NO_SILENT_PUSH: Final = "no_silent_push"
Pair = tuple[str, str]


class DeviceState(NamedTuple):
    """A device as Postgres holds it in the end."""

    active: bool
    retired_reason: str | None


@dataclass(frozen=True)
class Found:
    """Everything that was seen from outside."""

    requests: Sequence[Request]
    #: The journal's totals for the app.
    counts: Mapping[str, int]
    devices: Mapping[str, DeviceState]
    #: Documents in the dead letters.
    dead_letters: int


class Check(NamedTuple):
    """One line of the account that must come out even."""

    name: str
    expected: int
    found: int

    @property
    def even(self) -> bool:
        return self.expected == self.found


@dataclass
class KindAccount:
    """What is of one kind of device."""

    devices: int
    #: Pushes that had to arrive, and that did.
    expected: int
    accepted: int
    tried_again: dict[str, int]
    #: Refusals that were sent once more to be sure.
    confirmed: int
    #: Pushes that devices of the kind cannot have, by reason.
    skipped: dict[str, int]
    retired: dict[str, int]
    kept: int
    lost: int
    duplicates: int
    unexpected: int
    wrong_content: int


@dataclass
class Account:
    messages: int
    #: Messages that named somebody more when they had gone out.
    edits: int
    considered: int
    skipped: dict[str, int]
    skipped_messages: dict[str, int]
    #: Members who got a push, for all messages together.
    notified: int
    #: How often a member was decided again, half a minute later.
    delayed: int
    dead_letters: int
    kinds: dict[KindName, KindAccount]
    checks: list[Check] = field(default_factory=list)

    @property
    def total(self) -> KindAccount:
        """All kinds together."""
        return KindAccount(**{one.name: _sum(self.kinds.values(), one.name) for one in fields(KindAccount)})

    @property
    def uneven(self) -> list[Check]:
        return [check for check in self.checks if not check.even]

    @property
    def balances(self) -> bool:
        total = self.total
        return not (total.lost or total.duplicates or total.unexpected or total.wrong_content or self.uneven)

    def as_json(self) -> dict[str, Any]:
        shown = asdict(self.total) | asdict(self)
        shown |= {"uneven": [check._asdict() for check in self.uneven], "balances": self.balances}
        shown["skipped_pushes"] = self.total.skipped
        del shown["checks"]
        return shown


def _sum(kinds: Iterable[KindAccount], name: str) -> Any:
    values = [getattr(kind, name) for kind in kinds]
    if isinstance(values[0], int):
        return sum(values)
    return dict(sum(map(Counter, values), Counter[str]()))


def draw_up(
    world: World,
    readings: Sequence[Reading],
    edits: Sequence[EditReading],
    silent: Sequence[SilentReading],
    found: Found,
    mistakes: int,
) -> Account:
    """The account of a whole demo; `mistakes` documents should have been dead-lettered."""
    must = {
        (reading.line.id, device.token): device
        for reading in readings
        for devices in reading.notified.values()
        for device in devices
    }
    must |= {(reading.edit.line.id, device.token): device for reading in edits for device in reading.devices}
    must |= {(reading.sync.id, device.token): device for reading in silent for device in reading.devices}
    withheld = [device for reading in silent for device in reading.withheld]
    final = _refused_for_good(found.requests)
    tried = {pair for pair, device in must.items() if device.nature in DEAF and pair in final}
    working = sum(device.nature not in DEAF for device in must.values())
    skipped, pushed = _outcomes(readings, edits, tried)
    account = Account(
        messages=len(readings),
        edits=len(edits),
        considered=sum(reading.considered for reading in readings) + len(edits),
        skipped=dict(skipped),
        skipped_messages=dict(Counter(reading.whole for reading in readings if reading.whole)),
        notified=pushed,
        delayed=found.counts.get("delayed", 0),
        dead_letters=found.dead_letters,
        kinds={kind: _of_kind(kind, world, must, withheld, found) for kind in KINDS},
    )
    touched = {token for _, token in final}
    account.checks = [
        # What still waited when its message was edited was queued anew.
        *_counted(
            account,
            found,
            pushed,
            jobs=working + len(tried) + len(withheld) + found.counts.get("dropped.edited", 0),
        ),
        *_devices(world, touched, found),
        Check("dead-lettered documents", mistakes, found.dead_letters),
    ]
    return account


def _of_kind(
    kind: KindName, world: World, must_all: Mapping[Pair, Device], withheld: Sequence[Device], found: Found
) -> KindAccount:
    requests = [one for one in found.requests if one.kind == kind]
    devices = {device.token: device for device in world.devices if device.kind == kind}
    must = {pair: device.nature for pair, device in must_all.items() if device.kind == kind}
    arrived = Counter((one.message, one.token) for one in requests if one.accepted)
    final = _refused_for_good(requests)
    # A third time would be a duplicate again.
    confirmed = Counter({pair: 1 for pair, n in _refused_for_good(requests, CONFIRMED).items() if n > 1})
    touched = {token for _, token in final}
    returned = {token for token, device in devices.items() if device.nature == "returned"}
    expected = [
        pair for pair, nature in must.items() if nature not in DEAF and not (pair in final and pair[1] in returned)
    ]
    never_tried = {token for (_, token), nature in must.items() if nature in DEAF} - touched
    skipped = sum(device.kind == kind for device in withheld)
    retired = Counter(
        state.retired_reason or "" for token, state in found.devices.items() if token in devices and not state.active
    )
    return KindAccount(
        devices=len(devices),
        expected=len(expected),
        accepted=sum(arrived.values()),
        tried_again=dict(Counter(one.reason for one in requests if one.reason in TRIED_AGAIN)),
        skipped={NO_SILENT_PUSH: skipped} if skipped else {},
        retired=dict(retired),
        kept=sum(found.devices[token].active for token in touched & returned),
        lost=sum(pair not in arrived for pair in expected) + len(never_tried),
        confirmed=sum(confirmed.values()),
        duplicates=sum(n - 1 for n in arrived.values()) + sum(n - 1 for n in (final - confirmed).values()),
        unexpected=len((arrived.keys() | final.keys()) - must.keys()) + sum(must.get(p) in DEAF for p in arrived),
        wrong_content=_wrong_content(world, requests),
    )


def _refused_for_good(requests: Sequence[Request], reasons: Collection[str] = ()) -> Counter[Pair]:
    """How often each push was refused for good; with `reasons` for one of these."""
    refused = (one for one in requests if not one.accepted and one.reason not in TRIED_AGAIN)
    return Counter((one.message, one.token) for one in refused if not reasons or one.reason in reasons)


def _outcomes(readings: Sequence[Reading], edits: Sequence[EditReading], tried: set[Pair]) -> tuple[Counter[str], int]:
    """Skips by reason and the number of members who get a push, given which dead devices were still tried.

    A member whose devices are all known to be dead counts as without a device.
    """
    skipped: Counter[str] = Counter()
    pushed = 0
    notified = [(reading.line.id, devices) for reading in readings for devices in reading.notified.values()]
    notified += [(reading.edit.line.id, reading.devices) for reading in edits if reading.skipped is None]
    for reading in readings:
        skipped += reading.skipped
    skipped += Counter(reading.skipped for reading in edits if reading.skipped is not None)
    for line, devices in notified:
        known = [p for p in devices if p.nature not in DEAF or (line, p.token) in tried]
        pushed += bool(known)
        skipped["no_device"] += not known
    return +skipped, pushed


def _counted(account: Account, found: Found, pushed: int, *, jobs: int) -> list[Check]:
    """The journal's counts, which the workers made."""
    total, counts = account.total, found.counts
    unsure = sum(one.reason in CONFIRMED for one in found.requests if not one.accepted)
    sure = sum(counts.get(f"{label}.{reason}", 0) for label in ("retired", "dropped") for reason in CONFIRMED)
    expected: dict[str, int] = {
        "messages": account.messages,
        "considered": account.considered,
        "pushed": pushed,
        "jobs": jobs,
        "accepted": total.accepted,
        "retry": sum(total.tried_again.values()) + unsure - sure,
        f"dropped.{NO_SILENT_PUSH}": total.skipped.get(NO_SILENT_PUSH, 0),
    }
    expected |= {f"skipped.{reason}": n for reason, n in account.skipped.items()}
    expected |= {f"skipped_message.{reason}": n for reason, n in account.skipped_messages.items()}
    # What is deleted was not expanded yet, so its deletion finds nothing to take back.
    expected["skipped_message.nothing_shown"] = account.skipped_messages.get("deleted", 0)
    expected |= {name: 0 for name in counts if name.startswith("skipped") and name not in expected}
    return [Check(name, n, counts.get(name, 0)) for name, n in expected.items()]


def _devices(world: World, touched: set[str], found: Found) -> list[Check]:
    """Who was refused for good is retired, and nobody else is."""
    deaf = {device.token for device in world.devices if device.token in touched and device.nature in DEAF}
    kept_anyway = sum(found.devices[token].active for token in deaf if token in found.devices)
    retired = {token for token, state in found.devices.items() if not state.active}
    return [
        Check("devices known", len(world.devices), len(found.devices)),
        # Before a provider has proved itself, a guarded refusal retires nothing: the next message asks again.
        Check("dead devices kept", min(kept_anyway, found.counts.get("dropped.refused_unproven", 0)), kept_anyway),
        Check("devices retired that work", 0, len(retired - deaf)),
    ]


def _wrong_content(world: World, requests: Sequence[Request]) -> int:
    right = {sync.id: Content(sync.id) for sync in world.syncs}
    for line in world.lines:
        room = world.rooms.get(line.room)
        title = joined(world.people[line.sender], room.name if room else None)
        right[line.id] = Content(line.id, title, line.text, line.room)
    return sum(one.content != right.get(one.message) for one in requests)
