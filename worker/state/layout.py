"""The layout of the partitions in Redis (`producers/partitions.py`), as workers read it, and as the first one writes it."""

from typing import Any, Final

from redis.exceptions import NoPermissionError

from producers.partitions import LAYOUT_KEY, UNTAGGED, Layout, LayoutError, encoded, parsed, tags
from worker.core.errors import UnfitError
from worker.state import servers
from worker.state.keys import EVENTS, INTAKE_TOKEN
from worker.state.redis import Redis

#: What the key of a closed stream holds: `XADD` answers WRONGTYPE.
CLOSED: Final = "closed: carillon:layout says where events go now"
#: Of a layout that a new installation gets.
_FIRST: Final = 2


def read(redis: Redis) -> Layout:
    """The layout that is in force. Raises `UnfitError` for one that this release does not know."""
    try:
        found: Any = redis.get(LAYOUT_KEY)
    except NoPermissionError:  # a user of a release before
        return UNTAGGED
    try:
        return parsed(found)
    except LayoutError as fault:
        raise UnfitError(str(fault)) from None


def agree(redis: Redis, partitions: int | None) -> Layout:
    """The layout that is in force; an empty Redis gets one of so many partitions. On a cluster one partition has a tag too.

    None: as many as there are. Raises `UnfitError` where it is another number, and says what to do.
    """
    found = read(redis)
    wanted = found.partitions if partitions is None else partitions
    if found == UNTAGGED and (wanted > 1 or servers.spread(redis)):
        if redis.exists(EVENTS(), INTAKE_TOKEN()):
            raise UnfitError(_said(1, wanted))
        redis.set(LAYOUT_KEY, encoded(Layout(_FIRST, tags(wanted, _FIRST))), nx=True)
        # A producer that knows no partitions is refused: nobody would read what it writes.
        redis.set(EVENTS(), CLOSED, nx=True)
        found = read(redis)
    if found.partitions != wanted:
        raise UnfitError(_said(found.partitions, wanted))
    return found


def refuse_closed(found: Layout) -> None:
    """Raises `UnfitError` while the partitions are changed: a worker would change what is being copied."""
    if found.closed:
        raise UnfitError("the partitions are being changed: start workers when `carillon partitions set` has ended")


def _said(found: int, wanted: int) -> str:
    have = "one partition" if found == 1 else f"{found} partitions"
    return (
        f"CARILLON_PARTITIONS is {wanted}, and this Redis has {have}: set it to {found} or leave it out;"
        f" `carillon partitions set {wanted}` changes the number"
    )
