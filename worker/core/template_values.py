"""What a template takes of one value, so that time and memory follow the payload's limit and not the message's size.

A payload has room for less than `LARGEST` bytes, and a cut text is the beginning of the whole one. So whatever stands behind
the first `LARGEST` characters of a value can be in no payload, and nothing needs to read it.
"""

from typing import Any, Final

from jinja2 import Undefined

from worker.core.notification import LIMIT

#: Characters of a text, or bytes of an object's JSON, beyond which a value certainly does not fit whole.
LARGEST: Final = LIMIT + 1024


def bounded(value: Any) -> Any:
    """The value itself where it is small; else a beginning of it that takes more than any payload has room for."""
    if isinstance(value, str):
        return value if len(value) <= LARGEST else value[:LARGEST]
    if isinstance(value, dict | list):
        room = _less(value, LARGEST)
        return value if room >= 0 else _beginning(value, LARGEST)[0]
    return value


def text_of(value: Any) -> str:
    """The value in a text, at most its first `LARGEST` characters; nothing is empty."""
    if value is None or isinstance(value, Undefined):
        return ""
    return str(bounded(value))[:LARGEST]


def _less(value: Any, room: int) -> int:
    """What `value` leaves of `room` bytes at best, below 0 as soon as that is certain."""
    if isinstance(value, str):
        return room - len(value) - 2
    if isinstance(value, dict):
        room -= 2
        for key, inner in value.items():
            if room < 0:
                return room
            room = _less(inner, room - len(key) - 4)
    elif isinstance(value, list):
        room -= 2
        for inner in value:
            if room < 0:
                return room
            room = _less(inner, room - 1)
    else:
        room -= 1
    return room


def _beginning(value: Any, room: int) -> tuple[Any, int]:
    """As much of `value`, in its order, as uses up `room`; and what is left of that."""
    if isinstance(value, str):
        return value[: max(0, room) + 1], room - len(value) - 2
    if isinstance(value, dict):
        kept: dict[str, Any] = {}
        room -= 2
        for key, inner in value.items():
            if room < 0:
                break
            kept[key], room = _beginning(inner, room - len(key) - 4)
        return kept, room
    if isinstance(value, list):
        some: list[Any] = []
        room -= 2
        for inner in value:
            if room < 0:
                break
            part, room = _beginning(inner, room - 1)
            some.append(part)
        return some, room
    return value, room - 1
