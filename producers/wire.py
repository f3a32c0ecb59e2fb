"""What is written to Redis, and what its answers mean. Touches no socket: both publishers share it."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from producers.documents import document
from producers.errors import BackPressureError, EventError, PublishError
from producers.events import FIELD, STREAM, online_key, reply_key

#: Events that one command writes. More gain little, fewer keep the server's other clients waiting less.
CHUNK_EVENTS: Final = 200
CHUNK_BYTES: Final = 512 * 1024
#: Entries that may wait on the stream before publishing is refused.
MAX_BACKLOG: Final = 1_000_000
#: Seconds for which one call may keep a user online.
MAX_ONLINE: Final = 7 * 24 * 3600

#: Percent of Redis' `maxmemory` at which publishing is refused. The rest is for workers, whose batches need room before
#: they can take anything off the stream.
FULL: Final = 80

#: Hash that workers write each second: `redis_percent`, `at`, and for each app how many of its events wait unread.
PRESSURE: Final = "carillon:pressure"
#: Fields of it that are no app's.
RESERVED: Final = frozenset({"redis_percent", "at"})

# KEYS[1]: the stream. ARGV[1]: the longest backlog; the others: documents. Answers their entry ids, or the length of the
# backlog, or below zero how many percent of its memory Redis uses. A script runs whole or not at all, so a chunk is never
# half written and its events keep their order. A user that may not ask for INFO is refused only when Redis is full.
_SCRIPT: Final = f"""
local length = redis.call('XLEN', KEYS[1])
if length >= tonumber(ARGV[1]) then return length end
local memory = redis.pcall('INFO', 'memory')
if type(memory) == 'string' then
  local used, most = string.match(memory, 'used_memory:(%d+)'), tonumber(string.match(memory, 'maxmemory:(%d+)'))
  if most and most > 0 and used / most * 100 >= {FULL} then return -math.min(100, math.floor(used / most * 100)) end
end
local ids = {{}}
for i = 2, #ARGV do ids[i - 1] = redis.call('XADD', KEYS[1], '*', '{FIELD}', ARGV[i]) end
return ids
""".encode()


def append(written: bytes) -> bytes:
    """The command that puts one document on the stream, whatever the backlog."""
    return _packed(b"XADD", STREAM.encode(), b"*", FIELD.encode(), written)


def append_within(max_backlog: int, written: Sequence[bytes]) -> bytes:
    """The command that puts all of the documents on the stream, or none where the backlog is that long already."""
    return _packed(b"EVAL", _SCRIPT, b"1", STREAM.encode(), b"%d" % max_backlog, *written)


def online(app: str, user: str, seconds: int) -> bytes:
    """The command that keeps the user online for so many seconds. Raises `EventError` for what cannot be."""
    if type(seconds) is not int or not 1 <= seconds <= MAX_ONLINE:
        raise EventError(f"seconds: expected a whole number from 1 to {MAX_ONLINE:,}")
    return _packed(b"SET", _presence(app, user), b"1", b"EX", b"%d" % seconds)


def offline(app: str, user: str) -> bytes:
    """The command after which the user is offline. Raises `EventError` for an id that cannot be."""
    return _packed(b"DEL", _presence(app, user))


def await_reply(id: str, seconds: float) -> bytes:
    """The command that waits for the answer to a device event."""
    return _packed(b"BRPOP", reply_key(id).encode(), b"%g" % seconds)


def entries(answer: Any) -> list[str]:
    """The entry ids in an answer, or `BackPressureError` where it tells of a backlog."""
    if isinstance(answer, int) and answer < 0:
        raise BackPressureError(
            f"Redis has filled {-answer} % of its maxmemory: see that workers keep up, or give it more"
        )
    if isinstance(answer, int):
        raise BackPressureError(
            f"{answer:,} events wait on {STREAM} already: see that workers run and keep up, and publish again later"
        )
    ids = answer if isinstance(answer, list) else [answer]
    return [entry.decode() if isinstance(entry, bytes) else entry for entry in ids]


def chunks(written: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """The documents in order, in pieces of at most `CHUNK_EVENTS`, and of `CHUNK_BYTES` unless one alone is longer."""
    start = size = 0
    for index, one in enumerate(written):
        if index > start and (index - start == CHUNK_EVENTS or size + len(one) > CHUNK_BYTES):
            yield written[start:index]
            start, size = index, 0
        size += len(one)
    if start < len(written):
        yield written[start:]


def midway(fault: PublishError, accepted: Sequence[str], total: int) -> PublishError:
    """The same fault, telling how far the call had come."""
    return type(fault)(f"{fault} ({len(accepted):,} of {total:,} events were accepted)", accepted)


def _presence(app: str, user: str) -> bytes:
    # The rules for both ids are the contract's: an event that has them is checked in their place.
    document({"v": 1, "type": "badge.cleared", "id": "-", "app": app, "at": "2000-01-01T00:00:00Z", "user": user})
    return online_key(app, user).encode()


def _packed(*parts: bytes) -> bytes:
    return b"".join([b"*%d\r\n" % len(parts), *[b"$%d\r\n%b\r\n" % (len(part), part) for part in parts]])
