"""The Redis client that a process shares: bounded waits, answers as bytes. Owns no key."""

import logging
import time
from typing import Any, Final

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from producers import link
from worker.stores.unfit import UnfitError

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
    # A socket of this machine knows neither.
    network = {} if url.startswith("unix:") else {"socket_connect_timeout": 5, "socket_keepalive": True}
    return redis.Redis.from_url(
        url,
        socket_timeout=10,
        **network,
        health_check_interval=15,
        protocol=2,
        retry=Retry(ExponentialBackoff(base=0.05, cap=0.5), 2),
    )


#: Seconds between two looks at a replica.
_LOOK: Final = 2.0
#: The oldest major version that has what our scripts and ACL lines use. A Valkey's are all higher.
_OLDEST: Final = 7
_NEEDED: Final = "Carillon needs Redis 7.0 or later, or any Valkey"
_NO_SCRIPTS: Final = "Carillon's workers run scripts: choose a server without such a rename-command and a user who may"


def await_fit(client: Redis, *, scripts: bool = True) -> None:
    """Returns once the server may be worked with, or where it is away. Waits while it is a replica; raises `UnfitError`.

    `scripts`: whether this process runs any, which its user has to be allowed to.
    """
    while (fault := unfit(client)) is not None:
        if fault != link.REPLICA:
            raise UnfitError(fault)
        log.error("waiting: %s", fault)
        time.sleep(_LOOK)
    if scripts and (fault := _without_scripts(client)) is not None:
        raise UnfitError(fault)


def unfit(client: Redis) -> str | None:
    """Why Carillon cannot work with this server, in a sentence; None: it can, or the server is away or does not tell."""
    try:
        hello: Any = client.execute_command("HELLO")  # type: ignore[no-untyped-call]
    except redis.exceptions.NoPermissionError:
        return None
    except redis.ResponseError as fault:
        return _of_database(str(fault)) or f"the server does not know HELLO: {_NEEDED}, without a rename-command for it"
    except redis.RedisError:
        return None
    return link.unfit(hello) or _of_version(hello)


def _of_database(text: str) -> str | None:
    """What a connection meets that asks for a database beside the first."""
    if "index is out of range" in text:
        return "this Redis has no database of that number: see the end of CARILLON_REDIS_URL"
    if "'SELECT'" in text.upper():
        return "this Redis has database 0 alone: see the end of CARILLON_REDIS_URL"
    return None


def _of_version(hello: Any) -> str | None:
    told = dict(zip(hello[::2], hello[1::2], strict=False)) if isinstance(hello, list) else {}
    version = told.get(b"version", b"").decode()
    major = version.partition(".")[0]
    return f"this is Redis {version}: {_NEEDED}" if major.isdigit() and int(major) < _OLDEST else None


def _without_scripts(client: Redis) -> str | None:
    """Why no script can be run, Celery's among them; None: it can, or the server is away."""
    try:
        client.evalsha(client.script_load("return 1"), 0)
    except redis.ResponseError as fault:
        return f"{str(fault).rstrip('.')}: {_NO_SCRIPTS}"
    except redis.RedisError:
        return None
    return None
