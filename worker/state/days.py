"""How many pushes each user has had on their day."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from worker.state.homes import Homes
from worker.state.partition import Partition

#: Seconds for which a day is kept after the last push on it: it is over everywhere by then.
_LIFE: Final = 2 * 86_400
#: Users in one call of the script: Redis serves no other client meanwhile.
_USERS: Final = 5_000


class DayPage(NamedTuple):
    """Users who are about to get a push of a message, each with the name of their day."""

    app: str
    most: int
    message: str
    users: Sequence[tuple[str, str]]


class Days:
    """The days of a spread app's users are counted at their home."""

    def __init__(self, partition: Partition, homes: Homes | None = None) -> None:
        self._keys, self._scripts = partition.keys, partition.scripts
        self._homes = homes or Homes(partition)

    def count(self, pages: Sequence[DayPage]) -> list[set[str]]:
        """For each page its users who have had fewer than `most` pushes on their day, this one not counted.

        Whose last push was for the same message has not one more: it is decided again.
        """
        homes = [self._homes.of(page.app) for page in pages]
        if not any(homes):
            return self.count_here(pages)
        found: list[set[str]] = [set() for _ in pages]
        for home in {*homes}:
            there = [n for n, one in enumerate(homes) if one is home]
            some = [pages[n] for n in there]
            at_home = self if home is None else Days(home.partition)
            count = partial(at_home.count_here, some)
            for n, within in zip(there, count() if home is None else home.briefly(count), strict=True):
                found[n] = within
        return found

    def count_here(self, pages: Sequence[DayPage]) -> list[set[str]]:
        """The same of users who are all at home here."""
        return [within for some in _pieces(pages) for within in self._count(some)]

    def _count(self, pages: Sequence[DayPage]) -> Iterator[set[str]]:
        answers: Any = self._scripts.count_days(
            days=[self._keys.PUSHES_OF_DAY(page.app, day) for page in pages for _, day in page.users],
            seconds=_LIFE,
            pages=[(page.most, page.message, len(page.users)) for page in pages],
            users=[user for page in pages for user, _ in page.users],
        )
        for page, answer in zip(pages, answers, strict=True):
            yield {user for (user, _), within in zip(page.users, answer, strict=True) if within}


def _pieces(pages: Sequence[DayPage]) -> Iterator[Sequence[DayPage]]:
    piece: list[DayPage] = []
    for page in pages:
        piece.append(page)
        if sum(len(one.users) for one in piece) >= _USERS:
            yield piece
            piece = []
    if piece:
        yield piece
