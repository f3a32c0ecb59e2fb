"""The Redis client that a process shares: bounded waits, answers as bytes. Owns no key."""

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

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
