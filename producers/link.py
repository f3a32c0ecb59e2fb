"""Connections to Redis, with redis-py's set-up (TLS, passwords, sockets) and none of its client's cost per command.

Finds the server that a key's commands go to. Translates redis-py's errors; retries nothing.
"""

import os
import threading
from collections import deque
from contextlib import suppress
from typing import Any, Final

from redis import exceptions
from redis.backoff import NoBackoff
from redis.connection import Connection, parse_url
from redis.retry import Retry

from producers.credentials import Credentials, Provider
from producers.errors import BackPressureError, PublishError
from producers.patience import AwayError, Elsewhere
from producers.topology import PATIENCE, Question, Topology, topology
from producers.urls import CLUSTER, FOLLOWED, Address, fault_of_parts, parse
from producers.wire import ClosedError, Command, NotAllowedError, packed

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

#: How a server's answer begins that takes no writes until its disk, its replicas or its primary are back.
NO_WRITES: Final = ("MISCONF ", "NOREPLICAS ", "MASTERDOWN ")
SENTINEL: Final = "this is a Sentinel: name it as redis+sentinel://…?service=NAME"
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


class Servers:
    """The servers of a URL: which of them has a key, and how each is connected to. Raises ValueError for an invalid URL.

    `credentials` are asked at each connection in place of the URL's user and password. `parsed` and `kind`: those of asyncio.
    """

    def __init__(
        self, redis_url: str, credentials: Credentials | None, parsed: Any = parse_url, kind: type[Any] = Connection
    ) -> None:
        self._parsed, self._kind = parsed, kind
        self._url = parse(redis_url) if redis_url.startswith(FOLLOWED) else None
        self._provider = None if credentials is None else Provider(credentials)
        self._one = None if self._url is not None else self._options(redis_url, own=True)
        self.followed = self._url is not None

    def topology(self) -> Topology:
        """What is known of them: nothing yet."""
        return topology(self._url)

    def of(self, at: Address, *, sentinel: bool = False) -> tuple[type[Any], dict[str, Any]]:
        """The connection class for one of the servers, and its arguments."""
        if self._url is None:
            assert self._one is not None, "there is one server or a URL of several"
            return self._one
        return self._options(self._url.of_sentinel(at) if sentinel else self._url.of(at), own=not sentinel)

    def _options(self, url: str, *, own: bool) -> tuple[type[Any], dict[str, Any]]:
        kind, arguments = options(url, self._parsed, self._kind)
        if own and self._provider is not None:
            arguments = {name: value for name, value in arguments.items() if name not in ("username", "password")}
            arguments["credential_provider"] = self._provider
        return kind, arguments


