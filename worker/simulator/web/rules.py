"""The rules of a push service for one request. Of several faults the first of this order is named:

endpoint, VAPID, the key of the subscription, TTL, urgency, encoding, topic, size.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from worker.simulator.decryption import sender_key
from worker.simulator.web import vapid
from worker.simulator.web.services import MOST_CONSTRAINED, PushService
from worker.simulator.web.subscriptions import Subscription, hash_of

#: Seconds that Mozilla and Google keep a message at most.
LONGEST_LIFE: Final = {"mozilla": 2_592_000, "google": 2_419_200}
_TOPIC: Final = re.compile(r"[0-9A-Za-z_-]{1,32}")
_MOZILLA_TOPIC: Final = re.compile(r"(?=.{1,32}\Z)[0-9A-Za-z_-]+=*")
_TTL: Final = re.compile(r"[0-9]{1,12}")
_URGENCIES: Final = frozenset({"very-low", "low", "normal", "high"})


class Verdict(NamedTuple):
    """What a request is, as far as it could be read. `token` is the endpoint; an absent header is None."""

    token: str
    service: PushService | None = None
    host: str = ""
    subscription: Subscription | None = None
    ttl: int | None = None
    urgency: str | None = None
    topic: str | None = None


def fault(verdict: Verdict, headers: Mapping[str, str], body: bytes, origin: str, now: float) -> str | None:
    """The reason why a request to a subscription is refused. `origin` is where it came to."""
    service, subscription = verdict.service, verdict.subscription
    assert service is not None
    assert subscription is not None
    sender = vapid.read(headers.get("authorization", ""), origin)
    if isinstance(sender, str):
        return sender
    if (reason := vapid.time_fault(sender, now)) is not None:
        return reason
    if service.name == "apple" and not vapid.is_subject(sender.subject):
        return "BadSubject"
    if subscription.key_hash is not None and hash_of(sender.key) != subscription.key_hash:
        return "VapidKeyMismatch"
    return (
        _ttl_fault(service, headers)
        or _encoding_fault(service, headers, body, sender.key)
        or _topic_fault(service, verdict.topic)
        or _size_fault(service, subscription, len(body))
    )


def _ttl_fault(service: PushService, headers: Mapping[str, str]) -> str | None:
    ttl = headers.get("ttl")
    if ttl is None:
        return "MissingTtl"
    if not _TTL.fullmatch(ttl):
        return "BadTtl" if ttl.removeprefix("-").isdigit() else "MissingTtl"
    if service.name == "microsoft" and (int(ttl) == 0) != (headers.get("x-wns-cache-policy", "cache") == "no-cache"):
        return "CachePolicyConflict"
    if headers.get("urgency", "normal") not in _URGENCIES and service.name != "mozilla":
        return "BadUrgency"
    return None


def _encoding_fault(service: PushService, headers: Mapping[str, str], body: bytes, key: bytes) -> str | None:
    if not body:
        return None
    if headers.get("content-encoding") != "aes128gcm":
        return "BadEncoding"
    if service.name == "mozilla" and (
        "dh=" in headers.get("crypto-key", "") or "salt=" in headers.get("encryption", "")
    ):
        return "BadEncoding"
    # The key of a signature is not to be that of the encryption (RFC 8292 §3.2).
    return "BadEncoding" if sender_key(body) == key else None


def _topic_fault(service: PushService, topic: str | None) -> str | None:
    if topic is None:
        return None
    if not (_MOZILLA_TOPIC if service.name == "mozilla" else _TOPIC).fullmatch(topic):
        return "BadWebTopic"
    # Apple decodes it.
    return "BadWebTopic" if service.name == "apple" and len(topic) % 4 == 1 else None


def _size_fault(service: PushService, subscription: Subscription, size: int) -> str | None:
    if subscription.constrained and size > MOST_CONSTRAINED:
        return "ConstrainedDevice"
    return "ContentTooLarge" if size > service.most else None
