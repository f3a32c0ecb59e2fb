"""One connection to Redis, with redis-py's set-up (TLS, passwords, sockets) and none of its client's cost per command.

Translates redis-py's errors; retries nothing.
"""

from contextlib import suppress
from typing import Any, Final

from redis import exceptions
from redis.connection import Connection, parse_url

from producers.errors import BackPressureError, PublishError
from producers.patience import AwayError
from producers.urls import fault_of_parts
from producers.wire import ClosedError, Command, NotAllowedError

_COME_AGAIN = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.TryAgainError,
    exceptions.ClusterDownError,
    OSError,
)
#: URL options that redis-py reads for its pools, or that would change what an answer looks like.
_NOT_OURS = frozenset(
    {"max_connections", "timeout", "decode_responses", "encoding", "encoding_errors", "retry_on_error"}
)

CLUSTER: Final = "this is a Redis Cluster: Carillon needs one primary without cluster mode"
SENTINEL: Final = "this is a Sentinel: Carillon needs the address of the primary itself"
REPLICA: Final = "this Redis is a read-only replica: the primary's address is needed"
#: Asks a server for its kind and version; every user may, also one without rights.
HELLO: Final = b"*1\r\n$5\r\nHELLO\r\n"


def options(redis_url: str, parse: Any = parse_url, kind: type[Any] = Connection) -> tuple[type[Any], dict[str, Any]]:
    """The connection class for a URL, and its arguments. Raises ValueError for an invalid URL, without quoting it."""
    fault = fault_of_parts(redis_url)
    try:
        parsed = parse(redis_url)
    except ValueError:
        scheme = (
            "a Redis URL begins with redis://, rediss:// or unix://, and its options must have values of their kind"
        )
        raise ValueError(fault or scheme) from None
    if fault is not None and not redis_url.startswith("unix:"):
        raise ValueError(fault)
    found = {name: value for name, value in parsed.items() if name not in _NOT_OURS}
    # The older protocol is enough, and servers and proxies of any age know it.
    return found.pop("connection_class", kind), {**found, "protocol": 2}


def translated(fault: Exception) -> AwayError | PublishError:
    """Translates a redis-py error: `AwayError` to try again, `PublishError` to give up."""
    text = str(fault)
    if isinstance(fault, exceptions.OutOfMemoryError) or "OOM command" in text:
        return BackPressureError("Redis has no memory left (maxmemory): see that workers keep up, or give it more")
    if isinstance(fault, exceptions.AuthenticationError | exceptions.AuthorizationError | exceptions.NoPermissionError):
        kind = NotAllowedError if isinstance(fault, exceptions.NoPermissionError) else PublishError
        return kind(f"Redis refuses this user: {text}. docs/security.md has the user that is needed")
    if "CERTIFICATE_VERIFY_FAILED" in text and ("has expired" in text or "not yet valid" in text):
        return PublishError(
            "Redis' certificate is not valid now: look at this machine's clock first (NTP), then renew it"
        )
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return PublishError("Redis' certificate is not trusted: see ssl_ca_certs in the URL, and the host's name in it")
    if isinstance(fault, exceptions.MovedError | exceptions.AskError) or text.startswith(("MOVED ", "CROSSSLOT ")):
        return PublishError(CLUSTER)
    if isinstance(fault, exceptions.ReadOnlyError):
        return AwayError(REPLICA)
    if isinstance(fault, _COME_AGAIN) or text.startswith(("MISCONF", "NOREPLICAS", "MASTERDOWN", "LOADING")):
        return AwayError(text.rstrip(".") or type(fault).__name__)
    if text.startswith("WRONGTYPE"):
        return ClosedError(f"Redis answered: {text}")
    return PublishError(f"Redis answered: {text}")


def succeeded(answer: Any) -> Any:
    """The answer; of a transaction, the error of its first failed command if there is one."""
    for one in answer if isinstance(answer, list) else ():
        if isinstance(one, Exception):
            raise translated(one)
    return answer


def unfit(hello: Any) -> str | None:
    """Why Carillon cannot work with a server that gives this answer to HELLO; None: it can, or the answer does not say."""
    fields = dict(zip(hello[::2], hello[1::2], strict=False)) if isinstance(hello, list) else hello
    if not isinstance(fields, dict):
        return None
    if fields.get(b"mode") == b"cluster":
        return CLUSTER
    if fields.get(b"mode") == b"sentinel":
        return SENTINEL
    return REPLICA if fields.get(b"role") in (b"replica", b"slave") else None


def refuse_unfit(hello: Any) -> None:
    """Raises `PublishError`, or `AwayError` for a replica, which becomes the primary at a failover."""
    fault = unfit(hello)
    if fault == REPLICA:
        raise AwayError(fault)
    if fault is not None:
        raise PublishError(fault)


class Link:
    """A connection, made on first use."""

    def __init__(self, kind: type[Any], arguments: dict[str, Any], wait: float) -> None:
        self._connection: Any = kind(**arguments | {"socket_timeout": wait, "socket_connect_timeout": wait})
        self._known = False

    def ask(self, command: Command, wait: float) -> Any:
        """The last answer to a command, waited for at most `wait` seconds. Raises `AwayError` or `PublishError`."""
        try:
            self._connection.connect()
            # redis-py sets a socket's timeout once; this call has only what is left of its own.
            self._connection._sock.settimeout(wait)  # noqa: SLF001
            if not self._known:
                self._meet()
            self._connection.send_packed_command([command.packed], check_health=False)
            for _ in range(command.answers - 1):
                self._connection.read_response()
            answer = self._connection.read_response()
        except (exceptions.RedisError, OSError) as fault:
            raise translated(fault) from fault
        return succeeded(answer)

    def _meet(self) -> None:
        self._connection.send_packed_command([HELLO], check_health=False)
        with suppress(exceptions.ResponseError):  # of a server or a proxy that does not know the command
            refuse_unfit(self._connection.read_response())
        self._known = True

    def close(self) -> None:
        """Closes the socket. In a forked child this does not affect the parent's connection."""
        self._connection.disconnect()
