"""Calls: what a phone receives when one begins, when it has ended, and when it was missed. Pure.

A phone with a VoIP token gets the call there, and the system's own screen; every other device gets a loud notification, which the
end of the call replaces.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from producers.events import CallEnded, CallStarted, Message, MessageNew
from producers.fields import Privacy
from producers.targeting import BADGE_ROOM
from worker.core.batch import COUNT, LEAVE, Sending
from worker.core.call_phrases import Said, call_phrase
from worker.core.entry import ms_of
from worker.core.loudness import Importance
from worker.core.model import Device, PushType
from worker.core.names import clean_name
from worker.core.notification import HEAD, LIMIT, Rendered, collapse_id
from worker.core.privacy import FULL, Disclosure, by_id, padding, sealable
from worker.core.purposes import ALERT, VOIP
from worker.core.trace_context import sampled
from worker.core.truncation import fit, json_size

#: What is made of a call. Also the kind of its pushes, in a webhook and in FCM's data.
Kind = Literal["call", "call_ended", "missed_call"]
CALL: Final = "call"
ENDED: Final = "call_ended"
MISSED: Final = "missed_call"
KINDS: Final = frozenset((CALL, ENDED, MISSED))

#: Seconds for which a call lasts if its event does not say.
LIFE: Final = 30
#: Seconds after its end for which a notification about it is worth sending.
_WORTH: Final = {ENDED: 600, MISSED: 86_400}
#: Apple's limit of a VoIP push, in bytes.
VOIP_LIMIT: Final = 5_120
#: Reasons of `call.ended` after which nobody has spoken.
_UNANSWERED: Final = frozenset(("cancelled", "missed"))


class Call(NamedTuple):
    """A call as it began: what its notifications are made of, also long after the entry has left its stream."""

    entry: str
    place: int
    event: CallStarted

    @property
    def id(self) -> str:
        return self.event.call.id.lower()

    @property
    def expires_at(self) -> int:
        return expiration(self.event)


#: A call as Redis keeps it.
encode: Final = msgspec.json.Encoder().encode
decode: Final = msgspec.json.Decoder(Call).decode


class Targets(NamedTuple):
    """The devices of one user that a call is for."""

    #: With a VoIP token.
    voip: Sequence[Device]
    #: Those for alerts of phones without one.
    alert: Sequence[Device]
    #: Those for alerts of phones with one.
    siblings: Sequence[Device]


def expiration(event: CallStarted) -> int:
    """UNIX seconds at which the call is over."""
    return int(event.at.timestamp()) + LIFE if event.expires_at is None else int(event.expires_at.timestamp())


def is_of_call(sending: Sending) -> bool:
    """A message of a kind with such a name has a channel."""
    return sending.kind in KINDS and not sending.channel


def any_of_call(sendings: Sequence[Sending], kinds: Collection[str]) -> bool:
    """`kinds`: those of these sendings."""
    return not KINDS.isdisjoint(kinds) and any(map(is_of_call, sendings))


def needs_code(sending: Sending) -> bool:
    """Whether an Android app has to do more with it than show it: a call begins, or ends."""
    return is_of_call(sending) and sending.kind != MISSED


def targets(devices: Iterable[Device]) -> Targets:
    """Sorts a user's devices. What nobody said to be of one phone is of several."""
    found = list(devices)
    voip = [one for one in found if one.purpose == VOIP]
    phones = {one.installation for one in voip} - {""}
    alert = [one for one in found if one.purpose == ALERT]
    return Targets(
        voip,
        [one for one in alert if one.installation not in phones],
        [one for one in alert if one.installation in phones],
    )


def outcome(reason: str, *, tells_missed: bool) -> Kind:
    """What a call that has ended for this reason becomes on a screen."""
    return MISSED if reason in _UNANSWERED and tells_missed else ENDED


def as_message(event: CallStarted, locale: str | None = None) -> MessageNew:
    """The call as a message of kind `call` from its caller: for rules, and for those whom it only notifies."""
    said: Said = "video" if event.call.video else "audio"
    return MessageNew(
        id=event.id,
        app=event.app,
        at=event.at,
        traceparent=event.traceparent,
        channel=event.channel,
        message=Message(id=event.call.id, text=call_phrase(said, locale), kind=CALL, data=event.call.data),
        sender=event.caller,
        recipients=event.recipients,
        expires_at=event.expires_at,
    )


def voip_sending(call: Call, form: Privacy, ended: CallEnded | None = None) -> Sending:
    """For PushKit: all that the app needs to show the call without a network. An end says so in `ended`.

    `form` as of `Disclosure`. There is no sealed one: PushKit's handler has no time to open it.
    """
    payload = _fitted(
        lambda about: {"aps": {}, "carillon": {"call": about}}, _about(call.event, form, ended), VOIP_LIMIT
    )
    return _sending(call, ended, CALL if ended is None else ENDED, Rendered(payload, b""), "voip")