class Finder:
    """Finds the server that has a key. For threads; a look of one keeps no other waiting that knows where to go."""

    def __init__(self, servers: Servers) -> None:
        self.topology, self._servers = servers.topology(), servers
        self._lock = threading.Lock()
        self._asked: dict[tuple[Address, bool], Any] = {}
        self._pid = os.getpid()

    def address(self, slot: int) -> Address:
        """The server that has this slot's keys. Raises an error of redis-py where nobody tells."""
        known = self.topology.where(slot)
        if known is None:
            with self._lock:
                if (known := self.topology.where(slot)) is None:
                    self._look()
                    known = self.topology.where(slot)
        elif self.topology.due() and self._lock.acquire(blocking=False):
            try:
                # Where the Sentinels are away, and the primary is not, the work goes on.
                with suppress(exceptions.RedisError, OSError):
                    self._look()
            finally:
                self._lock.release()
            known = self.topology.where(slot)
        if known is None:
            raise exceptions.ConnectionError(f"no node of the cluster owns slot {slot}")
        return known

    def refresh(self) -> None:
        """Looks now. Raises an error of redis-py where nobody tells."""
        with self._lock:
            self._look()

    def close(self) -> None:
        """Closes what it asked by."""
        with self._lock:
            for connection in self._asked.values():
                connection.disconnect()

    def _look(self) -> None:
        if self._pid != os.getpid():
            self._asked, self._pid = {}, os.getpid()
        look = self.topology.look()
        with suppress(StopIteration):
            question = next(look)
            while True:
                question = look.send(self._answer(question))

    def _answer(self, question: Question) -> Any:
        connection = self._asked.pop((question.at, question.sentinel), None)
        if connection is not None and not isinstance(answer := self._say(connection, question), Exception):
            return answer
        # A connection that was kept may have been closed meanwhile.
        kind, arguments = self._servers.of(question.at, sentinel=question.sentinel)
        waits = {"socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE, "retry": Retry(NoBackoff(), 0)}
        return self._say(kind(**arguments | waits), question)

    def _say(self, connection: Any, question: Question) -> Any:
        try:
            connection.connect()
            connection.send_command(*question.command, check_health=False)
            answer = connection.read_response()
        except (exceptions.RedisError, OSError) as fault:
            connection.disconnect()
            return fault
        self._asked[question.at, question.sentinel] = connection
        return answer


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
    if isinstance(fault, exceptions.AskError) or text.startswith(("MOVED ", "CROSSSLOT ")):
        return PublishError(CLUSTER)
    if isinstance(fault, exceptions.ReadOnlyError):
        return AwayError(REPLICA)
    if isinstance(fault, _COME_AGAIN) or text.startswith((*NO_WRITES, "LOADING")):
        return AwayError(text.rstrip(".") or type(fault).__name__)
    if text.startswith("WRONGTYPE"):
        return ClosedError(f"Redis answered: {text}")
    return PublishError(f"Redis answered: {text}")


def redirected(fault: Exception, at: Address) -> Elsewhere | None:
    """Where the node at this address says that a slot's keys are; None: the fault is another one."""
    if not isinstance(fault, exceptions.AskError):
        return None
    to = Address(fault.host or at.host, fault.port)
    asking = not isinstance(fault, exceptions.MovedError)
    return Elsewhere("the slot is being moved to another node", to, asking=asking)


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


def refuse_unfit(hello: Any, *, cluster: bool = False) -> None:
    """Raises `PublishError`, or `AwayError` for a replica, which becomes the primary at a failover.

    `cluster`: a node of a cluster is what was looked for. A replica of one says itself who has the slot.
    """
    fault = unfit(hello)
    if fault == REPLICA:
        raise AwayError(fault)
    if fault is not None and not (cluster and fault == CLUSTER):
        raise PublishError(fault)


def confirmed(answer: Any, command: Command) -> None:
    """Raises `PublishError` where fewer replicas than wanted answered WAIT."""
    if isinstance(answer, int) and answer < command.replicas:
        raise PublishError(
            f"{answer} of {command.replicas} replicas confirmed it in time: it is unknown whether it outlasts a failover. "
            "Publish the same event again: its id makes that harmless"
        )


def waiting(command: Command, wait: float) -> bytes:
    """The command, and where replicas are to confirm it, WAIT, which ends before the connection's own patience does."""
    if not command.replicas:
        return command.packed
    milliseconds = max(1, int(wait * 800))
    return command.packed + packed(b"WAIT", b"%d" % command.replicas, b"%d" % milliseconds)


class Link:
    """A connection to one server, made on first use."""

    def __init__(self, made: tuple[type[Any], dict[str, Any]], wait: float, at: Address, *, cluster: bool) -> None:
        kind, arguments = made
        waits = {"socket_timeout": wait, "socket_connect_timeout": wait, "retry": Retry(NoBackoff(), 0)}
        self._connection: Any = kind(**arguments | waits)
        self._known, self._cluster = False, cluster
        self.at = at

    def ask(self, command: Command, wait: float) -> Any:
        """The last answer to a command, waited for at most `wait` seconds.

        Raises `AwayError` or `PublishError`, and is closed then.
        """
        try:
            self._connection.connect()
            # redis-py sets a socket's timeout once; this call has only what is left of its own.
            self._connection._sock.settimeout(wait)  # noqa: SLF001
            if not self._known:
                self._meet()
            self._connection.send_packed_command([waiting(command, wait)], check_health=False)
            answer = self._connection.read_response()
            if command.answers > 1:
                self._pass_over(command.answers - 2)
                answer = self._connection.read_response()
            if command.replicas:
                confirmed(self._connection.read_response(), command)
            return succeeded(answer)
        except (exceptions.RedisError, OSError) as fault:
            self.close()
            raise (redirected(fault, self.at) if self._cluster else None) or translated(fault) from fault
        except BaseException:
            self.close()
            raise

    def _pass_over(self, answers: int) -> None:
        """Reads answers that say nothing, unless one is an error: a transaction has one for each of its commands."""
        # Before each answer the connection itself makes ready how it would name the server. That takes longer than to read.
        read = self._connection._parser.read_response  # noqa: SLF001
        for _ in range(answers):
            if isinstance(answer := read(), Exception):
                raise answer

    def _meet(self) -> None:
        self._connection.send_packed_command([HELLO], check_health=False)
        with suppress(exceptions.ResponseError):  # of a server or a proxy that does not know the command
            refuse_unfit(self._connection.read_response(), cluster=self._cluster)
        self._known = True

    def close(self) -> None:
        """Closes the socket. In a forked child this does not affect the parent's connection."""
        self._connection.disconnect()


class Links:
    """The idle links of a publisher, to each server of its URL. For threads, and after a fork."""

    def __init__(self, servers: Servers) -> None:
        self._servers, self._finder = servers, Finder(servers)
        self.topology = self._finder.topology
        self._idle: dict[Address, deque[Link]] = {}
        self._pid = os.getpid()

    def take(self, slot: int, wait: float) -> Link:
        """A link to the server that has this slot's keys. Raises `AwayError` or `PublishError` where nobody tells."""
        try:
            at = self._finder.address(slot)
        except (exceptions.RedisError, OSError) as fault:
            raise translated(fault) from fault
        return self.to(at, wait)

    def to(self, at: Address, wait: float) -> Link:
        """A link to this server."""
        if self._pid != os.getpid():
            # The parent still uses these sockets. If a child wrote to them, both would get each other's answers.
            self._idle, self._pid = {}, os.getpid()
        try:
            return self._idle[at].pop()
        except (KeyError, IndexError):
            return Link(self._servers.of(at), wait, at, cluster=self.topology.spread)

    def give(self, link: Link) -> None:
        """Takes a link back that is still good."""
        if self.topology.known(link.at):
            self._idle.setdefault(link.at, deque()).append(link)
        else:
            link.close()

    def drop(self, at: Address) -> None:
        """Closes the idle links to a server that failed: they are as old, and each would cost a try."""
        self.topology.failed(at)
        for server in list(self._idle):
            if server == at or not self.topology.known(server):
                self._close(self._idle[server])

    def close(self) -> None:
        """Closes all that are idle."""
        for links in list(self._idle.values()):
            self._close(links)
        self._finder.close()

    def _close(self, links: deque[Link]) -> None:
        while True:
            try:
                links.pop().close()
            except IndexError:
                return
