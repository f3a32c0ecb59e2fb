"""A message that a template says in FCM's own JSON: sent as it is, with what it lacks filled in."""

import re
from typing import Any, Final

import msgspec

from worker.core.batch import Sending
from worker.core.template_language import BADGE_MARK
from worker.providers.fcm.message import BADGE, ID, TTL, Body, Form, channel_of, joined, kept_until
from worker.providers.fcm.settings import FcmSettings
from worker.providers.fcm.template import FcmTemplate

#: Gaps while the document is encoded: octets that no JSON has.
_GAPS: Final = {b"\x01": TTL, b"\x02": ID, b"\x03": BADGE}
_TTL, _ID = msgspec.Raw(b'"\x01s"'), msgspec.Raw(b'"\x02"')
_NUMBER, _NUMBER_AS_TEXT = msgspec.Raw(b"\x03"), msgspec.Raw(b'"\x03"')

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


def form(settings: FcmSettings, sending: Sending) -> Form:
    """The body of a sending's requests: the template's own, whatever the platform of the device."""
    return Form(_body(settings, sending, counted=False), _body(settings, sending, counted=True))


def _body(settings: FcmSettings, sending: Sending, *, counted: bool) -> Body:
    said = _decode(sending.prefix)
    for *above, key in FcmTemplate.badges:
        holder: Any = said
        for part in above:
            holder = holder.get(part, {})
        if holder.get(key) != BADGE_MARK:
            continue
        if counted:
            holder[key] = _NUMBER_AS_TEXT if above[-1] == "data" else _NUMBER
        else:
            del holder[key]
    _fill(said, settings, sending)
    pieces = re.split(rb"([\x01-\x03])", _encode(said)[:-1])
    return joined([b'{"message":', *(_GAPS.get(piece, piece) for piece in pieces), b","])


def _fill(said: dict[str, Any], settings: FcmSettings, sending: Sending) -> None:
    """Ids, ttl, priority and tag, each where the template has none."""
    android = said.setdefault("android", {})
    android.setdefault("priority", "HIGH" if sending.priority == 10 else "NORMAL")
    android.setdefault("ttl", _TTL)
    data = said["data"] if "data" in said and "data" not in android else android.setdefault("data", {})
    data.setdefault("id", _ID)
    data.setdefault("collapse_id", sending.collapse_id)
    if sending.importance:
        data.setdefault("importance", sending.importance)
    if "notification" in said or "notification" in android:
        shown = android.setdefault("notification", {})
        shown.setdefault("tag", sending.collapse_id)
        if channel := channel_of(settings, sending):
            shown.setdefault("channel_id", channel)
    if "notification" in said or "apns" in said:
        headers = said.setdefault("apns", {}).setdefault("headers", {})
        headers.setdefault("apns-push-type", sending.push_type)
        headers.setdefault("apns-priority", str(sending.priority))
        headers.setdefault("apns-expiration", str(kept_until(sending)))
        headers.setdefault("apns-collapse-id", sending.collapse_id)
