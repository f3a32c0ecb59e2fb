"""What the sender has to know of where it sends to: a kind of provider makes a route, as a value. Opens nothing."""

import ssl
from collections.abc import Hashable
from typing import NamedTuple, Protocol

from worker.http2.client.answers import Service
from worker.sender.transport import Endpoint


class Access(NamedTuple):
    """What it takes to connect."""

    endpoint: Endpoint
    context: ssl.SSLContext


class Route(Hashable, Protocol):
    """Which connections a request may use. Requests with equal routes share them."""

    @property
    def service(self) -> Service:
        """Reads what the server says."""
        ...

    def access(self) -> Access:
        """Called once for each time that the route is opened. May raise what its kind raises for a bad credential."""
        ...
