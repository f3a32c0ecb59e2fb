"""Bursts: many messages of a channel within a time. Which of them makes a sound, and when one is shown for several."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final, Literal, NamedTuple, TypeVar

from worker.state.homes import Homes
from worker.state.keys import Keys
from worker.state.partition import Partition

#: Seconds of a window at most: a count is kept for two of them.
LONGEST: Final = 86_400
#: Users in one call of the script: Redis serves no other client meanwhile.
_USERS: Final = 2_000
#: Seconds after which a fold that was to be shown is shown whatever was shown later.
_SHOWN: Final = 3_600

#: What a sound is taken from: '' for nothing, `called` of those whom the message calls.
Budget = Literal["", "plain", "called"]


class Pushed(NamedTuple):
    """A member who gets a push. `counts`: whether it is one of a burst."""

    user: str
    counts: bool = True
    budget: Budget = ""


class Burst(NamedTuple):
    """The members who get a push for one page of a message. All times in seconds; `page`: `<message>:<page>`."""

    app: str
    channel: str
    window: int
    page: str
    users: Sequence[Pushed]
    #: Messages of a window after which they are folded; None: never.
    fold_after: int | None = None
    #: Between two times at which a fold is shown; 0: each message of it is.
    fold_every: int = 0
    #: Between two sounds of a user in the channel, and in all channels; 0: each has one.
    sound_every: int = 0
    sound_every_user: int = 0


class Turn(NamedTuple):
    """What a message is for a member. `number`: which of its window it is; 0: none."""

    number: int = 0
    sound: bool = True
    #: UNIX seconds at which it is shown with others; 0: at once.
    due: float = 0.0


class Fold(NamedTuple):
    """Users for whom it is time to be shown what was folded, up to the message of this place."""

    app: str
    channel: str
    place: int
    users: Sequence[str]


_Of = TypeVar("_Of", Burst, Fold)


class Bursts:
    """Where a user has a sound for all channels of a spread app, it is taken from their home, with all else of the burst."""

    def __init__(self, partition: Partition, homes: Homes | None = None) -> None:
        self._keys, self._scripts = partition.keys, partition.scripts
        self._homes = homes or Homes(partition)

    def count(self, bursts: Sequence[Burst], now: float) -> list[dict[str, Turn]]:
        """For each burst what its message is for each of its users, `now` in UNIX seconds.

        A page that is counted again, as when its expansion is tried again, counts nothing, in this window and the next one.
        """
        homes = [self._homes.of(burst.app) if burst.sound_every_user else None for burst in bursts]
        if not any(homes):
            return self.count_here(bursts, now)
        found: list[dict[str, Turn]] = [{} for _ in bursts]
        for home in {*homes}:
            there = [n for n, one in enumerate(homes) if one is home]
            some = [bursts[n] for n in there]
            at_home = self if home is None else Bursts(home.partition)
            count = partial(at_home.count_here, some, now)
            for n, turns in zip(there, count() if home is None else home.briefly(count), strict=True):
                found[n] = turns
        return found

    def count_here(self, bursts: Sequence[Burst], now: float) -> list[dict[str, Turn]]:
        """The same with all sounds taken from here."""
        return [turns for some in _pieces(bursts) for turns in self._count(some, now)]

    def show(self, folds: Sequence[Fold]) -> list[set[str]]:
        """For each fold the users who are to be shown it: those who are shown no later one."""
        newest_first = sorted(range(len(folds)), key=lambda n: -folds[n].place)
        found = [users for some in _pieces([folds[n] for n in newest_first]) for users in self._show(some)]
        shown = dict(zip(newest_first, found, strict=True))
        return [shown[n] for n in range(len(folds))]

    def _show(self, folds: Sequence[Fold]) -> list[set[str]]:
        answers: Any = self._scripts.show_folds(
            channels=[self._keys.FOLDS(fold.app, fold.channel) for fold in folds],
            seconds=_SHOWN,
            looks=[(f"{fold.place:020}", len(fold.users)) for fold in folds],
            users=[user for fold in folds for user in fold.users],
        )
        return [
            {user for user, shown in zip(fold.users, answer, strict=True) if shown}
            for fold, answer in zip(folds, answers, strict=True)
        ]

    def _count(self, bursts: Sequence[Burst], now: float) -> list[dict[str, Turn]]:
        answers: Any = self._scripts.count_bursts(
            windows=[_keys(self._keys, burst, now) for burst in bursts],
            now=int(now * 1000),
            bursts=[_record(burst) for burst in bursts],
            users=[(user, int(counts), budget) for burst in bursts for user, counts, budget in burst.users],
        )
        return [
            {
                pushed.user: Turn(number, bool(sound), int(due) / 1000)
                for pushed, (number, due, sound) in zip(burst.users, found, strict=True)
            }
            for burst, found in zip(bursts, answers, strict=True)
        ]


def _pieces(given: Sequence[_Of]) -> Iterator[Sequence[_Of]]:
    """In their order, with as many users as one call takes."""
    piece: list[_Of] = []
    users = 0
    for one in given:
        piece.append(one)
        users += len(one.users)
        if users >= _USERS:
            yield piece
            piece, users = [], 0
    if piece:
        yield piece


def _record(burst: Burst) -> tuple[object, ...]:
    return (
        _seconds(burst),
        -1 if burst.fold_after is None else burst.fold_after,
        burst.fold_every * 1000,
        burst.sound_every * 1000,
        burst.sound_every_user * 1000,
        f"\n{burst.page}",
        burst.page.partition(":")[0],
        len(burst.users),
    )


def _seconds(burst: Burst) -> int:
    return min(burst.window, LONGEST)


def _keys(keys: Keys, burst: Burst, now: float) -> list[str]:
    """Of the windows that `now` falls into, each with the one before."""
    windows = [
        (keys.BURST, burst.channel, _seconds(burst)),
        (keys.SOUNDS, burst.channel, burst.sound_every),
        (keys.SOUNDS, "", burst.sound_every_user),
    ]
    return [
        family(burst.app, channel, number)
        for family, channel, seconds in windows
        for window in (int(now) // (seconds or 1),)
        for number in (window, window - 1)
    ]
