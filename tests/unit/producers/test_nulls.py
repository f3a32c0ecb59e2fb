"""`null` means the default, in every field that has one; nowhere else, and not in free data."""

import json
from typing import Any

import msgspec
import pytest

from producers import decode, schema
from producers.events import (
    TYPES,
    Alert,
    Allow,
    Call,
    Channel,
    ChannelSettings,
    Device,
    EditedMessage,
    Message,
    Sender,
    Where,
    accepted,
)
from tests.unit.producers.examples import EVERY_TYPE, MESSAGE, MISSING, PUSH, changed

PARTS: dict[str, dict[str, type[msgspec.Struct]]] = {
    "message.new": {"channel": Channel, "message": Message, "sender": Sender},
    "message.updated": {"channel": Channel, "message": EditedMessage, "sender": Sender},
    "quiet.updated": {"allow": Allow},
    "call.started": {"call": Call, "channel": Channel, "caller": Sender},
    "device.registered": {"device": Device},
    "channel.updated": {"channel": ChannelSettings},
    "push.send": {"where": Where},
}


def optional(kind: type[msgspec.Struct]) -> list[str]:
    return [
        field.encode_name for field in msgspec.structs.fields(kind) if not field.required and field.encode_name != "v"
    ]


def cases() -> list[Any]:
    found = []
    for document in EVERY_TYPE:
        kind = document["type"]
        places: list[tuple[str, ...]] = [(name,) for name in optional(TYPES[kind])]
        places += [(part, name) for part, struct in PARTS.get(kind, {}).items() for name in optional(struct)]
        found += [pytest.param(document, place, id=f"{kind} {'.'.join(place)}") for place in places]
    return found


@pytest.mark.parametrize(("document", "place"), cases())
def test_null_is_the_default(document: dict[str, Any], place: tuple[str, ...]) -> None:
    given = changed(document, **{"__".join(place): None})
    without = json.dumps(changed(given, **{"__".join(place): MISSING}))
    try:
        expected = decode(without)
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            decode(json.dumps(given))
        return
    assert decode(json.dumps(given)) == expected
    assert accepted(json.dumps(given).encode()) == expected
    jsonschema = pytest.importorskip("jsonschema", reason="only the schema's own agreement needs it")
    jsonschema.Draft202012Validator(schema()).validate(given)


def test_null_in_an_alert_is_no_line() -> None:
    assert len(optional(Alert)) == 3
    push = {key: value for key, value in PUSH.items() if key != "data"}
    event = decode(json.dumps({**push, "alert": {"title": None, "subtitle": None, "body": "hello"}}))
    assert event.alert == Alert(body="hello")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("document", "error"),
    [
        (changed(MESSAGE, id=None), "id: expected a string, got null"),
        (changed(MESSAGE, v=None), "v: None is not supported"),
        (changed(MESSAGE, type=None), "type: expected a string"),
        (changed(MESSAGE, message__id=None), "message.id: expected a string, got null"),
        (changed(MESSAGE, message__text=None, message__id=5), "message.id: expected a string, got a whole number"),
        (changed(MESSAGE, message__mentioned=[None]), r"message.mentioned\[0\]: expected a string, got null"),
        (changed(MESSAGE, message__text=None, message__mentionned=None), "message.mentionned: unknown field"),
    ],
)
def test_null_elsewhere_is_a_fault_of_its_field(document: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        decode(json.dumps(document))


def test_null_in_free_data_stays() -> None:
    event = decode(json.dumps(changed(MESSAGE, message__text=None, message__data={"a": None, "text": None})))
    assert event.message.data == {"a": None, "text": None}  # type: ignore[union-attr]
