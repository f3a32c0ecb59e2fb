"""redis-py's client and its pool, without what each command of theirs spends on metrics and listeners that we have none of.

What they do for the command itself stays: a connection that was closed meanwhile is made again, and a fault is tried again as
the connection's `retry` says. Pipelines and subscriptions are redis-py's own, by the connections of this pool.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import redis


class Pool(redis.ConnectionPool):
    """Connections that are lent one by one, after a fork too."""

    def get_connection(self, *_: Any, **__: Any) -> Any:
        """One that a command can be sent on."""
        self._checkpid()
        with self._lock:
            idle = self._available_connections
            connection = idle.pop() if idle else self.make_connection()
            self._in_use_connections.add(connection)
        return self.made_ready(connection)

    def made_ready(self, connection: Any) -> Any:
        """The connection that was lent, open and with nothing to read: what was closed meanwhile is connected again."""
        try:
            connection.connect()
            try:
                stale = connection.can_read()
            except (redis.ConnectionError, redis.TimeoutError, OSError):
                stale = True
            if stale:
                connection.disconnect()
                connection.connect()
        except BaseException:
            self.release(connection)
            raise
        return connection

    def release(self, connection: Any) -> None:
        """Takes a connection back."""
        self._checkpid()
        with self._lock:
            if connection not in self._in_use_connections:
                return
            self._in_use_connections.remove(connection)
            if connection.pid != self.pid:
                connection.disconnect()
                return
            if connection.should_reconnect():
                connection.disconnect()
            self._available_connections.append(connection)


class Client(redis.Redis):
    """A thread-safe client by a `Pool`."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        return self.ask(self.connection_pool.get_connection(), args, options)

    def ask(self, connection: Any, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
        """The answer to a command by this connection of the pool, which is given back."""
        try:
            return connection.retry.call_with_retry(
                lambda: self._exchange(connection, args, options), lambda _: connection.disconnect()
            )
        finally:
            self.connection_pool.release(connection)

    def _exchange(self, connection: Any, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
        connection.send_command(*args)
        return self.parse_response(connection, args[0], **options)  # type: ignore[no-untyped-call]


def closing(client: redis.Redis) -> redis.Redis:
    """The client, which closes its connections when it is closed."""
    client.auto_close_connection_pool = True
    return client
