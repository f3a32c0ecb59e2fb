"""What users missed in quiet time, and when they hear of it: digests, and numbers on icons."""

from collections.abc import Collection
from typing import Any, Final, NamedTuple

from worker.core.digest import Pending, pending
from worker.state.partition import Partition

#: The field with the number of all messages that were ever counted.
_COUNTED: Final = "\ncounted"


class DueDigest(NamedTuple):
    """Counts of a user whose silence was to be over by now."""

    app: str
    user: str
    #: What tells these counts from later ones.
    counted: str
    pending: Pending

    @property
    def name(self) -> str:
        return _name(self.app, self.user)

    @property
    def about(self) -> Collection[tuple[str, str, str, str]]:
        """App, user, channel and thread of its conversations."""
        return [(self.app, self.user, of.channel, of.thread) for of in self.pending.conversations]


class DueBadge(NamedTuple):
    """A user to whose devices the number is to be shown. `due` in UNIX seconds."""

    app: str
    user: str
    due: float

    @property
    def name(self) -> str:
        return _name(self.app, self.user)

    @property
    def about(self) -> Collection[tuple[str, str, str, str]]:
        return ()


def due_digests(partition: Partition, now: float, limit: int) -> list[DueDigest]:
    """Those that are due, the oldest first. `now` in UNIX seconds."""
    found: Any = partition.redis.zrange(partition.keys.DIGESTS(), "-inf", now, byscore=True, offset=0, num=limit)
    members = [_pair(member) for member in found]
    with partition.redis.pipeline(transaction=False) as pipe:
        for app, user in members:
            pipe.hgetall(partition.keys.DIGEST(app, user))
        stored = pipe.execute()
    digests = []
    for (app, user), fields in zip(members, stored, strict=True):
        texts = {name.decode(): value.decode() for name, value in fields.items()}
        digests.append(DueDigest(app, user, texts.get(_COUNTED, ""), pending(texts)))
    return digests


def digest_due(partition: Partition, app: str, user: str) -> float | None:
    """When the user's digest is due, in UNIX seconds; None: they missed nothing."""
    return partition.redis.zscore(partition.keys.DIGESTS(), _name(app, user))


def due_badges(partition: Partition, now: float, limit: int) -> list[DueBadge]:
    found: Any = partition.redis.zrange(
        partition.keys.SILENT_BADGES(), "-inf", now, byscore=True, offset=0, num=limit, withscores=True
    )
    return [DueBadge(*_pair(member), due) for member, due in found]


def look_again(partition: Partition, users: Collection[tuple[str, str]]) -> None:
    """The silence of these (app, user) pairs may have another end: what they missed is looked at soon."""
    if users:
        partition.redis.zadd(partition.keys.DIGESTS(), {_name(*user): 1 for user in users}, xx=True)


def _name(app: str, user: str) -> str:
    return f"{app}\n{user}"


def _pair(member: bytes) -> tuple[str, str]:
    app, user = member.decode().split("\n")
    return app, user
