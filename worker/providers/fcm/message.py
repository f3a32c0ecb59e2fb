"""Converts the neutral payload to FCM's JSON (`messages:send`, HTTP v1 API) once for a sending; adds the parts of a device.

What Android reads is in its own block, so that FCM adds none of it to the payload for Apple devices. There is no `collapse_key`,
because FCM keeps four of them for a device and loses the rest. `android.notification`, which replaces itself by its `tag`, is
only there with the display `system`.

Source: Google, "REST Resource: projects.messages", revision 20261023.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from producers.targeting import MAX_BADGE
from worker.core.batch import Sending
from worker.core.calls import needs_code
from worker.core.notification import CONVERSATION, HEAD, Rendered
from worker.providers.fcm.cut import fitted
from worker.providers.fcm.settings import FcmSettings

#: Octets of the part for Android, as JSON, and of the payload for APNs, to which FCM adds keys.
ANDROID_LIMIT: Final = 4_000
APNS_LIMIT: Final = 3_700
#: Octets that the id and all badges add to the part for Android and to the payload for APNs, at most.
_ANDROID_ROOM: Final = len('"id":"","badge":"2147483647","notification_count":2147483647,') + 36
_APNS_ROOM: Final = len('"badge":2147483647,')
#: Seconds that FCM keeps a message, at most: 28 days.
LONGEST_TTL: Final = 2_419_200

#: The platform whose block a request has; `all` if the platform of the device is not known.
Blocks = Literal["android", "apple", "all"]
APPLE: Final = frozenset(("ios", "ipados", "macos", "tvos", "visionos", "watchos"))

#: Name in APNs -> name in FCM.
_LOCALISED: Final = {
    "title-loc-key": "title_loc_key",
    "title-loc-args": "title_loc_args",
    "loc-key": "body_loc_key",
    "loc-args": "body_loc_args",
}
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


#: Gaps in a body for the parts that differ between the devices of a sending; compared by identity.
TTL, ID, BADGE, _TOKEN = b"(ttl)", b"(id)", b"(badge)", b"(token)"


class Body(NamedTuple):
    """The body of a request in parts; the last but one is the token."""

    parts: list[bytes]
    #: Indexes of the gaps; 0: there is none.
    ttl: int
    id: int
    badges: tuple[int, ...]


class Form(NamedTuple):
    """The common part of a sending's requests, without a badge and with one."""

    bare: Body
    numbered: Body


class Message(NamedTuple):
    """One request to FCM. `repr` is long and holds message text: never log it."""

    form: Form
    token: str
    id: str
    badge: int | None
    #: UNIX seconds.
    expires_at: int
    #: Whether the device is known to be an Apple device.
    apple: bool

    @property
    def payload(self) -> bytes:
        """The body, with the longest ttl."""
        return self.content(LONGEST_TTL)

    def content(self, ttl: int) -> bytes:
        """The body. `ttl`: seconds for which FCM may keep it."""
        form, token, id, badge, _, _ = self
        body = form.bare if badge is None else form.numbered
        parts = body.parts.copy()
        if badge is not None and body.badges:
            number = b"%d" % (badge if 0 <= badge <= MAX_BADGE else min(max(badge, 0), MAX_BADGE))
            for place in body.badges:
                parts[place] = number
        if body.ttl:
            parts[body.ttl] = b"%d" % ttl
        if body.id:
            parts[body.id] = id.encode()
        parts[-2] = token.encode()
        return b"".join(parts)


def blocks_for(platform: str) -> Blocks:
    if platform == "android":
        return "android"
    return "apple" if platform in APPLE else "all"


def counted(body: str) -> tuple[str, int]:
    """The part of a body that FCM counts, and our limit in octets, for the part that is nearest to its limit."""
    said = _decode(body)["message"]
    android, apns = _object(said.pop("android", None)), _object(said.pop("apns", None))
    del said["token"]
    read = _encode(said | {key: android[key] for key in ("data", "notification") if key in android})
    parts = [(read, ANDROID_LIMIT), (_encode(apns.get("payload", {})), APNS_LIMIT)]
    payload, limit = max(parts, key=lambda part: len(part[0]) / part[1])
    return payload.decode(), limit


