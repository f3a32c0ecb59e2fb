"""A batch as a webhook gets it: the body, its signatures, and the id by which a receiver recognises a repeat.

docs/webhooks.md describes the names and signatures for receivers; this module defines them.
"""

import hashlib
import hmac
from collections.abc import Sequence
from typing import Final, NamedTuple

import jwt
import msgspec

from worker.core.batch import Job, Sending
from worker.core.model import Provider
from worker.core.notification import Rendered
from worker.core.push_ids import push_ids
from worker.core.triggers import trigger
from worker.providers.base import SettingsError
from worker.providers.webhook.settings import WebhookSettings

#: Recipients of one request; with a payload of 4 KiB each that is a body of some 450 kB.
LARGEST_BATCH: Final = 100
#: Seconds for which a JWT is valid.
JWT_SECONDS: Final = 300


class Recipient(NamedTuple):
    """One device of a batch, as the receiver reads it. `repr` is long and holds message text: never log it."""

    #: The same on every try, as the `apns-id` is.
    id: str
    event_id: str
    kind: str
    #: Why the user gets the push, one of the triggers: `mention`, `thread`, `message`; '' for what is not a message in a channel.
    why: str
    user: str
    #: As it was registered.
    device_id: str
    badge: int | None
    #: The JSON that a phone would get.
    payload: bytes
    #: UNIX seconds.
    expires_at: int
    #: What replaces what on a screen, and how urgent it is: 10, 5 or 1. As APNs would get them.
    collapse_id: str = ""
    priority: int = 10
    #: As of `loudness.Importance`.
    importance: str = ""
    #: What its app, channel, user or device ask for; the receiver gets everything in any mode.
    privacy: str = "full"


def recipients(
    app: str, sendings: Sequence[Sending], jobs: Sequence[Job], badges: Sequence[int | None]
) -> list[Recipient]:
    rendered = [Rendered(s.prefix.encode(), s.suffix.encode()) for s in sendings]
    made = []
    for job, id, badge in zip(jobs, push_ids(app, sendings, jobs), badges, strict=True):
        sending = sendings[job.sending]
        made.append(
            Recipient(
                id,
                sending.event_id,
                sending.kind,
                trigger(job.why) or job.why,
                job.user,
                job.token,
                badge,
                rendered[job.sending].payload(badge),
                sending.expires_at,
                sending.collapse_id,
                sending.priority,
                sending.importance,
                sending.privacy or "full",
            )
        )
    return made


def batch_id(some: Sequence[Recipient]) -> str:
    """32 hex digits that name these recipients in this order, on whatever try and from whatever worker."""
    return hashlib.blake2b("".join(one.id for one in some).encode(), digest_size=16, person=b"webhook").hexdigest()


def body(provider: Provider, batch: str, some: Sequence[Recipient]) -> bytes:
    entries = [one._asdict() | {"payload": msgspec.Raw(one.payload)} for one in some]
    return msgspec.json.encode({"app": provider.app, "provider": provider.name, "batch": batch, "recipients": entries})


def headers(provider: Provider, batch: str, content: bytes, now: int) -> dict[str, str]:
    """What a request bears beside its body; `now` in UNIX seconds. Raises `SettingsError` where no secret can be read."""
    settings: WebhookSettings = provider.settings
    if not settings.secrets:
        raise SettingsError("webhook: its secrets cannot be read")
    common = {"Content-Type": "application/json", "Carillon-Batch": batch, "Carillon-Timestamp": str(now)}
    if settings.signing == "jwt":
        tokens = [f"Bearer {token(secret, batch, content, now)}" for secret in settings.secrets]
        return common | dict(zip(("Authorization", "Carillon-Authorization"), tokens, strict=False))
    signatures = ",".join(f"v1={signature(secret, now, content)}" for secret in settings.secrets)
    return common | {"Carillon-Signature": signatures}


def signature(secret: str, now: int, content: bytes) -> str:
    """Hex of HMAC-SHA256 over `<timestamp>.<body>`."""
    return hmac.new(secret.encode(), b"%d.%b" % (now, content), hashlib.sha256).hexdigest()


def token(secret: str, batch: str, content: bytes, now: int) -> str:
    """A JWT over the body's hash, HS256."""
    claims = {"iss": "carillon", "iat": now, "exp": now + JWT_SECONDS, "jti": batch}
    return jwt.encode(claims | {"body_sha256": hashlib.sha256(content).hexdigest()}, secret, algorithm="HS256")
