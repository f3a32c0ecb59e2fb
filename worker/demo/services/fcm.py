"""FCM in the demo."""

import json
from typing import Any, Final

from worker.core.model import Provider
from worker.demo.services.base import Content, Place, Service, joined
from worker.demo.world import Device
from worker.providers.fcm.service_account import ServiceAccount, new_key
from worker.providers.fcm.settings import FcmSettings
from worker.simulator import Answer, Script
from worker.simulator import FcmSettings as SimulatorSettings
from worker.simulator.fcm.settings import Account

PROJECT: Final = "demo-chat-1f2e3"
#: The simulator reads each n-th document whole, which is the most of its work.
_CHECK_EVERY: Final = 20


class Fcm(Service):
    kind = "fcm"
    name = "FCM"
    platform = "android"
    busy = ("UNAVAILABLE", "INTERNAL")

    def __init__(self) -> None:
        self._account = ServiceAccount(PROJECT, f"demo@{PROJECT}.iam.gserviceaccount.com", "demokey001", new_key())

    def provider(self, app: str, at: Place) -> Provider:
        settings = FcmSettings(self._account, "app", host=at.host, port=at.port, ca=at.ca)
        return Provider(0, app, self.kind, "production", settings)

    def simulator(self, script: Script, seed: int) -> SimulatorSettings:
        account = Account(self._account.email, self._account.key_id, self._account.key, PROJECT)
        return SimulatorSettings(accounts=(account,), seed=seed, script=script, check_every=_CHECK_EVERY)

    def content(self, payload: Any) -> Content:
        data = payload["message"]["android"]["data"]
        return Content(
            data.get("message") or json.loads(data.get("data", "{}")).get("sync", ""),
            joined(data.get("title"), data.get("subtitle")),
            data.get("body", ""),
            data.get("channel", ""),
        )

    def refusal(self, device: Device) -> Answer:
        return Answer("UNREGISTERED" if device.nature == "gone" else "SENDER_ID_MISMATCH")
