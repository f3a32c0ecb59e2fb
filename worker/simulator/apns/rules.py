"""APNs' rules for one request, as pure functions.

Where a request has several faults Apple does not say which one is named; here the order is method, path, repeated headers,
authorization, header values, topic, payload size, device token.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

#: Push type -> what its topic has after the bundle id. None: the topic is not a bundle id at all.
SUFFIX_OF: Final[dict[str, str | None]] = {
    "alert": "",
    "background": "",
    "voip": ".voip",
    "liveactivity": ".push-type.liveactivity",
    "complication": ".complication",
    "widgets": ".push-type.widgets",
    "controls": ".push-type.controls",
    "location": ".location-query",
    "fileprovider": ".pushkit.fileprovider",
    "pushtotalk": ".voip-ptt",
    "mdm": None,
}
#: The priorities of push types that may not have every one.
PRIORITIES_OF: Final = {"background": ("5", "1"), "liveactivity": ("10", "5"), "location": ("10", "5")}
MAX_PAYLOAD: Final = 4096
MAX_VOIP_PAYLOAD: Final = 5120
MAX_COLLAPSE_ID: Final = 64
PATH: Final = "/3/device/"

HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})+")
UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]+")
DIGITS: Final = re.compile(r"[0-9]{1,19}")


class Push(NamedTuple):
    """A request that the rules let pass. Token and id are in lower case; an absent header is None."""

    token: str
    apns_id: str | None
    topic: str | None
    push_type: str | None
    priority: int
    expiration: int | None
    collapse_id: str | None


class TopicRules(NamedTuple):
    """What a service knows for its judgement."""

    #: Bundle ids; empty: every well-formed one.
    topics: frozenset[str] = frozenset()
    #: The topic where a client certificate lets it be omitted.
    default_topic: str | None = None
    #: The only topics of a client certificate or key, suffixes included; None: no such bound.
    only_topics: frozenset[str] | None = None


#: Judges the value of `authorization`; None: no objection.
Authorize = Callable[[bytes | None], str | None]


def judge(
    fields: Sequence[tuple[bytes, bytes]], size: int, topic_rules: TopicRules, authorize: Authorize
) -> Push | str:
    """The push, or the reason of its refusal. `size` is that of the payload in octets."""
    headers = dict(fields)
    if headers.get(b":method") != b"POST":
        return "MethodNotAllowed"
    path = _text(headers, b":path") or ""
    if not path.startswith(PATH) and path != PATH[:-1]:
        return "BadPath"
    if len(headers) != len(fields):
        return "DuplicateHeaders"
    if (reason := authorize(headers.get(b"authorization"))) is not None:
        return reason
    push = _values(headers, path[len(PATH) :].lower())
    if isinstance(push, str):
        return push
    topic = push.topic or topic_rules.default_topic
    return (
        topic_fault(topic, push.push_type, topic_rules) or payload_fault(size, push) or token_fault(push.token) or push
    )


def _text(headers: dict[bytes, bytes], name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("utf-8", "replace")


def _values(headers: dict[bytes, bytes], token: str) -> Push | str:
    apns_id = _text(headers, b"apns-id")
    if apns_id is not None and not UUID.fullmatch(apns_id):
        return "BadMessageId"
    expiration = _text(headers, b"apns-expiration")
    if expiration is not None and not DIGITS.fullmatch(expiration):
        return "BadExpirationDate"
    push_type = _text(headers, b"apns-push-type")
    if push_type is not None and push_type not in SUFFIX_OF:
        return "InvalidPushType"
    priority = _text(headers, b"apns-priority") or "10"
    if priority not in PRIORITIES_OF.get(push_type or "", ("10", "5", "1")):
        return "BadPriority"
    if len(headers.get(b"apns-collapse-id", b"")) > MAX_COLLAPSE_ID:
        return "BadCollapseId"
    return Push(
        token,
        apns_id and apns_id.lower(),
        _text(headers, b"apns-topic"),
        push_type,
        int(priority),
        None if expiration is None else int(expiration),
        _text(headers, b"apns-collapse-id"),
    )


@lru_cache(maxsize=1024)
def topic_fault(topic: str | None, push_type: str | None, topic_rules: TopicRules) -> str | None:
    """Why the topic is refused: absent, ill-formed or unfit for the push type, or not one of the service's."""
    if topic is None:
        return "MissingTopic"
    if not _TOPIC.fullmatch(topic):
        return "BadTopic"
    if topic_rules.only_topics is not None and topic not in topic_rules.only_topics:
        return "TopicDisallowed"
    if not topic_rules.topics or push_type == "mdm":
        return None if _fits(topic, push_type) else "BadTopic"
    bundle = next((bundle for bundle in topic_rules.topics if topic == bundle or _extends(topic, bundle)), None)
    if bundle is None:
        return "TopicDisallowed"
    suffix = SUFFIX_OF[push_type] if push_type else topic[len(bundle) :]
    return None if topic == f"{bundle}{suffix}" else "BadTopic"


def _extends(topic: str, bundle: str) -> bool:
    return topic.startswith(bundle) and topic[len(bundle) :] in SUFFIX_OF.values()


def _fits(topic: str, push_type: str | None) -> bool:
    suffix = SUFFIX_OF[push_type] if push_type else None
    if suffix is None:
        return True
    if suffix:
        return topic.endswith(suffix) and len(topic) > len(suffix)
    return not any(topic.endswith(other) for other in SUFFIX_OF.values() if other)


def payload_limit(push_type: str | None) -> int:
    """Octets that a payload of the push type may have."""
    return MAX_VOIP_PAYLOAD if push_type == "voip" else MAX_PAYLOAD


def payload_fault(size: int, push: Push) -> str | None:
    """Why the payload's size is refused."""
    if not size:
        return "PayloadEmpty"
    return "PayloadTooLarge" if size > payload_limit(push.push_type) else None


def token_fault(token: str) -> str | None:
    """Why the form of a device token is refused; any even length passes."""
    if not token:
        return "MissingDeviceToken"
    return None if HEX.fullmatch(token) else "BadDeviceToken"
