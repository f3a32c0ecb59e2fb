"""The header fields of a push, as the four services read them, and how much each takes."""

import hashlib
from base64 import urlsafe_b64encode
from functools import lru_cache
from typing import Final

from worker.core.sealing import LONGEST
from worker.providers.web.endpoint import is_known
from worker.providers.web.render import SHORT, Push

#: Seconds of the longest life that Google gives a message.
LONGEST_LIFE: Final = 28 * 86_400
Fields = tuple[tuple[str, str], ...]
_MOZILLA: Final = ("*.push.services.mozilla.com",)
_WINDOWS: Final = ("*.notify.windows.com",)


@lru_cache(maxsize=1_024)
def limit_at(host: str) -> int:
    """Octets of a payload that every browser behind a push service takes."""
    return SHORT if is_known(host, _MOZILLA) else LONGEST


def urgency_of(priority: int) -> str:
    """Of Apple's priorities, as a payload has them."""
    return "high" if priority >= 10 else "normal" if priority >= 5 else "low"


def topic_of(collapse_id: str) -> str:
    """32 characters of base64url. Apple's service decodes a topic, so not each length will do; all services see it."""
    return urlsafe_b64encode(
        hashlib.blake2b(collapse_id.encode(), digest_size=24, person=b"carillon").digest()
    ).decode()


def life(push: Push, now: float) -> int:
    """Seconds for which a push service keeps it, from `now` (UNIX seconds)."""
    return min(max(0, push.expires_at - int(now)), LONGEST_LIFE)


@lru_cache(maxsize=1_024)
def shared_fields(host: str, urgency: str, *, lives: bool) -> Fields:
    """The header fields that many requests to a host have in common, but that which says who sends."""
    given = (
        ("urgency", urgency),
        ("content-encoding", "aes128gcm"),
        ("content-type", "application/octet-stream"),
    )
    if is_known(host, _WINDOWS):
        # Microsoft refuses a life of 0 seconds beside `cache`, which is the default.
        return (*given, ("x-wns-cache-policy", "cache" if lives else "no-cache"))
    return given


def fields(push: Push, host: str, now: float) -> dict[str, str]:
    """All of them."""
    seconds = life(push, now)
    return {"ttl": str(seconds), "topic": push.topic, **dict(shared_fields(host, push.urgency, lives=seconds > 0))}
