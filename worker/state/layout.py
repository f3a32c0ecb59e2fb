"""The layout of the partitions in Redis (`producers/partitions.py`), as workers read it, and as the first one writes it."""

from contextlib import suppress
from typing import Any, Final

from redis.exceptions import NoPermissionError, WatchError

from producers.partitions import LAYOUT_KEY, UNTAGGED, Layout, LayoutError, encoded, parsed, tags
from worker.core.errors import UnfitError
from worker.state import servers
from worker.state.keys import EVENTS, INTAKE_TOKEN
from worker.state.redis import Redis

#: What the key of a closed stream holds: `XADD` answers WRONGTYPE.
CLOSED: Final = "closed: carillon:layout says where events go now"
#: Of a layout that a new installation gets.
_FIRST: Final = 2
#: Keys that one `SCAN` looks at.
_SCANNED: Final = 1000


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
        _begin(redis, Layout(_FIRST, tags(wanted, _FIRST)))
        found = read(redis)
        if found == UNTAGGED:
            raise UnfitError(_said(1, wanted))
    if found.partitions != wanted:
        raise UnfitError(_said(found.partitions, wanted))
    return found


def _begin(redis: Redis, first: Layout) -> None:
    """Writes the first layout, unless somebody did, or there are events of one partition, in which case nothing changes."""
    if servers.spread(redis):
        # Without a layout nobody publishes to a cluster.
        if not redis.exists(EVENTS()) and not redis.exists(INTAKE_TOKEN()):
            redis.set(LAYOUT_KEY, encoded(first), nx=True)
            redis.set(EVENTS(), CLOSED, nx=True)
        return
    pipe: Any
    with redis.pipeline() as pipe, suppress(WatchError):  # another worker was first, or a publisher
        pipe.watch(LAYOUT_KEY, EVENTS(), INTAKE_TOKEN())
        used: Any = pipe.exists(LAYOUT_KEY, EVENTS(), INTAKE_TOKEN())
        if used or any(redis.scan_iter(match=f"{EVENTS()}:*", count=_SCANNED, _type="stream")):
            return
        pipe.multi()
        pipe.set(LAYOUT_KEY, encoded(first))
        # A producer that knows no partitions is refused: nobody would read what it writes.
        pipe.set(EVENTS(), CLOSED)
        pipe.execute()


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
