"""The part of Google's schema (discovery document `fcm.v1`) that messages to devices use: names, types, the words for a fault.

A document with the names of the protocol buffers is read in one pass. One in lowerCamelCase, which Google takes as well, is
renamed first. One that does not fit is looked at again to name its fault.
"""

import re
from typing import Any, Final

import msgspec

from worker.simulator.fcm.envelopes import Envelope, wrong_json

Words = dict[str, str]


class _Part(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    pass


class Options(_Part):
    """`fcm_options`, of the message and of `android`."""

    analytics_label: str = ""


class ApnsOptions(Options):
    """`apns.fcm_options`."""

    image: str = ""


class WebpushOptions(Options):
    """`webpush.fcm_options`."""

    link: str = ""


class Notification(_Part):
    """`notification`."""

    title: str = ""
    body: str = ""
    image: str = ""


class AndroidNotification(_Part):
    """`android.notification`."""

    title: str = ""
    body: str = ""
    image: str = ""
    icon: str = ""
    color: str = ""
    sound: str = ""
    tag: str = ""
    click_action: str = ""
    body_loc_key: str = ""
    body_loc_args: list[str] = []
    title_loc_key: str = ""
    title_loc_args: list[str] = []
    channel_id: str = ""
    ticker: str = ""
    sticky: bool = False
    event_time: str = ""
    local_only: bool = False
    notification_priority: str | int = ""
    default_sound: bool = False
    default_vibrate_timings: bool = False
    default_light_settings: bool = False
    vibrate_timings: list[str] = []
    visibility: str | int = ""
    notification_count: int = 0
    light_settings: dict[str, Any] = {}
    proxy: str | int = ""
    bypass_proxy_notification: bool = False


class Android(_Part):
    """`android`."""

    collapse_key: str | None = None
    priority: str | None = None
    ttl: str | None = None
    restricted_package_name: str = ""
    data: Words = {}
    notification: AndroidNotification | None = None
    fcm_options: Options | None = None
    direct_boot_ok: bool = False
    bandwidth_constrained_ok: bool = False
    restricted_satellite_ok: bool = False


class Apns(_Part):
    """`apns`."""

    headers: Words = {}
    payload: dict[str, Any] = {}
    fcm_options: ApnsOptions | None = None
    live_activity_token: str = ""


class Webpush(_Part):
    """`webpush`."""

    headers: Words = {}
    data: Words = {}
    notification: dict[str, Any] = {}
    fcm_options: WebpushOptions | None = None


class Message(_Part):
    """`message`."""

    name: str = ""
    token: str | None = None
    fid: str | None = None
    topic: str | None = None
    condition: str | None = None
    data: Words = {}
    notification: Notification | None = None
    android: Android | None = None
    android_v2: dict[str, Any] | None = None
    apns: Apns | None = None
    webpush: Webpush | None = None
    fcm_options: Options | None = None


class Document(_Part):
    """What is posted."""

    message: Message | None = None
    validate_only: bool = False


class Target(msgspec.Struct):
    """A message of which only the token is read."""

    token: str


class _Targeted(msgspec.Struct):
    message: Target


_decode_target: Final = msgspec.json.Decoder(_Targeted).decode
_decode: Final = msgspec.json.Decoder(Document).decode
#: Objects whose members are the sender's own.
_FREE: Final = frozenset({"data", "headers", "payload", "light_settings"})
_FAULT: Final = re.compile(
    r"(?:unknown field `(?P<name>[^`]*)`|Expected `(?P<type>\w+)).*? - at `\$\.?(?P<path>[^`]*)`"
)
_UNKNOWN: Final = re.compile(r"unknown field `(?P<name>[^`]*)`")
_TYPES: Final = {"str": "TYPE_STRING", "bool": "TYPE_BOOL", "int": "TYPE_INT32"}
#: A member, or an item of a list or of an object whose members are the sender's own.
_STEP: Final = re.compile(r"(\w+)(\[[^\]]*\])?")
_CAPITAL: Final = re.compile(r"[A-Z]")


def read(body: bytes) -> Document | Envelope:
    """The document, or what is wrong with it."""
    try:
        return _decode(body)
    except msgspec.ValidationError:
        pass
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Envelope("INVALID_ARGUMENT", "Invalid JSON payload received. Unexpected token.")
    document = _renamed(msgspec.json.decode(body))
    try:
        return msgspec.convert(document, Document)
    except msgspec.ValidationError as error:
        return _named(document, str(error))


def read_target(body: bytes) -> Target | None:
    """The target of a document that is not looked at otherwise; None where it has none."""
    try:
        return _decode_target(body).message
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _renamed(value: Any, path: tuple[str, ...] = ()) -> Any:
    """The document with the names of the protocol buffers, but in what is the sender's own."""
    if not isinstance(value, dict) or (path and (path[-1] in _FREE or path[-2:] == ("webpush", "notification"))):
        return value
    found = {}
    for name, inner in value.items():
        snake = _CAPITAL.sub(lambda match: f"_{match[0].lower()}", name)
        found[snake] = _renamed(inner, (*path, snake))
    return found


def _named(document: Any, error: str) -> Envelope:
    found = _FAULT.search(error)
    if found is None:
        unknown = _UNKNOWN.search(error)
        return _unknown("" if unknown is None else unknown["name"], "")
    path = found["path"]
    if found["name"] is not None:
        return _unknown(found["name"], path)
    value: Any = document
    steps = []
    for name, bracket in _STEP.findall(path):
        value = value[name]
        steps.append(name)
        if bracket:
            items = list(value.values() if isinstance(value, dict) else value)
            place = next((n for n, item in enumerate(items) if not isinstance(item, str)), 0)
            steps[-1] += f"[{place}]" + (".value" if isinstance(value, dict) else "")
            value = items[place]
    where = ".".join(steps)
    shown = msgspec.json.encode(value).decode()
    return wrong_json(where, f"Invalid value at '{where}' ({_TYPES.get(found['type'], 'TYPE_MESSAGE')}), {shown}")


def _unknown(name: str, path: str) -> Envelope:
    at = f" at '{path}'" if path else ""
    return wrong_json(path, f'Invalid JSON payload received. Unknown name "{name}"{at}: Cannot find field.')
