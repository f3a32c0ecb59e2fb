"""A dead letter's document as a page may show it: what it is about, without texts, names, tokens and keys."""

import json
from typing import Any, Final

from config.redaction import redact

#: Fields of the contract whose values are shown: ids, times and codes. All others may hold what a person wrote, or a secret.
_SHOWN: Final = frozenset(
    {
        *(
            "v",
            "type",
            "id",
            "app",
            "at",
            "user",
            "users",
            "target",
            "recipients",
            "mentioned",
            "parent_id",
            "parent_sender",
        ),
        *("platform", "provider", "locale", "environment", "app_version", "kind", "badge", "push_type", "priority"),
        *("send_at", "expires_at", "after", "through", "reply"),
    }
)
#: Fields of the contract whose own fields are looked into.
_PARTS_OF: Final = frozenset(["channel", "message", "sender", "device", "where"])
#: Parts of a list or an object, and characters of a value.
_MOST, _LONGEST = 20, 100


def without_texts(document: bytes) -> str:
    """Indented JSON in which every other value is only described: `"text": "(12 characters)"`. Or what is wrong with it."""
    try:
        found = json.loads(document)
    except (ValueError, RecursionError):
        return f"(no JSON: {len(document):,} bytes)"
    return json.dumps(_fields(found) if isinstance(found, dict) else _described(found), indent=2, ensure_ascii=False)


def _fields(part: dict[str, Any]) -> dict[str, Any]:
    shown = {_name(name): _value(name, value) for name, value in list(part.items())[:_MOST]}
    return shown | ({"…": f"({len(part) - _MOST:,} more)"} if len(part) > _MOST else {})


def _name(name: str) -> str:
    """One that the contract does not know may be a text too."""
    return name if name.isidentifier() and len(name) <= _LONGEST else f"({len(name):,} characters)"


def _value(name: str, value: Any) -> Any:
    if name in _PARTS_OF and isinstance(value, dict):
        return _fields(value)
    if name not in _SHOWN:
        return _described(value)
    if isinstance(value, list):
        more = [f"({len(value) - _MOST:,} more)"] if len(value) > _MOST else []
        return [*(_cut(one) if isinstance(one, str) else _described(one) for one in value[:_MOST]), *more]
    return _cut(value) if isinstance(value, str) else value if isinstance(value, int | float) else _described(value)


def _described(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return f"({len(value):,} characters)"
    return f"({len(value):,} values)" if isinstance(value, dict | list) else "(a number)"


def _cut(text: str) -> str:
    clean = redact(text)
    return clean if len(clean) <= _LONGEST else f"{clean[:_LONGEST]}…"
