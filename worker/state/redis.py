"""The Redis client that a process shares: bounded waits, answers as bytes. Owns no key."""

import logging
import re
import time
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import hiredis
import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from config import credentials
from producers import link
from producers.topology import NO_CLUSTER
from producers.urls import CLUSTER, FOLLOWED, Address
from worker.core.errors import UnfitError
from worker.state import keys, servers
from worker.state.client import Client, Pool, closing

log = logging.getLogger(__name__)

Redis = redis.Redis
Error = redis.RedisError


class Replaced(redis.ConnectionError):
    """Another server has the data by now, and may not have all that was written."""


#: What stands for "Redis is away". A replica is read-only until it is the primary.
Away = (redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError, redis.ReadOnlyError)
#: What stands for "Redis is away or full; the same call may work later".
Unavailable = (*Away, redis.OutOfMemoryError)
#: What stands for "Redis answers, and does not do it".
Refused = redis.ResponseError
#: The user lacks a right.
Forbidden = redis.exceptions.NoPermissionError


def connect(url: str, *, timeout: float = 10, retries: int = 2, slot_key: str | None = None) -> Redis:
    """A thread-safe client. Quick retries bridge a restart; a longer absence is the caller's to wait for.

    `timeout`: seconds to wait for an answer. `slot_key`: with a cluster the client is for keys of this one's slot alone; without
    it each command goes to the node that has its key, and a command for many keys or a pipeline is taken apart.
    """
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        **over_network(url, socket_connect_timeout=min(5, timeout), socket_keepalive=True),
        "health_check_interval": 15,
        "protocol": 2,
        "retry": Retry(ExponentialBackoff(base=0.05, cap=0.5), retries),
        "command_packer": _Packer(),
    }
    asked = credentials.known(url)
    if url.startswith(FOLLOWED):
        return servers.connect(url, slot_key, asked, options, retries=retries)
    pool = Pool.from_url(url, **options) if asked is None else _asking(url, asked, options)
    pool.connection_class = _heeding(pool.connection_class)
    return closing(Client(connection_pool=pool))


class _Packer:
    """Packs commands as redis-py does, but asks no argument, in Python, whether it is a view of memory: none of ours is."""

    def pack(self, name: str, *arguments: Any) -> list[bytes]:
        return [hiredis.pack_command((*name.encode().split(), *arguments))]


@cache
def _heeding(kind: type[Any]) -> type[Any]:
    """The same kind of connection. A server that takes no writes for a while counts as away."""

    class Heeding(kind):  # type: ignore[misc]  # which it is, the URL says
        def read_response(self, *arguments: Any, **options: Any) -> Any:
            try:
                return super().read_response(*arguments, **options)
            except redis.ResponseError as fault:
                if str(fault).startswith(link.NO_WRITES):
                    raise redis.ConnectionError(str(fault)) from fault
                raise

    return Heeding


def _asking(url: str, asked: credentials.Credentials, options: dict[str, Any]) -> Pool:
    """Connections to one server that ask for user and password."""
    kind, arguments = link.Servers(url, asked).of(Address("", 0))
    return Pool(kind, **arguments | options)


def over_network(url: str, **options: Any) -> dict[str, Any]:
    """These options of a connection, but none for a socket of this machine, which knows none of them."""
    return {} if url.startswith("unix:") else options


#: Seconds between two looks at a replica.
_LOOK: Final = 2.0
#: The oldest major version that has what our scripts and ACL lines use. A Valkey's are all higher.
_OLDEST: Final = 7
_NEEDED: Final = "Carillon needs Redis 7.0 or later, or any Valkey"
_COMMANDS: Final = "Carillon's workers need it: it was renamed away, or this server has none"
_RIGHTS: Final = "docs/security.md has what a worker's user needs, with the database's number in the names of channels"
#: A server's words for a missing right; older servers have other words within a script.
_FORBIDDEN: Final = re.compile(r"permission|can't (access|run)", re.IGNORECASE)


#: Keys of one EXISTS.
_ASKED: Final = 500


