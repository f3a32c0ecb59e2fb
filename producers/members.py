"""A channel's whole list of members as events, in pages. Each page is complete and may be repeated."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import pairwise
from typing import Final

from producers.events import ChannelId, MembersReplaced

#: Users in one page.
PAGE: Final = 5_000


def members_replaced(
    app: str, channel: str, users: Iterable[str], *, id: str, at: datetime, page: int = PAGE
) -> Iterator[MembersReplaced]:
    """The pages of a list in any order, each with the id `<id>:<number>`. An empty list empties the channel."""
    ordered = sorted(set(users))
    starts = [*range(0, len(ordered), page)] or [0]
    for number, (start, end) in enumerate(pairwise([*starts, len(ordered)])):
        yield MembersReplaced(
            id=f"{id}:{number}",
            app=app,
            at=at,
            channel=ChannelId(id=channel),
            users=ordered[start:end],
            after=ordered[start - 1] if start else None,
            through=ordered[end - 1] if end < len(ordered) else None,
        )
