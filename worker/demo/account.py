"""Draws up the account: what was expected against what the simulator took, what the journal counted, what Postgres holds.

For every pair of message and phone that must get it:

    lost         the phone works, and the message did not arrive
    duplicate    it arrived again
    unexpected   it arrived where nothing should have

A phone that is gone may be tried once by each message, must be retired once it was tried, and gets nothing from then on. Whether
a later message still tried it is read from the simulator's record, and everything else follows from that.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, NamedTuple

from worker.demo.expectation import Reading
from worker.demo.watch import Request
from worker.demo.world import DEAF, Nature, World

#: Answers after which the same push is sent again.
TRIED_AGAIN: Final = frozenset(("TooManyRequests", "InternalServerError", "ServiceUnavailable", "Shutdown"))
Pair = tuple[str, str]


class PhoneState(NamedTuple):
    """A phone as Postgres holds it in the end."""

    active: bool
    retired_reason: str | None


@dataclass(frozen=True)
class Found:
    """Everything that was seen from outside."""

    requests: Sequence[Request]
    #: The journal's totals for the app.
    counts: Mapping[str, int]
    phones: Mapping[str, PhoneState]
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
class Account:
    messages: int
    considered: int
    skipped: dict[str, int]
    skipped_messages: dict[str, int]
    #: Members who got a push, for all messages together.
    notified: int
    accepted: int
    tried_again: dict[str, int]
    retired: dict[str, int]
    kept: int
    dead_letters: int
    lost: int
    duplicates: int
    unexpected: int
    wrong_content: int
    checks: list[Check] = field(default_factory=list)

    @property
    def uneven(self) -> list[Check]:
        return [check for check in self.checks if not check.even]

    @property
    def balances(self) -> bool:
        return not (self.lost or self.duplicates or self.unexpected or self.wrong_content or self.uneven)

    def as_json(self) -> dict[str, Any]:
        shown = asdict(self) | {"uneven": [check._asdict() for check in self.uneven], "balances": self.balances}
        del shown["checks"]
        return shown


def draw_up(world: World, readings: Sequence[Reading], found: Found, mistakes: int) -> Account:
    """The account of a whole demo; `mistakes` documents should have been dead-lettered."""
    natures: dict[str, Nature] = {phone.token: phone.nature for phone in world.phones}
    arrived = Counter((one.message, one.token) for one in found.requests if one.accepted)
    final = _refused_for_good(found.requests)
    must = {
        (reading.line.id, phone.token): phone.nature
        for reading in readings
        for phones in reading.notified.values()
        for phone in phones
    }
    working = [pair for pair, nature in must.items() if nature not in DEAF]
    tried = {pair for pair, nature in must.items() if nature in DEAF and pair in final}
    touched = {token for _, token in final}
    never_tried = {token for (_, token), nature in must.items() if nature in DEAF} - touched
    excused = {pair for pair in final if natures.get(pair[1]) == "returned"}
    skipped, pushed = _outcomes(readings, tried)
    account = Account(
        messages=len(readings),
        considered=sum(reading.considered for reading in readings),
        skipped=dict(skipped),
        skipped_messages=dict(Counter(reading.whole for reading in readings if reading.whole)),
        notified=pushed,
        accepted=sum(arrived.values()),
        tried_again=dict(Counter(one.reason for one in found.requests if one.reason in TRIED_AGAIN)),
        retired=_retired(found),
        kept=sum(found.phones[token].active for token in touched if natures.get(token) == "returned"),
        dead_letters=found.dead_letters,
        lost=sum(pair not in arrived and pair not in excused for pair in working) + len(never_tried),
        duplicates=sum(n - 1 for n in arrived.values()) + sum(n - 1 for n in final.values()),
        unexpected=len((arrived.keys() | final.keys()) - must.keys()) + sum(must.get(p) in DEAF for p in arrived),
        wrong_content=_wrong_content(world, found.requests),
    )
    account.checks = [
        *_counted(account, found.counts, pushed, jobs=len(working) + len(tried)),
        *_phones(natures, touched, found),
        Check("dead-lettered documents", mistakes, found.dead_letters),
    ]
    return account


def _refused_for_good(requests: Sequence[Request]) -> Counter[Pair]:
    return Counter((one.message, one.token) for one in requests if not one.accepted and one.reason not in TRIED_AGAIN)


def _outcomes(readings: Sequence[Reading], tried: set[Pair]) -> tuple[Counter[str], int]:
    """Skips by reason and the number of members who get a push, given which dead phones were still tried.

    A member whose phones are all known to be dead counts as without a device.
    """
    skipped: Counter[str] = Counter()
    pushed = 0
    for reading in readings:
        skipped += reading.skipped
        for phones in reading.notified.values():
            known = [p for p in phones if p.nature not in DEAF or (reading.line.id, p.token) in tried]
            pushed += bool(known)
            skipped["no_device"] += not known
    return +skipped, pushed


def _retired(found: Found) -> dict[str, int]:
    return dict(Counter(state.retired_reason or "" for state in found.phones.values() if not state.active))


def _counted(account: Account, counts: Mapping[str, int], pushed: int, *, jobs: int) -> list[Check]:
    """The journal's counts, which the workers made."""
    expected: dict[str, int] = {
        "messages": account.messages,
        "considered": account.considered,
        "pushed": pushed,
        "jobs": jobs,
        "accepted": account.accepted,
        "retry": sum(account.tried_again.values()),
    }
    expected |= {f"skipped.{reason}": n for reason, n in account.skipped.items()}
    expected |= {f"skipped_message.{reason}": n for reason, n in account.skipped_messages.items()}
    expected |= {name: 0 for name in counts if name.startswith("skipped") and name not in expected}
    return [Check(name, n, counts.get(name, 0)) for name, n in expected.items()]


def _phones(natures: Mapping[str, Nature], touched: set[str], found: Found) -> list[Check]:
    """Who was refused for good is retired, and nobody else is."""
    deaf = {token for token in touched if natures.get(token) in DEAF}
    kept_anyway = sum(found.phones[token].active for token in deaf if token in found.phones)
    retired = {token for token, state in found.phones.items() if not state.active}
    return [
        Check("phones known", len(natures), len(found.phones)),
        # Before a provider has proved itself, a guarded refusal retires nothing: the next message asks again.
        Check("dead phones kept", min(kept_anyway, found.counts.get("dropped.refused_unproven", 0)), kept_anyway),
        Check("phones retired that work", 0, len(retired - deaf)),
    ]


def _wrong_content(world: World, requests: Sequence[Request]) -> int:
    lines = {line.id: line for line in world.lines}
    wrong = 0
    for one in requests:
        line = lines.get(one.message)
        right = line is not None and (one.title, one.body, one.thread) == (
            world.people[line.sender],
            line.text,
            line.room,
        )
        wrong += not right
    return wrong
