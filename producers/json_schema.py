"""The contract as JSON Schema 2020-12, for validators in any language. `docs/event.schema.json` is its printed form."""

from typing import Any

import msgspec

from producers.events import MAX_DOCUMENT, TYPES, AnyEvent


def schema() -> dict[str, Any]:
    """The JSON Schema of one event. It says all but what JSON Schema cannot: see `$comment`."""
    # msgspec keeps the members of a union in no order of its own.
    generated = _ordered(msgspec.json.schema(AnyEvent))
    events = {event.__name__ for event in TYPES.values()}
    for name, part in generated["$defs"].items():
        required = part["required"]
        part["properties"] = {
            key: field if key in required else _or_null(field) for key, field in part.get("properties", {}).items()
        }
        if name in events:
            part["properties"]["v"] = {"const": 1}
            part["required"] = ["v", *part["required"]]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Carillon event",
        "$comment": (
            f"Beyond this schema: at most {MAX_DOCUMENT} bytes of UTF-8; "
            "`at` has an offset and a year from 1970 to 2999; "
            "no NUL in any string and no half surrogate pairs; `data` and `attributes` are at most 16 levels deep, "
            "their whole numbers fit into 64 bits; "
            "a device has a `token` or a `subscription`, or both where the token is the endpoint; "
            "a `push.send` has either `alert` or `data`, and says whom it is for: see docs/targeted-pushes.md."
        ),
        **generated,
    }


def _or_null(field: dict[str, Any]) -> dict[str, Any]:
    """`null` stands for the default of a field that may be left out."""
    options = field.get("anyOf", [field])
    if any(option.get("type") == "null" or None in option.get("enum", ()) for option in options):
        return field
    inner = {key: value for key, value in field.items() if key != "default"}
    more = inner["anyOf"] if list(inner) == ["anyOf"] else [inner]
    return {"anyOf": [*more, {"type": "null"}], **{key: field[key] for key in ("default",) if key in field}}


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        found = {key: _ordered(item) for key, item in value.items()}
        return {**found, "anyOf": sorted(found["anyOf"], key=str)} if "anyOf" in found else found
    return [_ordered(item) for item in value] if isinstance(value, list) else value


def text() -> str:
    """The schema as it is printed and kept in the documentation."""
    return msgspec.json.format(msgspec.json.encode(schema()), indent=2).decode() + "\n"
