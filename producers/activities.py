"""The payload of an `activity.updated` event as Apple takes it. It is here because its size is checked when it is published."""

from datetime import datetime
from typing import Any, Final

import msgspec

from producers.errors import EventError

#: Bytes of a payload to a token, and to a broadcast channel.
LIMIT: Final = 4_096
BROADCAST_LIMIT: Final = 5_120


def activity_payload(event: Any) -> bytes:
    """`timestamp` orders updates: the phone ignores one that is older than what it shows."""
    aps: dict[str, Any] = {"timestamp": _seconds(event.at), "event": event.event, "content-state": event.state}
    if event.stale_at is not None:
        aps["stale-date"] = _seconds(event.stale_at)
    if event.dismiss_at is not None:
        aps["dismissal-date"] = _seconds(event.dismiss_at)
    if event.alert is not None:
        texts = {"title": event.alert.title, "subtitle": event.alert.subtitle, "body": event.alert.body}
        aps["alert"] = {key: text for key, text in texts.items() if text}
    if event.event == "start":
        # It asks the app for the token of the activity that begins.
        aps |= {"attributes-type": event.attributes_type, "attributes": event.attributes, "input-push-token": 1}
    return msgspec.json.encode({"aps": aps})


def check_size(event: Any) -> None:
    """Raises `EventError` for what Apple would refuse. Nothing of it can be cut: the app decodes it whole."""
    limit = LIMIT if event.channel is None else BROADCAST_LIMIT
    if (size := len(activity_payload(event))) > limit:
        raise EventError(f"state: {size:,} bytes as a payload, Apple takes {limit:,}")


def _seconds(at: datetime) -> int:
    return int(at.timestamp())
