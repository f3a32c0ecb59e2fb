"""Checks of `push.send` beyond the types of its fields: a valid query, and a payload that Apple accepts."""

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec

from producers.aps import check_aps
from producers.checks import check_free
from producers.errors import EventError
from producers.prose import shows

if TYPE_CHECKING:
    from producers.events import PushSend, Where

#: Attributes that one query may look at, values behind an `in`, and characters of a value.
MAX_CONDITIONS: Final = 16
MAX_VALUES: Final = 1_000
MAX_VALUE: Final = 1_000
#: Characters of an attribute's name.
MAX_NAME: Final = 255
COMPARISONS: Final = ("lt", "lte", "gt", "gte")
OPERATORS: Final = ("in", "exists", *COMPARISONS)
#: How far ahead of `at` a push may be scheduled: as long as its id is remembered, unless that is set otherwise.
FURTHEST: Final = timedelta(days=30)
#: Bytes of an alert's payload, and those that stay free for a counted badge: `"badge":2147483647,`.
MAX_PAYLOAD: Final = 4_096
BADGE_ROOM: Final = 19
#: Bytes of a VoIP push.
MAX_VOIP: Final = 5_120
#: The word of a badge that goes up by one for each device.
INCREMENT: Final = "Increment"
MAX_BADGE: Final = 2**31 - 1

#: The keys of `data` that are Apple's. Source: Apple, "Generating a remote notification".
APS_KEYS: Final = frozenset(
    (
        *("alert", "badge", "sound", "thread-id", "category", "content-available", "mutable-content"),
        *("target-content-id", "interruption-level", "relevance-score", "filter-criteria"),
    )
)

#: Those of a Live Activity.
ACTIVITY_KEYS: Final = frozenset(
    (
        *("event", "content-state", "timestamp", "stale-date", "dismissal-date"),
        *("attributes-type", "attributes", "input-push-token", "input-push-channel"),
    )
)
#: Push types that have tokens of their own: they go to the devices of that purpose.
OWN_TOKENS: Final = frozenset(("voip", "liveactivity", "pushtotalk"))
_NOUNS: Final = {dict: "an object", int: "UNIX seconds", str: "a string"}

_TRANSLATED: Final = ("loc-key", "title-loc-key", "subtitle-loc-key")
_SCALAR: Final = {"anyOf": [{"type": "string", "maxLength": MAX_VALUE}, {"type": "number"}, {"type": "boolean"}]}
_ORDERED: Final = {"anyOf": [{"type": "string", "maxLength": MAX_VALUE}, {"type": "number"}]}
#: The JSON Schema of `where.attributes`; `_check_condition` says the same.
CONDITIONS_SCHEMA: Final = {
    "propertyNames": {"minLength": 1, "maxLength": MAX_NAME},
    "additionalProperties": {
        "anyOf": [
            *_SCALAR["anyOf"],
            {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": False,
                "properties": {
                    "in": {"type": "array", "minItems": 1, "maxItems": MAX_VALUES, "items": _SCALAR},
                    "exists": {"type": "boolean"},
                    **dict.fromkeys(COMPARISONS, _ORDERED),
                },
            },
        ]
    },
}


def check_where(where: "Where", field: str = "where") -> None:
    """Raises `EventError` unless the query says clearly which devices it means."""
    named = [name for name in ("user", "provider", "locale", "device") if getattr(where, name) is not None]
    if where.attributes:
        named.append("attributes")
    if where.everyone and named:
        raise EventError(f"{field}.everyone: cannot stand beside {named[0]}; leave one of them out")
    if not where.everyone and not named:
        raise EventError(f'{field}: names nobody; for every device of the app say "everyone": true')
    check_free(where.attributes, f"{field}.attributes")
    for name, condition in where.attributes.items():
        if not 1 <= len(name) <= MAX_NAME:
            raise EventError(f"{field}.attributes: a name has 1 to {MAX_NAME} characters")
        _check_condition(condition, f"{field}.attributes.{name}")


def check_push(event: "PushSend") -> None:
    """Raises `EventError` for a push without a clear audience or content, one that is too large, or one that is never in time."""
    check_where(event.where)
    if (event.alert is None) == (event.data is None):
        raise EventError("alert: either alert or data is required, and not both")
    if event.data is None:
        _check_alert(event)
    elif event.push_type in OWN_TOKENS:
        _check_own(event.data, event.push_type)
    else:
        _check_data(event.data, background=event.push_type == "background")
    if event.push_type == "liveactivity" and event.priority == 1:
        raise EventError("priority: a push to a Live Activity has 5 or 10")
    if event.push_type == "background" and event.priority not in (None, 5):
        raise EventError("priority: a background push has 5")
    if event.collapse_id is not None:
        _check_collapse_id(event.collapse_id)
    starts = event.at if event.send_at is None else event.send_at
    if starts > event.at + FURTHEST:
        raise EventError(f"send_at: at most {FURTHEST.days} days after at")
    if event.expires_at is not None and event.expires_at <= starts:
        raise EventError("expires_at: has to be later than the push is sent")


def _check_collapse_id(text: str) -> None:
    """Checks that a header can hold the value: a space at an end would be refused by the sender, or lost."""
    if not (text.isascii() and text.isprintable()):
        raise EventError("collapse_id: only visible ASCII characters are taken")
    if text != text.strip(" "):
        raise EventError("collapse_id: begins or ends with a blank")


