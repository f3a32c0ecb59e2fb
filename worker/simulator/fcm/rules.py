"""Google's rules for one message, as pure functions. Where it has several faults, the first of this order is named:

recipient, token, reserved keys, life time, priority, the parts for other platforms, size.
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from worker.simulator.fcm.envelopes import Envelope, wrong_json
from worker.simulator.fcm.schema import Message, read
from worker.simulator.script import Answer

#: Octets of keys and values that were seen to pass; one more was refused, whatever the documented 4,096 say.
MOST_DATA: Final = 4506
MOST_APNS: Final = 4096
LONGEST_LIFE: Final = 2_419_200
PATH: Final = re.compile(r"/v1/projects/([^/]+)/messages:send")

_TOKEN: Final = re.compile(r"[0-9A-Za-z_:-]{20,4096}")
_TOPIC: Final = re.compile(r"[a-zA-Z0-9-_.~%]+")
_DURATION: Final = re.compile(r"([0-9]{1,12})(?:\.[0-9]{1,9})?s")
_DIGITS: Final = re.compile(r"[0-9]+")
_RESERVED: Final = re.compile(r"from\Z|message_type\Z|gcm|google")
_PRIORITIES: Final = frozenset({"NORMAL", "HIGH", "normal", "high"})


class Verdict(NamedTuple):
    """What a request is, as far as it could be read; an absent value is None."""

    token: str
    project: str | None = None
    priority: str | None = None
    ttl: str | None = None
    collapse_key: str | None = None


class Refusal(NamedTuple):
    """Why a request is refused: a reason of ours, and the envelope where it is made for this document."""

    reason: str
    envelope: Envelope | None = None


#: A message that the rules let pass and that is not to be delivered.
VALIDATED: Final = Answer("VALIDATED")


def judge(body: bytes, project: str) -> tuple[Verdict, Refusal | None, bool]:
    """The verdict, why it is refused, and whether it is only to be validated."""
    document = read(body)
    if isinstance(document, Envelope):
        return Verdict("", project), Refusal("WRONG_JSON", document), False
    message = document.message
    if message is None:
        return Verdict("", project), Refusal("NO_RECIPIENT"), document.validate_only
    return verdict_of(message, project), fault(message, len(body)), document.validate_only


def verdict_of(message: Message, project: str) -> Verdict:
    """What the record keeps of a message."""
    target = message.token or message.fid or message.topic or message.condition or ""
    android = message.android
    if android is None:
        return Verdict(target, project)
    return Verdict(target, project, android.priority, android.ttl, android.collapse_key)


def fault(message: Message, size: int) -> Refusal | None:
    """Why a message that fits the schema is refused. `size` is that of the document in octets."""
    return (
        _target_fault(message)
        or _key_fault(tuple(message.data))
        or _platform_fault(message)
        # Nothing that counts is longer than the document.
        or (_size_fault(message) if size > MOST_APNS else None)
    )


def _target_fault(message: Message) -> Refusal | None:
    token = message.token
    if token is not None and message.topic is message.condition is message.fid is None:
        return None if _TOKEN.fullmatch(token) else Refusal("INVALID_TOKEN")
    targets = [one for one in (token, message.fid, message.topic, message.condition) if one]
    if len(targets) != 1:
        return Refusal("INVALID_ARGUMENT" if targets else "NO_RECIPIENT")
    if message.topic is not None and not _TOPIC.fullmatch(message.topic.removeprefix("/topics/")):
        return Refusal("INVALID_TOPIC")
    if message.condition is not None and " in topics" not in message.condition:
        return Refusal("INVALID_ARGUMENT")
    return None


@lru_cache(maxsize=1024)
def _key_fault(names: tuple[str, ...]) -> Refusal | None:
    for name in names:
        if _RESERVED.match(name):
            return _wrong("message.data", f"Invalid data payload key: {name}")
    return None


def _platform_fault(message: Message) -> Refusal | None:
    if message.android is not None:
        if message.android_v2 is not None:
            return Refusal("INVALID_ARGUMENT")
        if (refusal := _android_fault(message.android.ttl, message.android.priority)) is not None:
            return refusal
    if message.webpush is not None and not _DIGITS.fullmatch(message.webpush.headers.get("TTL", "0")):
        return Refusal("INVALID_WEB_TTL")
    if message.apns is not None:
        aps = message.apns.payload.get("aps", {})
        if not isinstance(aps, dict):
            return Refusal("INVALID_ARGUMENT")
        if not isinstance(aps.get("badge", 0), int | float):
            return _wrong("message.apns.payload.aps.badge", "Value type for APS key [badge] is a number.")
    return None


@lru_cache(maxsize=1024)
def _android_fault(ttl: str | None, priority: str | None) -> Refusal | None:
    if ttl is not None:
        where, found = "message.android.ttl", _DURATION.fullmatch(ttl)
        if found is None:
            return _wrong(
                where, f"Invalid value at '{where}' (type.googleapis.com/google.protobuf.Duration), \"{ttl}\""
            )
        if int(found[1]) > LONGEST_LIFE:
            return _wrong(where, "Invalid ttl")
    if priority is not None and priority not in _PRIORITIES:
        where = "message.android.priority"
        kind = "type.googleapis.com/google.firebase.fcm.v1.AndroidConfig.AndroidMessagePriority"
        return _wrong(where, f"Invalid value at '{where}' ({kind}), \"{priority}\"")
    return None


def _wrong(where: str, description: str) -> Refusal:
    return Refusal("WRONG_JSON", wrong_json(where, description))


def _size_fault(message: Message) -> Refusal | None:
    data = message.data
    if message.android is not None and message.android.data:
        data = data | message.android.data
    if len("".join([*data, *data.values()]).encode()) + _shown(message) > MOST_DATA:
        return Refusal("MESSAGE_TOO_LARGE")
    if message.apns is not None and len(msgspec.json.encode(message.apns.payload)) > MOST_APNS:
        return Refusal("MESSAGE_TOO_LARGE")
    return None


def _shown(message: Message) -> int:
    """Octets of the texts that the system shows."""
    if message.notification is None and (message.android is None or message.android.notification is None):
        return 0
    parts = [message.notification, message.android and message.android.notification]
    texts = [
        text
        for part in parts
        if part is not None
        for text in (getattr(part, name) for name in part.__struct_fields__)
        if isinstance(text, str)
    ]
    return len("".join(texts).encode())
