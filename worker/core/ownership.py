"""Who owns a device: the fold of its writes by their own times, whatever the order in which they arrive. M1-M5, A3.

Times are microseconds since the epoch. Of two writes with the same time the one that arrived first came first: a chat server
publishes in order, and many stamp only whole seconds. A repeat of such a write counts as its first arrival.

The owner is kept with what a late write must still see: unregistrations and refusals that are newer than the registration
in force. Both are bounded.

The answer to a write says whether what it asked for is true now. `unmet_registration` and
`unmet_unregistration` say what decided otherwise, so a write that is repeated, or answered late, gets the answer of that moment.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Final, NamedTuple

from worker.core.purposes import ALERT

#: Tombstone key of an unregistration without a user: it ends a registration of any user.
ANYONE: Final = ""
#: How many users' unregistrations are kept one by one.
MAX_TOMBSTONES: Final = 16
#: Writes with the same time whose repeats are recognised.
MAX_SEEN: Final = 8

Times = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Details:
    """What a registration says of its device. Nothing in it decides whose the device is."""

    locale: str | None = None
    app_version: str | None = None
    #: None where there are none.
    attributes: Mapping[str, object] | None = None
    platform: str = ""
    #: Sealed; the same secret is sealed to the same text.
    secret: str = field(default="", repr=False)
    #: As of `model.traits_of`.
    traits: Mapping[str, object] | None = None
    #: Sealed.
    keys: str = field(default="", repr=False)
    purpose: str = ALERT
    installation: str = ""
    activity: str = ""


NO_DETAILS: Final = Details()


@dataclass(frozen=True, slots=True)
class Registration:
    """The state of one device token of an app; `None` in its place: unknown."""

    user: str | None
    provider_id: int | None
    registered_at: int
    active: bool
    details: Details = NO_DETAILS
    #: Unregistrations that a registration still to come may be older than: user or ANYONE -> time.
    tombstones: Times | None = None
    #: Refusals likewise: provider id as text -> the time up to which the provider has no use for the token.
    refusals: Times | None = None
    #: `mark`s of the last writes, as far back as the last registration that was newer than all before it.
    seen: tuple[int, ...] = ()


UNKNOWN: Final = Registration(None, None, -1, active=False)


class Superseded(NamedTuple):
    """What a write asked for is not true, because a newer write decided. `error` begins with the field."""

    #: The time of what decided; None where it has none.
    at: int | None
    error: str


def mark(event_id: str) -> int:
    """A 63-bit number for an event id, by which a repeat is known."""
    return int.from_bytes(blake2b(event_id.encode(), digest_size=8).digest(), "big") >> 1


def register(
    state: Registration | None,
    *,
    user: str,
    provider_id: int,
    at: int,
    event: int = 0,
    details: Details = NO_DETAILS,
) -> Registration:
    """The device after a registration: taken over at once unless a newer write is known. `event`: its `mark`, 0 for none."""
    state = state or UNKNOWN
    if at < state.registered_at or (event and event in state.seen):
        return state
    stones, refusals = state.tombstones or {}, state.refusals or {}
    ended = any(stones.get(key, -1) > at for key in (user, ANYONE)) or refusals.get(str(provider_id), -1) >= at
    return Registration(
        user,
        provider_id,
        at,
        not ended,
        details,
        {key: time for key, time in stones.items() if time > at} or None,
        {key: time for key, time in refusals.items() if time >= at} or None,
        _seen(state if at <= _newest(state) else UNKNOWN, event),
    )


def unregister(state: Registration | None, *, user: str | None, at: int, event: int = 0) -> Registration:
    """The device after an unregistration: by a user only if it is theirs (M3), without a user always (M4)."""
    state = state or UNKNOWN
    if at < state.registered_at or (event and event in state.seen):
        return state
    key = user or ANYONE
    stones = dict(state.tombstones or {})
    stones[key] = max(at, stones.get(key, -1))
    theirs = user is None or user == state.user
    active = state.active and not theirs
    return replace(state, active=active, tombstones=_bounded(stones), seen=_seen(state, event))


def refuse(state: Registration, *, provider_id: int, until: int) -> Registration:
    """The device after its provider said that the token was of no use up to `until`. Refusals of other providers stay."""
    if until < state.registered_at:
        return state
    refusals = dict(state.refusals or {})
    key = str(provider_id)
    refusals[key] = max(until, refusals.get(key, -1))
    return replace(state, active=state.active and state.provider_id != provider_id, refusals=refusals)


def end(state: Registration, *, at: int) -> Registration:
    """The device after an operator ended it at `at`, the time now: nothing that is known, of whatever time, outlasts it.

    Times in the future, as a clock that was wrong leaves them, become `at`: otherwise no later write could win.
    """
    refusals = {key: min(until, at) for key, until in (state.refusals or {}).items()}
    return replace(
        state,
        active=False,
        registered_at=min(state.registered_at, at),
        tombstones={ANYONE: at},
        refusals=refusals or None,
    )


def unmet_registration(
    state: Registration | None,
    *,
    user: str,
    provider_id: int,
    at: int,
    details: Details = NO_DETAILS,
) -> Superseded | None:
    """None: the device is as this registration asked. Otherwise what decided otherwise."""
    state = state or UNKNOWN
    asked, found = (user, provider_id, details), (state.user, state.provider_id, state.details)
    if state.active and asked == found:
        return None
    if state.registered_at > at or (state.registered_at == at and asked != found):
        return Superseded(
            state.registered_at, f"device: a registration of {instant(state.registered_at)} {_ahead(state, at)}"
        )
    stones = state.tombstones or {}
    ended = max(stones.get(user, -1), stones.get(ANYONE, -1))
    if ended >= at:
        return Superseded(ended, f"device: an unregistration of {instant(ended)} ended it")
    refused = (state.refusals or {}).get(str(provider_id), -1)
    if refused >= at:
        return Superseded(refused, f"device: its provider refused the token as of {instant(refused)}")
    return Superseded(None, "device: it is retired: the user's newer devices fill the app's device_cap")


def unmet_unregistration(state: Registration | None, *, user: str | None, at: int) -> Superseded | None:
    """None: the device is no longer this user's; without a user, nobody's. Otherwise the registration that is newer."""
    if state is None or not state.active or (user is not None and user != state.user):
        return None
    return Superseded(
        state.registered_at, f"device: a registration of {instant(state.registered_at)} {_ahead(state, at)}"
    )


def instant(at: int) -> str:
    """Microseconds since the epoch as RFC 3339, in UTC."""
    return f"{_EPOCH + timedelta(microseconds=at):%Y-%m-%dT%H:%M:%S.%fZ}"


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(at: datetime) -> int:
    """Microseconds since the epoch, exactly."""
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _ahead(state: Registration, at: int) -> str:
    gap = (state.registered_at - at) / 1e6
    if not gap:
        return "has the same time and was published later"
    return f"is {gap:,.0f} s newer" if gap >= 10 else f"is {gap:.6g} s newer"


def _bounded(stones: dict[str, int]) -> dict[str, int]:
    """At most `MAX_TOMBSTONES` users: the oldest unregistration beyond counts as everybody's. Rather silent than wrong."""
    if len(stones) - (ANYONE in stones) > MAX_TOMBSTONES:
        oldest = min((key for key in stones if key != ANYONE), key=lambda key: stones[key])
        at = stones.pop(oldest)
        stones[ANYONE] = max(at, stones.get(ANYONE, -1))
    return stones


def _newest(state: Registration) -> int:
    return max(state.registered_at, *(state.tombstones or {}).values(), -1)


def _seen(state: Registration, event: int) -> tuple[int, ...]:
    return (*state.seen, event)[-MAX_SEEN:] if event else state.seen