def alert_sending(
    call: Call,
    kind: Kind,
    locale: str | None,
    disclosure: Disclosure = FULL,
    ended: CallEnded | None = None,
    *,
    pad: int | None = None,
) -> Sending:
    """For every other device. An end and a missed call replace the call on the screen. `pad` as of `Attention`."""
    phrase = call_phrase(_said(kind, call.event, ended), locale)
    rendered = _alert(call.event, kind, phrase, disclosure.form, ended)
    if disclosure.form == "id":
        about = _about(call.event, "id", ended)
        ids = {"event": call.event.id, "channel": call.event.channel.id, "at": _ms(call.event), "call": about}
        return _sending(call, ended, kind, by_id(rendered, ids, phrase), "alert")
    if disclosure.form != "sealed":
        return _sending(call, ended, kind, rendered, "alert")
    whole = sealable(rendered, phrase, disclosure)
    if len(whole.inside) > whole.room:
        whole = sealable(_alert(call.event, kind, phrase, "sender", ended), phrase, disclosure)
    sending = _sending(call, ended, kind, whole.outside, "alert")
    room = padding(len(whole.inside), whole.room, pad)
    return msgspec.structs.replace(sending, inside=whole.inside.decode(), pad=room)


def _alert(event: CallStarted, kind: Kind, phrase: str, form: Privacy, ended: CallEnded | None) -> Rendered:
    caller = clean_name(event.caller.name) or clean_name(event.caller.id) or event.caller.id
    alert = {"title": caller, "body": phrase}
    if name := clean_name(event.channel.name):
        alert["subtitle"] = name
    aps: dict[str, Any] = {"alert": alert, "thread-id": event.channel.id, "mutable-content": 1, **_LOUDNESS[kind]}

    def document(about: Mapping[str, Any]) -> dict[str, Any]:
        common = {"event": event.id, "kind": kind, "channel": event.channel.id, "at": _ms(event), "why": CALL}
        return {"aps": aps, "carillon": {**common, "call": about}}

    payload = _fitted(document, _about(event, form, ended), LIMIT - BADGE_ROOM)
    return Rendered(HEAD, payload[len(HEAD) :]) if kind == MISSED else Rendered(payload, b"")


_IMPORTANCE: Final[Mapping[Kind, Importance]] = {"call": "calls", "missed_call": "direct", "call_ended": "silent"}
_LOUDNESS: Final[Mapping[Kind, Mapping[str, Any]]] = {
    "call": {
        "sound": "call",
        "category": "CALL",
        "interruption-level": "time-sensitive",
        "relevance-score": 1.0,
    },
    "missed_call": {"sound": "default", "category": "MISSED_CALL"},
    "call_ended": {"interruption-level": "passive"},
}


def _said(kind: Kind, event: CallStarted, ended: CallEnded | None) -> Said:
    if kind == CALL:
        return "video" if event.call.video else "audio"
    if kind == MISSED:
        return "missed"
    if ended is not None and ended.reason == "answered_elsewhere":
        return "answered"
    return "declined" if ended is not None and ended.reason == "declined_elsewhere" else "over"


def _about(event: CallStarted, form: Privacy, ended: CallEnded | None) -> dict[str, Any]:
    """`carillon.call`: all of it, or without data and image (`sender`), or without the caller and all names too (`id`)."""
    caller, channel = event.caller, event.channel
    about: dict[str, Any] = {
        "id": event.call.id.lower(),
        "video": event.call.video,
        "channel": {"id": channel.id},
        "expires_at": expiration(event) * 1000,
    }
    if form != "id":
        about["channel"] = _present({"id": channel.id, "name": clean_name(channel.name), "kind": channel.kind})
        image = None if form == "sender" else caller.image
        about["caller"] = _present({"id": caller.id, "name": clean_name(caller.name), "image": image})
    if event.call.data and form in ("full", "sealed"):
        about["data"] = event.call.data
    if ended is not None:
        about["ended"] = ended.reason
    return about


def _present(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value}


def _fitted(document: Any, about: dict[str, Any], limit: int) -> bytes:
    """The payload within `limit` bytes: the data goes first, then the caller's image, then the ends of names."""
    payload: bytes = encode(document(about))
    for shrink in (_no_data, _no_image, _short_names):
        if len(payload) <= limit:
            break
        payload = encode(document(shrink(about)))
    return payload


def _no_data(about: dict[str, Any]) -> dict[str, Any]:
    about.pop("data", None)
    return about


def _no_image(about: dict[str, Any]) -> dict[str, Any]:
    about.get("caller", {}).pop("image", None)
    return about


def _short_names(about: dict[str, Any]) -> dict[str, Any]:
    for whose in ("caller", "channel"):
        named = about.get(whose, {})
        if json_size(named.get("name") or "") > _NAME:
            named["name"] = fit(named["name"], _NAME)
    return about


#: Bytes kept of each name once names have to give way.
_NAME: Final = 80


def _ms(event: CallStarted) -> int:
    return int(event.at.timestamp() * 1000)


def _sending(call: Call, ended: CallEnded | None, kind: Kind, rendered: Rendered, push_type: PushType) -> Sending:
    """Without a channel: a call waits behind no message, and no rate of a channel holds it back."""
    event = call.event
    ends = call.expires_at
    if kind != CALL:
        ends = max(ends, 0 if ended is None else int(ended.at.timestamp())) + _WORTH[kind]
    if push_type == "voip":
        ends = call.expires_at
    return Sending(
        entry=call.entry,
        event_id=event.id if ended is None else ended.id,
        prefix=rendered.prefix.decode(),
        suffix=rendered.suffix.decode(),
        expires_at=ends,
        collapse_id=call.id if len(call.id) == _UUID else collapse_id(event.app, call.id),
        push_type=push_type,
        badge=COUNT if kind == MISSED else LEAVE,
        kind=kind,
        place=call.place,
        at=ms_of(call.entry) // 1000,
        importance=_IMPORTANCE[kind],
        traceparent=sampled(event.traceparent if ended is None else ended.traceparent),
    )


_UUID: Final = 36
