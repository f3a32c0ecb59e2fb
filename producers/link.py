"""One connection to Redis, with redis-py's set-up (TLS, passwords, sockets) and none of its client's cost per command.

Translates redis-py's errors; retries nothing.
"""

from typing import Any

from redis import exceptions
from redis.connection import Connection, parse_url

from producers.errors import BackPressureError, PublishError
from producers.patience import AwayError

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


def options(redis_url: str, parse: Any = parse_url, kind: type[Any] = Connection) -> tuple[type[Any], dict[str, Any]]:
    """The connection class for a URL and its arguments. Raises ValueError for a URL that is none."""
    found = {name: value for name, value in parse(redis_url).items() if name not in _NOT_OURS}
    # The older protocol is all that is needed, and servers and proxies of any age speak it.
    return found.pop("connection_class", kind), {**found, "protocol": 2}


def translated(fault: Exception) -> AwayError | PublishError:
    """What a fault of redis-py means to a publisher: come again, or give up."""
    text = str(fault)
    if isinstance(fault, exceptions.OutOfMemoryError) or "OOM command" in text:
        return BackPressureError("Redis has no memory left (maxmemory): see that workers keep up, or give it more")
    if isinstance(fault, exceptions.AuthenticationError | exceptions.AuthorizationError | exceptions.NoPermissionError):
        return PublishError(f"Redis refuses this user: {text}. docs/security.md has the user that is needed")
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return PublishError("Redis' certificate is not trusted: see ssl_ca_certs in the URL, and the host's name in it")
    if isinstance(fault, _COME_AGAIN) or text.startswith(("MISCONF", "NOREPLICAS", "MASTERDOWN", "LOADING")):
        return AwayError(text.rstrip(".") or type(fault).__name__)
    return PublishError(f"Redis answered: {text}")


class Link:
    """A connection, made on first use."""

    def __init__(self, kind: type[Any], arguments: dict[str, Any], wait: float) -> None:
        self._connection: Any = kind(**arguments | {"socket_timeout": wait, "socket_connect_timeout": wait})

    def ask(self, command: bytes, wait: float) -> Any:
        """The answer to a packed command, waited for at most `wait` seconds. Raises `AwayError` or `PublishError`."""
        try:
            self._connection.connect()
            # redis-py sets a socket's timeout once; this call has only what is left of its own.
            self._connection._sock.settimeout(wait)  # noqa: SLF001
            self._connection.send_packed_command([command], check_health=False)
            return self._connection.read_response()
        except (exceptions.RedisError, OSError) as fault:
            raise translated(fault) from fault

    def close(self) -> None:
        """Let go of the socket. In a forked child the parent's connection stays as it is."""
        self._connection.disconnect()
