"""Translates a decoder's error into a sentence that tells a producer's author which field to correct, and how.

Runs only for refused documents. Shows no values except `type`, `v` and names of fields.
"""

import json
import re
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

import msgspec

from producers.checks import check_characters
from producers.errors import EventError

_KINDS: Final = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "null": "null",
    "array": "a list",
    "object": "an object",
    "datetime": "a time with its offset, such as 2026-11-21T20:00:00.123Z",
}
_AT: Final = re.compile(r"^(?P<what>.*?)(?: - at `(?P<path>.*)`)?$", re.DOTALL)
_TYPE: Final = re.compile(r"Expected `([^`]+)`(?:, got `(\w+)`)?$")
_LENGTH: Final = re.compile(r"Expected `(\w+)[^`]*` of length (>=|<=) (\d+)$")
_FIELD: Final = re.compile(r"Object (contains unknown|missing required) field `(.*)`$", re.DOTALL)
#: A name that can stand in a path as it is.
_PLAIN: Final = re.compile(r"[\w-]{1,60}")
#: A step of a path: a name, or an item of a list or object.
_STEP: Final = re.compile(r"([^.\[\]]+)(?=[.\[]|$)|(\[[^\]]*\])")
_BYTE: Final = re.compile(r"JSON is malformed: (.*) \(byte (\d+)\)$")
_ENVELOPE: Final = ("v", "type", "id", "app", "at")
_UNITS: Final = {"str": "characters", "array": "items", "object": "keys"}


def explained(fault: Exception, document: bytes, types: Mapping[str, type]) -> EventError:
    """The error to raise for a document that the decoder refused with `fault`. `types`: event types by their tag."""
    if isinstance(fault, RecursionError):
        return EventError("document: nested too deeply")
    if isinstance(fault, UnicodeDecodeError):
        return EventError(f"document: not UTF-8{_first_bad_byte(document)}")
    if not isinstance(fault, msgspec.ValidationError):
        return _malformed(str(fault), document)
    try:
        value = msgspec.json.decode(document)
    except msgspec.ValidationError:  # a number out of range, of which the decoder's own words tell
        return _wrong_field(str(fault), None)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as worse:
        return explained(worse, document, types)
    return _wrong_envelope(value, types) or _wrong_field(str(fault), types.get(value.get("type")))


def _first_bad_byte(document: bytes) -> str:
    try:
        document.decode()
    except UnicodeDecodeError as fault:
        return f"; the first byte that is not is byte {fault.start}"
    return ""


def _malformed(text: str, document: bytes) -> EventError:
    if not document.strip():
        return EventError("document: empty")
    if b"\\u" in document:
        # Python's reader lets half a surrogate pair through, so that the field which has it can be named.
        try:
            check_characters(json.loads(document))
        except EventError as named:
            return named
        except (ValueError, RecursionError):
            pass
    if "truncated" in text:
        return EventError("document: not JSON: it ends too early")
    found = _BYTE.match(text)
    if found is None:
        return EventError(f"document: not JSON: {text}")
    what, byte = found[1], int(found[2])
    if document[byte : byte + 3].lstrip(b"-").startswith((b"NaN", b"In")):
        what = "NaN and Infinity are not JSON"
    return EventError(f"document: not JSON: {what} at byte {byte}")


def _wrong_envelope(value: Any, types: Mapping[str, type]) -> EventError | None:
    """An unknown version or type explains every other fault, so it is reported first."""
    if not isinstance(value, dict):
        return EventError("document: expected an object")
    version, kind = value.get("v"), value.get("type")
    if "v" not in value:
        return EventError("v: required, but missing; this release reads v 1")
    if type(version) is not int or version != 1:
        return EventError(f"v: {_short(version)} is not supported; this release reads v 1")
    if "type" not in value:
        return EventError("type: required, but missing")
    if not isinstance(kind, str):
        return EventError("type: expected a string")
    if kind not in types:
        known = ", ".join(types)
        return EventError(f"type: {_short(kind)} is not known, and other chat events notify nobody; known are {known}")
    return None


