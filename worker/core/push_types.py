"""Apple's push types: the topic each goes to, the priorities it may have, the size it may take. One table, and its checks.

Source: Apple, "Sending notification requests to APNs". `complication` is printed there with a stray letter in its suffix.
"""

import re
from typing import Final, NamedTuple

from worker.core.model import Notification, PushType


class NotificationError(ValueError):
    """A notification that APNs would refuse; the text names the field and the rule, never a value from it."""


class PushTypeRule(NamedTuple):
    """What Apple asks of one push type."""

    #: Goes behind the bundle id. None: the topic is not made from a bundle id and is used as it is given.
    suffix: str | None
    priority: int = 10
    priorities: tuple[int, ...] = (10, 5, 1)
    #: Largest payload, in bytes.
    limit: int = 4096
    #: Whether a client certificate may send it, as far as the type decides.
    certificate: bool = True


PUSH_TYPES: Final[dict[PushType, PushTypeRule]] = {
    "alert": PushTypeRule(""),
    # 10 is an error by Apple's words; 1 is milder than 5 and no page forbids it, but only 5 is promised to work.
    "background": PushTypeRule("", priority=5, priorities=(5,)),
    "voip": PushTypeRule(".voip", limit=5120),
    "complication": PushTypeRule(".complication"),
    "fileprovider": PushTypeRule(".pushkit.fileprovider"),
    "mdm": PushTypeRule(None),
    "liveactivity": PushTypeRule(".push-type.liveactivity", priorities=(10, 5)),
    "pushtotalk": PushTypeRule(".voip-ptt"),
    "location": PushTypeRule(".location-query", priorities=(10, 5), certificate=False),
    "widgets": PushTypeRule(".push-type.widgets"),
    "controls": PushTypeRule(".push-type.controls"),
}

COLLAPSE_ID_LIMIT: Final = 64
_TOKEN: Final = re.compile(r"(?:[0-9a-f]{2})+")
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: What a header value may hold: visible ASCII, with spaces inside.
_HEADER_VALUE: Final = re.compile(r"[!-~](?:[ -~]*[!-~])?")


class PushHeaders(NamedTuple):
    """The headers that a push type decides."""

    topic: str
    push_type: PushType
    priority: int


def headers_for(push_type: PushType, bundle_id: str, *, priority: int | None = None) -> PushHeaders:
    """Topic, type and priority of a push: the suffix added once, the priority the type's own unless given.

    For `mdm` the `bundle_id` is the UID of the certificate's subject. `NotificationError` where Apple's rules are broken.
    """
    rule = _rule(push_type)
    if not _HEADER_VALUE.fullmatch(bundle_id):
        raise NotificationError("topic: has to be a bundle id of visible ASCII characters")
    chosen = rule.priority if priority is None else priority
    if chosen not in rule.priorities:
        allowed = " or ".join(map(str, rule.priorities))
        raise NotificationError(f"priority: {push_type} takes {allowed}, not {chosen}")
    return PushHeaders(topic_of(push_type, bundle_id), push_type, chosen)


def topic_of(push_type: PushType, bundle_id: str) -> str:
    """The topic: the bundle id with the type's suffix, which is added once."""
    suffix = _rule(push_type).suffix or ""
    return bundle_id if bundle_id.endswith(suffix) else bundle_id + suffix


def check(notification: Notification) -> None:
    """Raises `NotificationError` for what APNs is certain to refuse, so that a bug of ours is found before it costs a request."""
    topic, push_type, priority, expiration, collapse_id, *_ = notification.heading
    rule = _rule(push_type)
    if not _TOKEN.fullmatch(notification.token):
        raise NotificationError("token: has to be lower-case hex of whole bytes")
    if not _UUID.fullmatch(notification.id):
        raise NotificationError("id: has to be a canonical lower-case UUID")
    headers_for(push_type, topic, priority=priority)
    if not topic.endswith(rule.suffix or ""):
        raise NotificationError(f"topic: {push_type} goes to a topic that ends in {rule.suffix}")
    if not 0 < len(notification.payload) <= rule.limit:
        size = len(notification.payload)
        raise NotificationError(f"payload: {size} bytes, {push_type} takes 1 to {rule.limit}")
    if expiration is not None and expiration < 0:
        raise NotificationError("expiration: has to be UNIX seconds, or 0 for one try")
    if collapse_id is not None and not (_HEADER_VALUE.fullmatch(collapse_id) and len(collapse_id) <= COLLAPSE_ID_LIMIT):
        raise NotificationError(f"collapse_id: has to be 1 to {COLLAPSE_ID_LIMIT} visible ASCII characters")


def _rule(push_type: PushType) -> PushTypeRule:
    try:
        return PUSH_TYPES[push_type]
    except KeyError:
        raise NotificationError(f"push_type: has to be one of {', '.join(PUSH_TYPES)}") from None
