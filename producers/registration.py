"""Registering and unregistering a device as calls: the events they publish, and what their answers mean."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypedDict, Unpack
from uuid import uuid4

import msgspec

from producers.errors import EventError, NoReplyError, RateLimitError, RefusedError, SupersededError

#: Seconds for which a call may wait.
MAX_WAIT: Final = 60.0


class Registration(TypedDict, total=False):
    """What may be said of a device beside its app, user and token; see the contract. Whatever is left out is null."""

    #: Of a browser, in place of the token.
    subscription: Mapping[str, Any] | None
    #: `ios`, `android`, `web` or another short lower-case name.
    platform: str | None
    provider: str | None
    environment: str | None
    locale: str | None
    app_version: str | None
    attributes: Mapping[str, Any]
    #: What this build of the app understands: `clear`, `sealed`, ...
    accepts: Sequence[str]
    #: What sealed payloads for it are encrypted with: `id`, `scheme`, `p256dh`, `auth`.
    keys: Mapping[str, str] | None
    #: How much of a message the push service may read at most: `full`, `sender`, `id`, `sealed`.
    privacy: str | None
    #: The user has no account: ignored, but counted.
    anonymous: bool
    #: When it happened; default: now. Give both in a repeat of the same call.
    at: datetime
    #: The event's id; default: made up.
    id: str


def registered(
    app: str, user: str, token: str | None, reply: str | None, **more: Unpack[Registration]
) -> dict[str, Any]:
    """The `device.registered` for the call, not yet checked."""
    device = {name: more[name] for name in _DEVICE if more.get(name) is not None}
    if token is not None:
        device["token"] = token
    return {
        **_envelope("device.registered", app, more.get("id"), more.get("at"), reply),
        "user": user,
        "anonymous": more.get("anonymous", False),
        "device": device,
    }


def unregistered(
    app: str,
    token: str | None,
    subscription: Mapping[str, Any] | None,
    user: str | None,
    id: str | None,
    at: datetime | None,
    reply: str | None,
) -> dict[str, Any]:
    """The `device.unregistered` for the call, not yet checked."""
    device = {"token": token, "subscription": subscription}
    return {**_envelope("device.unregistered", app, id, at, reply), "user": user, "device": device}


def reply_id(wait: float | None) -> str | None:
    """The reply id, if the caller wants to wait. Raises `EventError` for an invalid wait."""
    if wait is None:
        return None
    if not 0 < wait <= MAX_WAIT:
        raise EventError(f"wait: expected more than 0 and at most {MAX_WAIT:g} seconds, or None not to wait")
    return uuid4().hex


def check_reply(answer: Any, wait: float) -> None:
    """Returns if the answer is a success, otherwise raises its error. `answer`: the result of BRPOP."""
    if answer is None:
        raise NoReplyError(
            f"no worker reported the outcome within {wait:g} s; the event is on the stream and takes effect once one reads it: "
            "check that workers run, and repeat the call: that is harmless"
        )
    reply = msgspec.json.decode(answer[1], type=_Answer)
    if reply.code == "superseded":
        raise SupersededError(reply.error, reply.at)
    if not reply.ok:
        raise RateLimitError(reply.error) if reply.code == "rate_limit" else RefusedError(reply.error)


class _Answer(msgspec.Struct):
    ok: bool
    code: str = ""
    error: str = ""
    at: datetime | None = None


_DEVICE: Final = (
    *("subscription", "platform", "provider", "environment", "locale", "app_version", "attributes"),
    *("accepts", "keys", "privacy"),
)


def _envelope(kind: str, app: str, id: str | None, at: datetime | None, reply: str | None) -> dict[str, Any]:
    when = at or datetime.now(UTC)
    return {"v": 1, "type": kind, "id": id or uuid4().hex, "app": app, "at": when.isoformat(), "reply": reply}
