"""What was true at a place of the stream: intervals of places, and the changes that begin and end them. Pure.

A place is a number. An event sees the state before it, and changes the state after it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from producers.fields import ChannelKind, Level, Privacy

#: Behind every place: as it is now.
NOW: Final = (1 << 63) - 1
#: From its first place up to the second, where it ended. None: it goes on.
Interval = tuple[int, int | None]


def held(intervals: Sequence[Interval], place: int) -> bool:
    """Whether it was so at the place."""
    return any(since <= place and (until is None or place < until) for since, until in intervals)


class Standing(NamedTuple):
    """Whether something is so, by the newest write about it, and since which place. `at`: microseconds, the write's own time."""

    at: int
    on: bool
    since: int


Key = TypeVar("Key")


def changed(
    known: dict[Key, Standing], writes: Iterable[tuple[Key, int, bool, int]]
) -> tuple[dict[Key, Standing], list[tuple[Key, int, int]]]:
    """Applies writes (key, at, on, place), in the order of their places, to what is `known`, which is changed as well.

    The later `at` wins; of equal ones the later place wins. Returns what changed, and each interval that ended:
    (key, since, until).
    """
    now: dict[Key, Standing] = {}
    ended: list[tuple[Key, int, int]] = []
    for key, at, on, place in writes:
        before = known.get(key)
        if before is None:
            now[key] = known[key] = Standing(at, on, place)
        elif on != before.on and at >= before.at and place > before.since:  # else it was applied before
            if before.on:
                ended.append((key, before.since, place))
            now[key] = known[key] = Standing(at, on, place)
        elif on == before.on and at > before.at:
            now[key] = known[key] = Standing(at, on, before.since)
    return now, ended


class Settings(NamedTuple):
    """What a channel is set to. Each with the time (microseconds) of the write that it is from, and since which places."""

    name: str | None = None
    name_at: int = 0
    push: bool = True
    push_at: int = 0
    level: Level | None = None
    level_at: int = 0
    kind: ChannelKind | None = None
    kind_at: int = 0
    privacy: Privacy | None = None
    privacy_at: int = 0
    created: int = 0
    since: int = 0


def set_anew(before: Settings, said: Mapping[str, object], at: int, place: int) -> Settings:
    """The settings after a write. What it does not say stays as it is."""
    if place <= before.since:  # it was applied before
        return before
    after = before
    for name, value in said.items():
        if at >= getattr(before, f"{name}_at"):
            changes: dict[str, Any] = {name: value, f"{name}_at": at}
            after = after._replace(**changes)
    if any(getattr(after, name) != getattr(before, name) for name in said):
        after = after._replace(since=place)
    return after