def there(client: Redis, names: Sequence[str]) -> list[str]:
    """Those of the keys that exist, in their order. Of many keys of which few exist it costs a command for each 500."""
    parts = [names[at : at + _ASKED] for at in range(0, len(names), _ASKED)]
    with client.pipeline(transaction=False) as pipe:
        for part in parts:
            pipe.exists(*part)
        numbers = pipe.execute() if parts else []
        some = [name for part, n in zip(parts, numbers, strict=True) if n for name in part]
        for name in some:
            pipe.exists(name)
        answers = pipe.execute() if some else []
    return [name for name, exists in zip(some, answers, strict=True) if exists]


def clock(client: Redis) -> float:
    """The time by the clock of Redis, in UNIX seconds."""
    seconds, micros = client.time()
    return float(seconds) + float(micros) / 1e6


def await_fit(client: Redis, *, worker: bool = True) -> None:
    """Returns once the server can be used, or if it is away. Waits while it is a replica; raises `UnfitError`.

    `worker`: whether this process takes and does work, which its user has to be allowed to.
    """
    try:
        client.ping()
    except redis.AuthenticationError as refused:
        log.error("Redis refuses the user or the password of CARILLON_REDIS_URL: %s", str(refused).rstrip("."))
        return
    except redis.ResponseError:
        pass
    except redis.RedisError as away:
        log.warning("Redis does not answer yet: %s", str(away).rstrip("."))
        return
    while (fault := unfit(client)) is not None:
        if fault != link.REPLICA:
            raise UnfitError(fault)
        log.error("waiting: %s", fault)
        time.sleep(_LOOK)
    if worker and (fault := _lacking(client)) is not None:
        raise UnfitError(fault)


def unfit(client: Redis) -> str | None:
    """Why Carillon cannot work with this server, in a sentence; None: it can, or the server is away or does not tell."""
    try:
        hello: Any = client.execute_command("HELLO")  # type: ignore[no-untyped-call]
    except redis.exceptions.NoPermissionError:
        return None
    except redis.ResponseError as fault:
        return _of_connection(str(fault))
    except redis.RedisError:
        return None
    found = link.unfit(hello)
    if found == CLUSTER and servers.spread(client):
        found = None
    return found or _of_version(hello)


def _of_connection(text: str) -> str | None:
    """What keeps every connection from being made, as the server says it."""
    if text == NO_CLUSTER:
        return text
    if "index is out of range" in text:
        return "this Redis has no database of that number: see the end of CARILLON_REDIS_URL"
    if not text.lower().startswith("unknown command"):
        return None
    if "select" in text.lower():
        return "this Redis has database 0 alone: see the end of CARILLON_REDIS_URL"
    return f"the server does not know HELLO: {_NEEDED}, without a rename-command for it"


def _of_version(hello: Any) -> str | None:
    fields = dict(zip(hello[::2], hello[1::2], strict=False)) if isinstance(hello, list) else {}
    version = fields.get(b"version", b"").decode()
    major = version.partition(".")[0]
    return f"this is Redis {version}: {_NEEDED}" if major.isdigit() and int(major) < _OLDEST else None


def _lacking(client: Redis) -> str | None:
    """What a worker must do, and Celery in it, and may not; None: it may, or the server is away.

    One command of each kind, for a connection that is refused one in its work would begin again and again.
    """
    database = client.connection_pool.connection_kwargs.get("db") or 0
    try:
        script = client.script_load("return redis.call('EXISTS', KEYS[1])")
        client.evalsha(script, 1, f"{keys.PREFIX}leader")
        if servers.spread(client):  # Celery's broker is another server
            return None
        with client.pubsub() as channel:  # type: ignore[no-untyped-call]
            channel.subscribe(f"{keys.PREFIX}/{database}.celery.pidbox")
            channel.get_message(timeout=5)
    except redis.ResponseError as fault:
        text = str(fault).rstrip(".")
        if text.lower().startswith("unknown command"):
            return f"{text}: {_COMMANDS}"
        return f"{text}: {_RIGHTS}" if _FORBIDDEN.search(text) else None
    except redis.RedisError:
        return None
    return None
