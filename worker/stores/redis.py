"""The Redis client that a process shares: bounded waits, answers as bytes. Owns no key."""

import logging
import time
from typing import Any, Final

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from producers import link

log = logging.getLogger(__name__)

Redis = redis.Redis
Error = redis.RedisError

#: What stands for "Redis is away or busy; the same call may work later". A replica is read-only until it is the primary.
Unavailable = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.BusyLoadingError,
    redis.OutOfMemoryError,
    redis.ReadOnlyError,
)


def connect(url: str) -> Redis:
    """A thread-safe client. One quick retry bridges a restart; a longer absence is the caller's to wait for."""
    return redis.Redis.from_url(
        url,
        socket_timeout=10,
        socket_connect_timeout=5,
        socket_keepalive=True,
        health_check_interval=15,
        protocol=2,
        retry=Retry(ExponentialBackoff(base=0.05, cap=0.5), 2),
    )


class UnfitError(Exception):
    """A server that Carillon cannot work with and that does not become another; the text is the sentence for a person."""


#: Seconds between two looks at a replica.
_LOOK: Final = 2.0


def await_fit(client: Redis) -> None:
    """Returns once the server may be worked with, or where it is away. Waits while it is a replica; raises `UnfitError`."""
    while (fault := unfit(client)) is not None:
        if fault != link.REPLICA:
            raise UnfitError(fault)
        log.error("waiting: %s", fault)
        time.sleep(_LOOK)


def unfit(client: Redis) -> str | None:
    """Why Carillon cannot work with this server, in a sentence; None: it can, or the server is away or does not tell."""
    try:
        hello: Any = client.execute_command("HELLO")  # type: ignore[no-untyped-call]
    except redis.RedisError:
        return None
    return link.unfit(hello)
