"""A route: what the sender must know about where it sends. A kind of provider makes it, as a value. Opens nothing."""

import ssl
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from worker.http2.client.answers import Service
from worker.http2.client.form import Form
from worker.sender.timing import Timing


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a transport connects to."""

    host: str
    port: int = 443
    #: PEM text of the CA to trust instead of the public ones.
    ca: str | None = field(default=None, repr=False)


class Address(NamedTuple):
    """An address of a host: its family, and where to connect to."""

    family: int
    sockaddr: tuple[Any, ...]


#: The addresses of a host and port, in the order to try them. Raises `OSError`, `UnicodeError`, or a `ConnectError`; the
#: responses have its cause.
Resolve = Callable[[str, int], Awaitable[list[Address]]]


class Access(NamedTuple):
    """How to connect, and how to write requests and read answers."""

    endpoint: Endpoint
    #: A context for this route alone: the sender sets the protocols that it offers.
    context: ssl.SSLContext
    #: Reads answers and GOAWAYs.
    service: Service
    #: Writes requests.
    form: Form
    timing: Timing = Timing()
    #: Open at once, at most.
    connections: int = 4
    #: Requests in flight on a connection whose server names no limit, at most.
    streams: int = 1_000
    #: Looks up addresses instead of the system. The sender connects only to these, also through a proxy.
    #: For a proxy one may be a name, which the proxy looks up.
    resolve: Resolve | None = None


class Route(Hashable, Protocol):
    """Which connections a request may use. Requests with equal routes share them. Its `repr` is logged."""

    def access(self) -> Access:
        """Called each time that the route is opened. May raise what its kind raises for a bad credential."""
        ...