def _wrong_field(text: str, event: type | None) -> EventError:
    found = _AT.match(text)
    assert found is not None, "the pattern matches every text"
    what, path = found["what"], (found["path"] or "$")
    is_key = path.startswith("key` in `")
    path = path.removeprefix("key` in `").removeprefix("$").removeprefix(".")
    field = path or "document"
    if match := _FIELD.match(what):
        return _missing_or_unknown(match[1], match[2], path, event)
    if match := _LENGTH.match(what):
        if match[2] == ">=":
            least = int(match[3])
            return EventError(
                f"{field}: must not be empty"
                if least == 1
                else f"{field}: at least {least:,} {_UNITS[match[1]]} are needed"
            )
        return EventError(f"{field}: at most {int(match[3]):,} {_UNITS[match[1]]} are taken")
    if match := _TYPE.match(what):
        got = f", got {_KINDS.get(match[2], match[2])}" if match[2] else ""
        return EventError(f"{field}: expected {_kind(match[1])}{got}")
    return EventError(f"{field}: {_RULES.get(what) or _rule(what, field, path, event, is_key=is_key)}")


def _missing_or_unknown(problem: str, name: str, path: str, event: type | None) -> EventError:
    inside = f"{path}.{name}" if path else name
    if problem == "missing required":
        return EventError(f"{inside}: required, but missing")
    known = f"known {'in ' + path if path else 'here'} are {', '.join(_known(path, event))}"
    if _PLAIN.fullmatch(name):
        return EventError(f"{inside}: unknown field; {known}")
    return EventError(f"{path or 'document'}: unknown field {_short(name)}; {known}")


_RULES: Final = {
    "Invalid RFC3339 encoded datetime": f"expected {_KINDS['datetime']}",
    "Expected `datetime` with a timezone component": f"expected {_KINDS['datetime']}",
    "Number out of range": "a number is out of range",
}


#: What a field takes, where its type does not say it well.
_CHOICES: Final = {
    "device.platform": "a short lower-case name, such as ios, android or web",
    "message.badge": "increment, none or a whole number from 0",
    "priority": "1, 5 or 10",
}


def _rule(what: str, field: str, path: str, event: type | None, *, is_key: bool) -> str:
    choice = ""
    if what.startswith(("Invalid enum value", "Expected `int` ", "Expected `str` matching")):
        choice = _CHOICES.get(field) or _taken(_types_at(path, event), is_key=is_key)
    if choice:
        return f"no such key; known here are {choice}" if is_key else f"expected {choice}"
    return "not valid" if what.startswith("Invalid") else what[:1].lower() + what[1:]


def _taken(types: Sequence[Any], *, is_key: bool) -> str:
    """The values that a field of these types takes, in words; '' where its type does not list or describe them."""
    if is_key:
        types = [one for declared in types if get_origin(declared) is dict for one in _bare(get_args(declared)[0])]
    words = [str(word) for one in types if get_origin(one) is Literal for word in get_args(one)]
    if words:
        *others, last = words
        return f"{', '.join(others)} or {last}" if others and not is_key else ", ".join(words)
    for one in types:
        for meta in getattr(one, "__metadata__", ()):
            if meta.description:
                return str(meta.description)
    return ""


def _types_at(path: str, event: type | None) -> list[Any]:
    """The types that the field at `path` is declared with."""
    types: list[Any] = [event]
    for name, _ in _STEP.findall(path):
        inner: list[Any] = []
        for one in types:
            fields = {field.encode_name: field.type for field in msgspec.structs.fields(one)} if _is_struct(one) else {}
            item = get_args(one)[-1:] if get_origin(one) in (list, dict) else ()
            inner += [] if name and name not in fields else _bare(fields[name] if name else item[0] if item else None)
        types = inner
    return types


def _bare(declared: Any) -> list[Any]:
    """The declared type, those of a union, and what an annotation is about."""
    if get_origin(declared) in (Union, UnionType):
        return [inner for one in get_args(declared) for inner in _bare(one)]
    return [declared, *(_bare(declared.__origin__) if hasattr(declared, "__metadata__") else ())]


def _is_struct(declared: Any) -> bool:
    return isinstance(declared, type) and issubclass(declared, msgspec.Struct)


def _kind(names: str) -> str:
    return " or ".join(_KINDS.get(name, name) for name in names.split(" | "))


def _known(path: str, event: type | None) -> list[str]:
    """The fields that the object at `path` may have; none where the document says twice of what type it is."""
    owner = next((one for one in _types_at(path, event) if _is_struct(one)), None)
    names = owner.__struct_encode_fields__ if owner else ()
    return list(names) if path else [*_ENVELOPE, *(name for name in names if name not in _ENVELOPE)]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:56]}...{text[-1]}"
