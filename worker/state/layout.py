"""The layout of the partitions in Redis (`producers/partitions.py`), as workers read it, and as the first one writes it."""

import logging
from contextlib import suppress
from typing import Any, Final

from msgspec.structs import replace
from redis.exceptions import NoPermissionError, WatchError

from producers.partitions import LAYOUT_KEY, UNTAGGED, Layout, LayoutError, encoded, parsed, tags
from worker.core.errors import UnfitError
from worker.state import servers
from worker.state.keys import EVENTS, INTAKE_TOKEN
from worker.state.redis import Redis

log = logging.getLogger(__name__)

#: What the key of a closed stream holds: `XADD` answers WRONGTYPE.
CLOSED: Final = "closed: carillon:layout says where events go now"
#: What a user reads who may not read it.
FORBIDDEN: Final = (
    f"this user of Redis may not read {LAYOUT_KEY}, which says where the keys are: give it the right"
    f" (%R~{LAYOUT_KEY} -@all +get), as the lines of docs/security.md have it"
)
_LOST: Final = (
    "Redis has lost its layout: Postgres knows of {have}, and this Redis has events of one partition. Stop all workers, and run"
    " `carillon partitions set {n}`, which moves these; or give Redis its data back"
)
_OLDER: Final = (
    "this Redis has {have} of generation {at}, and Postgres knows of {kept} of generation {of}: Redis came back from a copy from"
    " before the last change. Give it a newer one, or stop all workers and run "
)
_ANOTHER: Final = (
    "this Redis has {have}, and Postgres knows of {kept} with other tags, both of generation {of}: they are of two installations,"
    " see CARILLON_REDIS_URL and CARILLON_POSTGRES_URL. If they belong together, stop all workers and run "
)
#: Of a layout that a new installation gets.
_FIRST: Final = 2
#: Keys that one `SCAN` looks at.
_SCANNED: Final = 1000


def read(redis: Redis) -> Layout:
    """The layout that is in force. Raises `UnfitError` for one that is not known here, or that this user may not read."""
    try:
        found: Any = redis.get(LAYOUT_KEY)
    except NoPermissionError as fault:
        raise UnfitError(FORBIDDEN) from fault
    return _parsed(found)


def agree(redis: Redis, partitions: int | None, kept: bytes | None = None) -> Layout:
    """The layout that is in force; an empty Redis gets one of so many partitions. On a cluster one partition has a tag too.

    None: as many as there are. `kept`: the one that Postgres has; an empty Redis gets that. Raises `UnfitError` where it is
    another number, or Redis has lost its layout, and says what to do.
    """
    before = UNTAGGED if kept is None else _parsed(kept)
    found = read(redis)
    if found == UNTAGGED and before.tags:
        _begin(redis, replace(before, closed=False))
        found = read(redis)
        if found == UNTAGGED:
            raise UnfitError(_LOST.format(have=_have(before.partitions), n=before.partitions))
        log.warning(
            "Redis came without a layout of the partitions, the one that Postgres has is in force again: what Redis had is lost",
            extra={"partitions": found.partitions, "generation": found.generation},
        )
    wanted = found.partitions if partitions is None else partitions
    if found == UNTAGGED and (wanted > 1 or servers.spread(redis)):
        _begin(redis, Layout(_FIRST, tags(wanted, _FIRST)))
        found = read(redis)
        if found == UNTAGGED:
            raise UnfitError(_said(1, wanted))
    _compare(found, before)
    if found.partitions != wanted:
        raise UnfitError(_said(found.partitions, wanted))
    return found


def _parsed(document: bytes | None) -> Layout:
    try:
        return parsed(document)
    except LayoutError as fault:
        raise UnfitError(str(fault)) from None


def _compare(found: Layout, kept: Layout) -> None:
    """Raises `UnfitError` for a layout that is older than the one that Postgres has, or of another installation."""
    if found.generation > kept.generation or found.tags == kept.tags:
        return
    words = _OLDER if found.generation < kept.generation else _ANOTHER
    raise UnfitError(
        words.format(have=_have(found.partitions), at=found.generation, kept=_have(kept.partitions), of=kept.generation)
        + f"`carillon partitions set {kept.partitions}`"
    )


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
        raise UnfitError("the partitions are being changed: start workers when `carillon partitions` has ended")


def _said(found: int, wanted: int) -> str:
    return (
        f"CARILLON_PARTITIONS is {wanted}, and this Redis has {_have(found)}: set it to {found} or leave it out;"
        f" `carillon partitions set {wanted}` changes the number"
    )


def _have(partitions: int) -> str:
    return "one partition" if partitions == 1 else f"{partitions} partitions"
