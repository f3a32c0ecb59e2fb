"""The push services of browsers in the demo."""

import base64
from random import Random
from typing import Any, Final

from worker.core.model import Provider
from worker.demo.services.base import Content, Place, Service
from worker.demo.world import Device
from worker.providers.web.settings import WebSettings
from worker.providers.web.vapid import KeyPair, key_pair
from worker.simulator import Answer, Script
from worker.simulator import WebSettings as SimulatorSettings

SUBJECT: Final = "mailto:push@example.com"


def keys_of(seed: int) -> KeyPair:
    """The key pair that the browsers of a seed have subscribed with."""
    number = Random(f"vapid {seed}").randbytes(32)
    return key_pair(base64.urlsafe_b64encode(number).rstrip(b"=").decode())


class Web(Service):
    kind = "web"
    name = "Web Push"
    platform = "web"
    busy = ("InternalFault",)

    def __init__(self, seed: int) -> None:
        self._keys = keys_of(seed)

    def provider(self, app: str, at: Place) -> Provider:
        settings = WebSettings(SUBJECT, self._keys.public, self._keys.private, host=at.host, port=at.port, ca=at.ca)
        return Provider(0, app, self.kind, "production", settings)

    def simulator(self, script: Script, seed: int) -> SimulatorSettings:
        return SimulatorSettings(seed=seed, script=script)

    def content(self, payload: Any) -> Content:
        """Of the text that the browser decrypted."""
        shown, carillon = payload.get("notification", {}), payload.get("carillon", {})
        return Content(
            carillon.get("message") or payload.get("sync", ""),
            shown.get("title", ""),
            shown.get("body", ""),
            payload.get("thread", ""),
        )

    def refusal(self, device: Device) -> Answer:
        return Answer("NotRegistered")
