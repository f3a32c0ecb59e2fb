"""What stands on the stream, read by another client."""

from typing import Any

import redis

from producers import FIELD, STREAM, decode
from producers.events import AnyEvent


def documents(url: str) -> list[tuple[str, bytes]]:
    """Entry ids and their documents, in order."""
    with redis.Redis.from_url(url) as client:
        entries: Any = client.xrange(STREAM)
    return [(entry.decode(), fields[FIELD.encode()]) for entry, fields in entries]


def stored(url: str) -> list[tuple[str, AnyEvent]]:
    """Entry ids and their events, in order."""
    return [(entry, decode(document)) for entry, document in documents(url)]


def ids(url: str) -> list[str]:
    """The events' own ids, in the order of the stream."""
    return [event.id for _, event in stored(url)]
