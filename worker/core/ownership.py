"""Who owns a device: the fold of its writes by their own times, whatever the order in which they arrive. M1-M5, A3.

Times are milliseconds since the epoch. Of two writes with the same time the one that arrives later wins: a chat server
publishes in order, and many stamp only whole seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

#: Tombstone key of an unregistration without a user: it ends whoever's registration.
ANYONE = ""


@dataclass(frozen=True, slots=True)
class Registration:
    """The state of one device token of an app; `None` in its place: never heard of."""

    user: str | None
    provider_id: int | None
    registered_at: int
    active: bool
    locale: str | None = None
    attributes: Mapping[str, object] | None = None
    #: Unregistrations that a registration still to come may be older than: user or ANYONE -> time.
    tombstones: Mapping[str, int] | None = None


def register(
    state: Registration | None,
    *,
    user: str,
    provider_id: int,
    at: int,
    locale: str | None = None,
    attributes: Mapping[str, object] | None = None,
) -> Registration:
    """The device after a registration: taken over at once unless a newer write is known."""
    if state is not None and at < state.registered_at:
        return state
    stones = dict(state.tombstones or {}) if state else {}
    ended = any(stones.get(key, -1) > at for key in (user, ANYONE))
    newer = {key: time for key, time in stones.items() if time > at}
    return Registration(user, provider_id, at, not ended, locale, attributes, newer or None)


def unregister(state: Registration | None, *, user: str | None, at: int) -> Registration:
    """The device after an unregistration: by a user only if it is theirs (M3), by nobody in particular always (M4)."""
    if state is None:
        state = Registration(None, None, -1, False)
    if at < state.registered_at:
        return state
    key = user or ANYONE
    stones = dict(state.tombstones or {})
    stones[key] = max(at, stones.get(key, -1))
    theirs = user is None or user == state.user
    return replace(state, active=state.active and not theirs, tombstones=stones)
