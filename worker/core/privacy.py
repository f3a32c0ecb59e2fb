"""How much of a message its push service may read: four modes, of which the strictest that anybody asks for wins.

    full    text, names, ids, data
    sender  names and ids; a placeholder is in the place of the text
    id      the ids of message, channel and event
    sealed  nothing but the badge, the sound and a size: the rest is sealed for the device, which has to have given a key

What a payload loses, it loses here. `worker/core/sealing.py` seals, and delivery gives each device a record of its own.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec

from producers.events import MessageNew
from producers.fields import Privacy
from producers.targeting import BADGE_ROOM
from worker.core.batch import Sending
from worker.core.burst_phrases import burst_phrase
from worker.core.model import Device
from worker.core.notification import HEAD, Rendered, milliseconds
from worker.core.receiver_keys import SCHEME, Keys
from worker.core.sealing import OVERHEAD, hidden
from worker.core.templates import fallbacks
from worker.core.truncation import json_size

MODES: Final[tuple[Privacy, ...]] = ("full", "sender", "id", "sealed")
#: Whoever is between us and the app: a push service that reads what is not sealed; one that gets nothing but sealed bodies;
#: nobody, where it is the customer's own.
Between = Literal["service", "sealed", "nobody"]
#: Why a device gets nothing that should get a sealed payload, of an app that allows nothing else.
NO_KEY: Final = "no_key"
#: What the mode `id` keeps of `carillon`.
_IDS: Final = ("event", "message", "channel", "at")
#: Keys of `aps` that say how a notification is shown. They stay outside a seal, because the system reads them.
_OUTSIDE: Final = frozenset(
    ("badge", "sound", "category", "interruption-level", "relevance-score", "mutable-content", "content-available")
)
#: The end of a payload whose record is to come.
_GAP: Final = '{"sealed":{}}}'
_VERSION: Final = len('"v":1,')

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


class Disclosure(NamedTuple):
    """What a device gets of a message."""

    #: What was asked for.
    mode: Privacy = "full"
    #: As what it is rendered. `sealed` only for a device with keys; `id` for another one.
    form: Privacy = "full"
    #: Of a sealed one: octets of its payload at most, and of the longest id of a key.
    octets: int = 0
    key: int = 0


FULL: Final = Disclosure()


class Sealable(NamedTuple):
    """A payload that waits for its record, and what is sealed in that."""

    outside: Rendered
    inside: bytes
    #: Octets of the longest inside.
    room: int


def strictest(*asked: Privacy | Literal[""] | None) -> Privacy:
    """Each speaks for somebody who may want less shown; none may want more for the others."""
    return max((mode for mode in asked if mode), key=MODES.index, default="full")


def disclosure(mode: Privacy, device: Device, between: Between, octets: int) -> Disclosure:
    """How a mode is kept for a device. `octets`: the largest payload of its kind of provider."""
    if between == "nobody" or (between == "sealed" and mode == "sealed"):
        return Disclosure(mode, "full")
    if mode != "sealed":
        return Disclosure(mode, mode)
    if not device.opens_sealed:
        return Disclosure(mode, "id")
    return Disclosure(mode, "sealed", octets, json_size(device.key))


def is_unsealed(disclosure: Disclosure) -> bool:
    """Whether a device should get a sealed payload and has no key for one."""
    return disclosure.mode == "sealed" and disclosure.form == "id"


def placeholder(texts: Mapping[str, str], locale: str | None, count: int = 0) -> str:
    """What is shown in place of a text, in the device's language. `texts`: the app's own, by language; '' for any other.

    With a `count` it says how many messages there are, and so does one for which the app has no text.
    """
    if not count:
        for language in fallbacks(locale):
            if language in texts:
                return texts[language]
    return burst_phrase(count or 1, locale)


def without_text(event: MessageNew, text: str) -> MessageNew:
    """The message as the mode `sender` shows it, by a template too: `text` in place of its own, no data and no image."""
    return msgspec.structs.replace(
        event,
        message=msgspec.structs.replace(event.message, text=text, data={}),
        sender=msgspec.structs.replace(event.sender, image=None),
    )


def ids_of(event: MessageNew) -> dict[str, Any]:
    """What the mode `id` says of a message."""
    return {"event": event.id, "message": event.message.id, "channel": event.channel.id, "at": milliseconds(event)}


def by_id(rendered: Rendered, ids: Mapping[str, Any], text: str) -> Rendered:
    """The payload in the mode `id`: shown and heard as it was, with `text` for its alert and these ids alone."""
    aps = _outside(_decode(rendered.payload())["aps"]) | {"mutable-content": 1}
    if "channel" in ids:
        aps["thread-id"] = ids["channel"]
    return _like(rendered, {"aps": aps | {"alert": {"title": text}}, "carillon": ids})


def sealable(rendered: Rendered, text: str, disclosure: Disclosure) -> Sealable:
    """The payload with `text` for its alert, and what was in it beside what the system reads."""
    document = _decode(rendered.payload())
    aps = document["aps"]
    outside = _outside(aps) | {"mutable-content": 1, "alert": {"title": text}}
    inside = {
        "v": 1,
        **document,
        "aps": {key: value for key, value in aps.items() if key not in _OUTSIDE},
    }
    shown = _like(rendered, {"aps": outside, "carillon": {"sealed": {}}})
    frame = (
        len(shown.payload()) + (BADGE_ROOM if shown.suffix else 0) + len(_sealed("", "")) - len("{}") + disclosure.key
    )
    return Sealable(shown, _encode(inside), (disclosure.octets - frame) * 3 // 4 - OVERHEAD)


def limit_for(sealable: Sealable) -> int:
    """The limit of `notification.render` with which what is inside fits."""
    return sealable.room - _VERSION + BADGE_ROOM


def padding(inside: int, room: int, step: int | None) -> int:
    """Octets that fill up what is inside to a multiple of `step`, so that its length says less."""
    return min(-inside % step, room - inside) if step else 0


def with_inside(sending: Sending, whole: Sealable, step: int | None) -> Sending:
    """What waits for its record: only the outside of it is shown. `step` as of `padding`."""
    return msgspec.structs.replace(
        sending,
        prefix=whole.outside.prefix.decode(),
        suffix=whole.outside.suffix.decode(),
        kind="",
        privacy="sealed",
        inside=whole.inside.decode(),
        pad=padding(len(whole.inside), whole.room, step),
    )


def with_record(payload: str, key: str, record: str) -> str:
    """The end of a payload of `sealable` with the device's record, in base64url, and the id of the key that opens it."""
    return f'{payload.removesuffix(_GAP)}{{"sealed":{_sealed(key, record)}}}}}'


