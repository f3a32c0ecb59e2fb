"""APNs in the demo."""

from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from worker.core.model import Provider
from worker.demo.services.base import Content, Place, Service, joined
from worker.demo.world import Device
from worker.providers.apns.settings import ApnsSettings, Key
from worker.simulator import Answer, Script, Settings
from worker.simulator import Key as SigningKey

TOPIC: Final = "org.example.chat"
TEAM_ID: Final = "DEMOTEAM01"
KEY_ID: Final = "DEMOKEY001"
_DAY_MS: Final = 24 * 3600 * 1000


def new_key() -> str:
    """A private key as Apple hands them out: P-256, PKCS#8, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


class Apns(Service):
    kind = "apns"
    name = "APNs"
    platform = "ios"
    busy = ("TooManyRequests", "ServiceUnavailable", "InternalServerError")

    def __init__(self) -> None:
        self._key = new_key()

    def provider(self, app: str, at: Place) -> Provider:
        settings = ApnsSettings(TOPIC, Key(TEAM_ID, KEY_ID, self._key), host=at.host, port=at.port, ca=at.ca)
        return Provider(0, app, self.kind, "production", settings)

    def simulator(self, script: Script, seed: int) -> Settings:
        return Settings(keys=(SigningKey(KEY_ID, TEAM_ID, self._key),), topics=(TOPIC,), seed=seed, script=script)

    def content(self, payload: Any) -> Content:
        aps, carillon = payload.get("aps", {}), payload.get("carillon", {})
        alert = aps.get("alert", {})
        return Content(
            carillon.get("message") or payload.get("sync", ""),
            joined(alert.get("title"), alert.get("subtitle")),
            alert.get("body", ""),
            aps.get("thread-id", ""),
        )

    def refusal(self, device: Device) -> Answer:
        if device.nature == "foreign":
            return Answer("BadDeviceToken")
        since = _DAY_MS // 2 if device.nature == "gone" else -3 * _DAY_MS
        return Answer("Unregistered", timestamp=device.registered_at + since)
