"""Conversations of which users may be reminded: those whose time has come."""

from typing import Any

from worker.core.reminder import NotifiedOf, Reminder, parts_of
from worker.state.partition import Partition


def due(partition: Partition, now: float, limit: int) -> list[Reminder]:
    """Those that are due, the oldest first. `now` in UNIX seconds."""
    found: Any = partition.redis.zrange(
        partition.keys.REMINDERS(), "-inf", now, byscore=True, offset=0, num=limit, withscores=True
    )
    names = [name.decode() for name, _ in found]
    if not names:
        return []
    with partition.redis.pipeline(transaction=False) as pipe:
        pipe.hmget(partition.keys.REMINDERS_SENT(), names)
        for name in names:
            pipe.zrange(partition.keys.REMINDER(name), 0, -1, withscores=True)
        times, *messages = pipe.execute()
    return [
        Reminder(*parts_of(name), at, int(n or 0), [_notified_of(*one) for one in some])
        for name, (_, at), n, some in zip(names, found, times, messages, strict=True)
    ]


def _notified_of(member: bytes, at: float) -> NotifiedOf:
    message, collapse_id, sender = member.decode().split("\n")
    return NotifiedOf(int(at), message, collapse_id, sender)