def without_seal(sending: Sending) -> Sending:
    """For a device that has lost its keys since it was rendered: ids in place of the record."""
    inside = _decode(sending.inside).get("carillon", {})
    ids = _encode({key: inside[key] for key in _IDS if key in inside}).decode()

    def with_ids(payload: str) -> str:
        return f"{payload.removesuffix(_GAP)}{ids}}}"

    if sending.suffix:
        return msgspec.structs.replace(sending, suffix=with_ids(sending.suffix))
    return msgspec.structs.replace(sending, prefix=with_ids(sending.prefix))


def with_hidden_ids(sending: Sending, keys: Keys) -> Sending:
    """What takes a notification back, which is not sealed: with names for its ids that the device alone knows."""
    rendered = Rendered(sending.prefix.encode(), sending.suffix.encode())
    document = _decode(rendered.payload())
    for said in document["carillon"].values():
        said |= {key: hidden(said[key], keys) for key in ("channel", "thread", "message") if key in said}
    made = _like(rendered, document)
    return msgspec.structs.replace(sending, prefix=made.prefix.decode(), suffix=made.suffix.decode())


def _sealed(key: str, record: str) -> str:
    return _encode({"s": SCHEME, "k": key, "d": record}).decode()


def _outside(aps: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in aps.items() if key in _OUTSIDE}


def _like(rendered: Rendered, document: Mapping[str, Any]) -> Rendered:
    """With a gap for the badge where the other one has it."""
    payload = _encode(document)
    return Rendered(HEAD, payload[len(HEAD) :]) if rendered.suffix else Rendered(payload, b"")
