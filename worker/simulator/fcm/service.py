"""What all connections of an FCM simulator share."""

import time
from collections.abc import Mapping
from typing import Any

from worker.simulator.connection import Connection
from worker.simulator.fcm.connection import FcmConnection
from worker.simulator.fcm.entry import FcmEntry
from worker.simulator.fcm.limits import Limits
from worker.simulator.fcm.oauth import TokenEndpoint
from worker.simulator.fcm.settings import FcmSettings
from worker.simulator.player import Player
from worker.simulator.script import Script, read_script
from worker.simulator.service import Service


class FcmService(Service):
    """An FCM and the token endpoint that belongs to it, on one port."""

    kind = "fcm"
    entry = FcmEntry

    def __init__(self, settings: FcmSettings) -> None:
        super().__init__(settings)
        self.endpoint = TokenEndpoint(
            settings.accounts, settings.bearers, settings.token_life, as_text=settings.life_as_text
        )
        self.limits = Limits(settings.project_minute, settings.device_minute, settings.device_hour)
        self._oauth = settings.oauth
        self.set_oauth(settings.oauth)

    def connection(self, register: dict[int, Connection]) -> Connection:
        self.connections_total += 1
        return FcmConnection(self, self.endpoint, self.limits, register)

    def set_oauth(self, script: Script) -> None:
        """Replace the script of the token endpoint."""
        self.endpoint.player = Player(script, self.settings.seed, time.time(), str)

    def control(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> Any:
        if (method, path) != ("POST", "/oauth"):
            return super().control(method, path, query, body)
        self.set_oauth(read_script(body))
        return {"done": True}

    def counts(self) -> dict[str, object]:
        return super().counts() | {"token_requests": self.endpoint.asked}

    def reset(self) -> None:
        super().reset()
        self.endpoint.asked = 0
        self.set_oauth(self._oauth)