def kept_until(sending: Sending) -> int:
    """UNIX seconds until which FCM, and APNs behind it, may keep it; 0: they deliver it now or never."""
    return 0 if sending.fleeting else sending.expires_at


def ttl(expires_at: int, now: float) -> int:
    """Seconds from `now`, within FCM's limits; 0: FCM delivers it now or never."""
    return min(max(0, expires_at - int(now)), LONGEST_TTL)


def channel_of(settings: FcmSettings, sending: Sending) -> str | None:
    """The Android channel of a notification that Android itself shows: the provider's own, but for what is silent."""
    if sending.importance == "silent":
        return sending.importance
    return settings.channel_id or sending.importance or None


def form(settings: FcmSettings, sending: Sending, blocks: Blocks) -> Form:
    """The body of a sending's requests, within FCM's limits: texts are cut, then keys are left out that an app can miss."""
    rendered = Rendered(sending.prefix.encode(), sending.suffix.encode())
    document = _decode(rendered.payload())
    read = _Read.of(settings, sending, document)
    if _over(document, read, blocks) > 0:
        document = fitted(document, lambda one: _over(one, _Read.of(settings, sending, one), blocks))
        read, rendered = _Read.of(settings, sending, document), _rendered(document, counted=bool(rendered.suffix))
    bare = _body(sending, read, rendered, blocks, counted=False)
    return Form(bare, _body(sending, read, rendered, blocks, counted=bool(rendered.suffix)))


class _Read(NamedTuple):
    """The part for Android: JSON objects without the id and a counted badge."""

    data: bytes
    #: Empty if the app's code shows the notification.
    notification: bytes
    urgent: bool

    @classmethod
    def of(cls, settings: FcmSettings, sending: Sending, document: dict[str, Any]) -> "_Read":
        seen = sending.push_type != "background" and any(_alert(document["aps"]).values())
        # Only the app's code opens what is sealed, and shows a call on the whole screen.
        system = seen and settings.display == "system" and not sending.inside and not needs_code(sending)
        return cls(
            _encode(_data(sending, document, texts=not system)),
            _encode(_notification(settings, sending, document) if system else {}),
            # FCM lowers the priority of apps that send `HIGH` messages and show nothing.
            seen and sending.priority == 10,
        )


def _over(document: dict[str, Any], read: _Read, blocks: Blocks) -> int:
    """Octets by which the block is too large that exceeds its limit most."""
    android = len(read.data) + len(read.notification) + _ANDROID_ROOM - ANDROID_LIMIT
    apns = len(_encode(document)) + _APNS_ROOM - APNS_LIMIT
    return android if blocks == "android" else apns if blocks == "apple" else max(android, apns)


def _body(sending: Sending, read: _Read, rendered: Rendered, blocks: Blocks, *, counted: bool) -> Body:
    """`counted`: with gaps for the badge."""
    pieces = [b'{"message":{']
    if blocks != "apple":
        pieces += _android(read, counted=counted)
    if blocks != "android":
        pieces += _apns(sending, rendered, counted=counted)
    return joined(pieces)


def joined(pieces: Sequence[bytes]) -> Body:
    """The pieces of a message, then the token."""
    parts, places = [b""], {}
    badges: list[int] = []
    for piece in (*pieces, b'"token":"', _TOKEN, b'"}}'):
        if piece is TTL or piece is ID or piece is BADGE or piece is _TOKEN:
            places[piece] = len(parts)
            badges += [len(parts)] if piece is BADGE else []
            parts += (piece, b"")
        else:
            parts[-1] += piece
    return Body(parts, places.get(TTL, 0), places.get(ID, 0), tuple(badges))


def _android(read: _Read, *, counted: bool) -> list[bytes]:
    priority = b"HIGH" if read.urgent else b"NORMAL"
    pieces = [b'"android":{"priority":"%b","ttl":"' % priority, TTL, b's","data":{"id":"', ID, b'",']
    if counted:
        pieces += (b'"badge":"', BADGE, b'",')
    pieces.append(read.data[1:])
    if read.notification != b"{}":
        pieces.append(b',"notification":{')
        if counted:
            pieces += (b'"notification_count":', BADGE, b",")
        pieces.append(read.notification[1:])
    return [*pieces, b"},"]


