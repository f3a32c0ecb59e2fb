"""Which connections a provider may use: those of its host and project. Opens none."""

import math
from dataclasses import dataclass, field
from typing import Final

from worker.providers.fcm.request import FORM, SERVICE
from worker.sender.route import Access, Endpoint
from worker.sender.timing import Timing
from worker.sender.tls import client_context

#: FCM closes connections with frequent PINGs, so there is at most one in five minutes. It closes idle connections itself.
TIMING: Final = Timing(ping_gap=300.0, check_after=120.0, idle_ping=math.inf)
#: Requests in flight on a connection; FCM names the limit in its settings.
STREAMS: Final = 100


@dataclass(frozen=True, slots=True)
class FcmRoute:
    host: str
    port: int
    ca: str | None = field(repr=False)
    #: A connection has access tokens of one project only.
    project: str
    #: Open at once, at most.
    connections: int = field(default=10, compare=False)

    def access(self) -> Access:
        endpoint = Endpoint(self.host, self.port, self.ca)
        return Access(
            endpoint, client_context(self.ca), SERVICE, FORM, TIMING, connections=self.connections, streams=STREAMS
        )
