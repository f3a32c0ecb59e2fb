"""APNs' part in the demo: a key of our own, and a simulator that answers for each phone according to its nature."""

from collections.abc import Sequence
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from worker.core.model import Provider
from worker.demo.world import Phone
from worker.providers.apns.settings import ApnsSettings, Key
from worker.simulator import Answer, Rule, Script, Settings
from worker.simulator import Key as SigningKey

TOPIC: Final = "org.example.chat"
TEAM_ID: Final = "DEMOTEAM01"
KEY_ID: Final = "DEMOKEY001"
_DAY_MS: Final = 24 * 3600 * 1000
_BUSY: Final = ("TooManyRequests", "ServiceUnavailable", "InternalServerError")


def new_key() -> str:
    """A private key as Apple hands them out: P-256, PKCS#8, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def settings(key: str, phones: Sequence[Phone], seed: int, extra: Script | None = None) -> Settings:
    """A simulator that knows the key and the phones; the rules of `extra` come first."""
    script = Script(
        rules=(*(extra.rules if extra else ()), *_rules(phones)),
        tokens={phone.token: _refusal(phone) for phone in phones if phone.nature in ("gone", "foreign")},
        shares=extra.shares if extra else (),
        latency=extra.latency if extra else None,
    )
    return Settings(keys=(SigningKey(KEY_ID, TEAM_ID, key),), topics=(TOPIC,), seed=seed, script=script)


def provider(app: str, key: str, *, host: str, port: int, ca: str) -> Provider:
    settings = ApnsSettings(TOPIC, Key(TEAM_ID, KEY_ID, key), host=host, port=port, ca=ca)
    return Provider(0, app, "apns", "production", settings)


def _refusal(phone: Phone) -> Answer:
    if phone.nature == "gone":
        return Answer("Unregistered", timestamp=phone.registered_at + _DAY_MS // 2)
    return Answer("BadDeviceToken")


def _rules(phones: Sequence[Phone]) -> list[Rule]:
    """What happens to a phone once."""
    rules = []
    for number, phone in enumerate(phones):
        if phone.nature == "busy":
            rules.append(Rule(token=phone.token, count=1, answer=Answer(_BUSY[number % len(_BUSY)])))
        elif phone.nature == "returned":
            answer = Answer("Unregistered", timestamp=phone.registered_at - 3 * _DAY_MS)
            rules.append(Rule(token=phone.token, count=1, answer=answer))
    return rules