def _apns(sending: Sending, rendered: Rendered, *, counted: bool) -> list[bytes]:
    headers = {
        "apns-push-type": sending.push_type,
        "apns-priority": str(sending.priority),
        "apns-expiration": str(kept_until(sending)),
        "apns-collapse-id": sending.collapse_id,
    }
    pieces = [b'"apns":{"headers":%b,"payload":' % _encode(headers), rendered.prefix]
    if counted:
        pieces += (b'"badge":', BADGE, b"" if rendered.suffix.startswith(b"}") else b",")
    return [*pieces, rendered.suffix, b"},"]


def _data(sending: Sending, document: dict[str, Any], *, texts: bool) -> dict[str, str]:
    """The data for the app's code. All values are strings, because FCM allows no others."""
    aps, carillon = document["aps"], _object(document.get("carillon"))
    sender, alert = _object(carillon.get("sender")), _alert(aps)
    others = {key: value for key, value in document.items() if key not in ("aps", "carillon")}
    found = {
        "event": None if sending.inside else sending.event_id,
        "kind": sending.kind,
        "collapse_id": sending.collapse_id,
        "channel": carillon.get("channel"),
        "message": carillon.get("message"),
        "parent": carillon.get("parent"),
        "at": carillon.get("at"),
        "why": carillon.get("why"),
        "call": carillon.get("call"),
        "digest": carillon.get("digest"),
        **{key: carillon.get(key) for key in CONVERSATION},
        "importance": sending.importance,
        "sender": sender.get("id"),
        "sender_name": sender.get("name"),
        "image": sender.get("image"),
        "count": carillon.get("count"),
        "clear": carillon.get("clear"),
        "retract": carillon.get("retract"),
        "truncated": carillon.get("truncated"),
        "thread": aps.get("thread-id"),
        "category": aps.get("category"),
        "sealed": carillon.get("sealed"),
        "data": others | _object(carillon.get("data")) or None,
        "badge": aps.get("badge"),
    }
    if texts:
        found |= {"sound": _sound(aps)} | {key: alert.get(key) for key in ("title", "subtitle", "body")}
        found |= {name: alert.get(key) for key, name in _LOCALISED.items()}
    return {key: text for key, value in found.items() if (text := _text(value))}


def _notification(settings: FcmSettings, sending: Sending, document: dict[str, Any]) -> dict[str, Any]:
    """The notification that Android itself shows; it has no line for a subtitle."""
    aps = document["aps"]
    alert, image = _alert(aps), _object(_object(document.get("carillon")).get("sender")).get("image")
    found = {
        "title": " · ".join(text for key in ("title", "subtitle") if (text := _text(alert.get(key)))),
        "body": _text(alert.get("body")),
        "tag": sending.collapse_id,
        "channel_id": channel_of(settings, sending),
        "sound": _sound(aps),
        "image": image if isinstance(image, str) and image.startswith("https://") else None,
        "notification_count": aps.get("badge"),
    }
    for key, name in _LOCALISED.items():
        value = alert.get(key)
        found[name] = list(map(_text, value)) if isinstance(value, list) else _text(value)
    return {key: value for key, value in found.items() if value not in (None, "", [])}


def _rendered(document: dict[str, Any], *, counted: bool) -> Rendered:
    payload = _encode({"aps": document["aps"]} | document)
    return Rendered(HEAD, payload[len(HEAD) :]) if counted else Rendered(payload, b"")


def _alert(aps: dict[str, Any]) -> dict[str, Any]:
    alert = aps.get("alert")
    return {"body": alert} if isinstance(alert, str) else _object(alert)


def _sound(aps: dict[str, Any]) -> str | None:
    sound = aps.get("sound")
    name = sound.get("name") if isinstance(sound, dict) else sound
    return name if isinstance(name, str) else None


def _text(value: object) -> str:
    """A string as it is, nothing as '', any other value as JSON."""
    if value is None or isinstance(value, str):
        return value or ""
    return _encode(value).decode()


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
