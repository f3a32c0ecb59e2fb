"""Broadcast channels: what an APNs keeps of them, and Apple's rules for the requests about them.

As in `rules.py` the order in which faults are named is ours.
"""

import base64
import binascii
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from worker.simulator.apns.rules import DIGITS, SUFFIX_OF, UUID, Authorize, Push

#: Where updates are sent, and where channels are managed, in front of the bundle id.
PUBLISH: Final = "/4/broadcasts/apps/"
MANAGE: Final = "/1/apps/"
MAX_PAYLOAD: Final = 5120
#: Octets of a channel's id, at most.
_LONGEST_ID: Final = 64
_PATH: Final = re.compile(r"/4/broadcasts/apps/(?P<to>[^/]+)|/1/apps/(?P<of>[^/]+)/(?P<what>channels|all-channels)")
_METHODS: Final = {"channels": ("POST", "GET", "DELETE"), "all-channels": ("GET",)}
_CREATED: Final = frozenset(("message-storage-policy", "push-type"))


class Broadcast(Push):
    """An update for a channel: `token` is the channel, `topic` the bundle id, `apns_id` the request's id."""

    __slots__ = ()


class Managed(NamedTuple):
    """What was done about channels. `token` is the channel, `apns_id` the request's id."""

    status: int
    token: str
    apns_id: str | None
    body: bytes = b""


class Channels:
    """The channels of an APNs. `most` is for each bundle id. Not `enabled`: no app has the capability."""

    def __init__(self, most: int, *, enabled: bool) -> None:
        self._most, self._enabled = most, enabled
        #: By bundle id, each with its policy: 1 where the newest update is stored.
        self._of: dict[str, dict[str, int]] = {}

    def judge(
        self,
        fields: Sequence[tuple[bytes, bytes]],
        body: bytes,
        authorize: Authorize,
        allows: Callable[[str], bool],
    ) -> Broadcast | Managed | str:
        """What passes the rules, and was done; else the reason. `allows` says whether the sender may use a bundle id."""
        headers = {name.decode("ascii", "replace"): value.decode("utf-8", "replace") for name, value in fields}
        path = _PATH.fullmatch(headers.get(":path", ""))
        if path is None:
            return "BadPath"
        if headers.get(":method") not in _METHODS.get(path["what"], ("POST",)):
            return "MethodNotAllowed"
        if len(headers) != len(fields):
            return "DuplicateHeaders"
        if (reason := authorize(dict(fields).get(b"authorization"))) is not None:
            return reason
        bundle, id = path["to"] or path["of"], headers.get("apns-request-id")
        if (reason := self._fault(bundle, id, allows)) is not None:
            return reason
        channels = self._of.setdefault(bundle, {})
        if path["to"]:
            return _publish(channels, bundle, headers, len(body))
        if path["what"] == "all-channels":
            return Managed(200, "", id, msgspec.json.encode({"channels": list(channels)}))
        if headers[":method"] == "POST":
            return self._create(channels, id, body)
        return _one(channels, headers, id)

    def _fault(self, bundle: str, id: str | None, allows: Callable[[str], bool]) -> str | None:
        if any(bundle.endswith(suffix) for suffix in SUFFIX_OF.values() if suffix):
            return "TopicDisallowed"
        if not allows(bundle):
            return "TopicMismatch"
        if not self._enabled:
            return "FeatureNotEnabled"
        return "BadMessageId" if id is not None and not UUID.fullmatch(id) else None

    def _create(self, channels: dict[str, int], id: str | None, body: bytes) -> Managed | str:
        try:
            asked = msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.DecodeError:
            return "BadRequestPayload"
        if asked.keys() - _CREATED:
            return "BadRequestParams"
        if asked.get("message-storage-policy") not in (0, 1):
            return "MissingChannelQueueSize"
        if "push-type" not in asked:
            return "MissingPushType"
        if asked != _policy(asked["message-storage-policy"]):
            return "InvalidPushType"
        if len(channels) >= self._most:
            return "CannotCreateChannelConfig"
        channel = base64.b64encode(secrets.token_bytes(16)).decode()
        channels[channel] = asked["message-storage-policy"]
        return Managed(201, channel, id)


def _policy(policy: int) -> dict[str, object]:
    return {"message-storage-policy": policy, "push-type": "LiveActivity"}


def _one(channels: dict[str, int], headers: Mapping[str, str], id: str | None) -> Managed | str:
    """Reads or deletes a channel."""
    if (reason := _channel_fault(channels, headers.get("apns-channel-id"))) is not None:
        return reason
    channel = headers["apns-channel-id"]
    if headers[":method"] == "DELETE":
        del channels[channel]
        return Managed(204, channel, id)
    return Managed(200, channel, id, msgspec.json.encode(_policy(channels[channel])))


def _channel_fault(channels: Mapping[str, int], channel: str | None) -> str | None:
    if channel is None:
        return "MissingChannelId"
    try:
        octets = base64.b64decode(channel, validate=True)
    except (binascii.Error, ValueError):
        return "BadChannelId"
    if not 0 < len(octets) <= _LONGEST_ID:
        return "BadChannelId"
    return None if channel in channels else "ChannelNotRegistered"


def _publish(channels: Mapping[str, int], bundle: str, headers: Mapping[str, str], size: int) -> Broadcast | str:
    if (reason := _channel_fault(channels, headers.get("apns-channel-id"))) is not None:
        return reason
    channel, push_type = headers["apns-channel-id"], headers.get("apns-push-type")
    if push_type is None:
        return "MissingPushType"
    if push_type.lower() != "liveactivity":
        return "InvalidPushType"
    expiration = headers.get("apns-expiration", "")
    if not DIGITS.fullmatch(expiration) or (int(expiration) and not channels[channel]):
        return "BadExpirationDate"
    if headers.get("apns-priority") not in ("5", "10"):
        return "BadPriority"
    if not size:
        return "PayloadEmpty"
    if size > MAX_PAYLOAD:
        return "PayloadTooLarge"
    id = headers.get("apns-request-id")
    return Broadcast(channel, id, bundle, "liveactivity", int(headers["apns-priority"]), int(expiration), None)
