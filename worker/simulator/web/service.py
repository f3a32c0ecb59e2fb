"""What all connections of a simulator of push services share."""

from collections.abc import Mapping
from typing import Any

import msgspec

from worker.simulator.connection import Connection
from worker.simulator.service import Service
from worker.simulator.web.connection import Unread, WebConnection
from worker.simulator.web.entry import WebEntry
from worker.simulator.web.settings import WebSettings
from worker.simulator.web.subscriptions import Wish, make


class WebService(Service):
    """Four push services on one port, and their browsers."""

    kind = "web"
    entry = WebEntry

    def __init__(self, settings: WebSettings) -> None:
        super().__init__(settings)
        self._unread = Unread()

    def connection(self, register: dict[int, Connection]) -> Connection:
        self.connections_total += 1
        return WebConnection(self, self._unread, register)

    def control(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> Any:
        match method, path:
            case "POST", "/subscriptions":
                return make(self.settings.seed, msgspec.json.decode(body, type=Wish))
            case "GET", "/surviving":
                return [entry._asdict() for entry in self.surviving()]
        return super().control(method, path, query, body)

    def surviving(self) -> list[WebEntry]:
        """What browsers would get that were away all the time: the last message of each topic, and none with a TTL of 0."""
        last: dict[object, WebEntry] = {}
        for entry in self.record.accepted:
            if entry.ttl != 0:
                key = (entry.token, entry.topic) if entry.topic is not None else entry.number
                last.pop(key, None)
                last[key] = entry
        return list(last.values())

    def counts(self) -> dict[str, object]:
        return super().counts() | {"unreadable": dict(self._unread.counts)}

    def reset(self) -> None:
        super().reset()
        self._unread.counts.clear()