def arranged(data: Mapping[str, Any], push_type: str = "alert") -> tuple[dict[str, Any], dict[str, Any]]:
    """The `aps` of a payload, and every other key unchanged. An incremented badge is in neither."""
    known = APS_KEYS | ACTIVITY_KEYS if push_type == "liveactivity" else APS_KEYS
    aps = {key: value for key, value in data.items() if key in known}
    if aps.get("badge") == INCREMENT:
        del aps["badge"]
    return aps, {key: value for key, value in data.items() if key not in known}


def _check_condition(condition: Any, field: str) -> None:
    if not isinstance(condition, dict):
        _check_value(condition, field)
        return
    if not condition:
        raise EventError(f"{field}: must not be empty; known here are {', '.join(OPERATORS)}")
    for operator, value in condition.items():
        if operator not in OPERATORS:
            raise EventError(f"{field}: no such comparison; known here are {', '.join(OPERATORS)}")
        _check_operand(operator, value, f"{field}.{operator}")


def _check_operand(operator: str, value: Any, field: str) -> None:
    if operator == "in":
        if not isinstance(value, list) or not 1 <= len(value) <= MAX_VALUES:
            raise EventError(f"{field}: expected a list of 1 to {MAX_VALUES:,} values")
        for index, one in enumerate(value):
            _check_value(one, f"{field}[{index}]")
    elif operator == "exists":
        if not isinstance(value, bool):
            raise EventError(f"{field}: expected true or false")
    elif isinstance(value, bool):
        raise EventError(f"{field}: expected a number or a string; true and false have no order")
    else:
        _check_value(value, field)


def _check_value(value: Any, field: str) -> None:
    if not isinstance(value, str | int | float):
        raise EventError(f"{field}: expected a string, a number, true or false")
    if isinstance(value, str) and len(value) > MAX_VALUE:
        raise EventError(f"{field}: at most {MAX_VALUE:,} characters are taken")


def _check_alert(event: "PushSend") -> None:
    if event.push_type == "background":
        raise EventError("alert: a background push shows nothing; send data")
    if event.push_type != "alert":
        raise EventError(f"alert: only a push of type alert has one; a {event.push_type} push is made of data")
    alert = event.alert
    texts = (alert,) if isinstance(alert, str) else () if alert is None else (alert.title, alert.subtitle, alert.body)
    if not any(map(shows, texts)):
        raise EventError("alert: must not be empty, and not of blanks alone")


def _check_data(data: dict[str, Any], *, background: bool) -> None:
    check_free(data, "data")
    if "aps" in data:
        raise EventError("data.aps: put its keys into data itself: alert, badge, sound, …")
    if "badge" in data and data["badge"] != INCREMENT:
        badge = data["badge"]
        if type(badge) is not int or not 0 <= badge <= MAX_BADGE:
            raise EventError(f'data.badge: expected "{INCREMENT}" or a whole number from 0')
    check_aps(data, "data")
    if "alert" in data:
        _check_shows(data["alert"])
    seen = [key for key in ("alert", "badge", "sound") if key in data]
    if background and seen:
        raise EventError(f"data.{seen[0]}: a background push shows nothing; leave it out, or send an alert")
    if not background and not seen:
        raise EventError('data: has no alert, badge or sound; to wake the app alone say "push_type": "background"')
    _check_size(data, background=background)


def _check_own(data: dict[str, Any], push_type: str) -> None:
    """Of a push to tokens for something else than alerts: the app makes of it what it wants, but for a Live Activity."""
    check_free(data, "data")
    if "aps" in data:
        raise EventError("data.aps: put its keys into data itself: event, content-state, …")
    if "badge" in data:
        raise EventError(f"data.badge: a {push_type} push has none")
    check_aps(data, "data")
    if push_type == "liveactivity":
        _check_activity(data)
    aps, others = arranged(data, push_type)
    size, room = len(msgspec.json.encode({"aps": aps, **others})), MAX_VOIP if push_type == "voip" else MAX_PAYLOAD
    if size > room:
        raise EventError(f"data: {size:,} bytes as a payload, Apple takes {room:,}")


def _check_activity(data: Mapping[str, Any]) -> None:
    if data.get("event") not in ("start", "update", "end"):
        raise EventError("data.event: expected start, update or end")
    required = {"content-state": dict, "timestamp": int}
    if data["event"] == "start":
        required |= {"attributes-type": str, "attributes": dict}
        if "alert" not in data:
            raise EventError("data.alert: required to start")
    for key, kind in required.items():
        if type(data.get(key)) is not kind:
            raise EventError(f"data.{key}: expected {_NOUNS[kind]}")


def _check_shows(alert: str | Mapping[str, Any]) -> None:
    """An alert of Apple's own form. What a key of the app's translations says is not known here."""
    if isinstance(alert, str):
        shown = shows(alert)
    else:
        shown = any(key in alert for key in _TRANSLATED) or any(
            shows(alert.get(key, "")) for key in ("title", "subtitle", "body")
        )
    if not shown:
        raise EventError("data.alert: must not be empty, and not of blanks alone")


def _check_size(data: Mapping[str, Any], *, background: bool) -> None:
    aps, others = arranged(data)
    size = len(msgspec.json.encode({"aps": {**aps, "content-available": 1} if background else aps, **others}))
    room = MAX_PAYLOAD - BADGE_ROOM if data.get("badge") == INCREMENT else MAX_PAYLOAD
    if size > room:
        raise EventError(f"data: {size:,} bytes as a payload, Apple takes {room:,}")
