"""`null` for a field that has a default means the default: in Go and elsewhere an empty list or map is written so."""

from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

import msgspec


def without_nulls(value: Any, kind: type) -> Any:
    """The decoded object without the nulls that stand for a default. `kind`: the struct that it is read as.

    Free data is left alone: there `null` is a value.
    """
    if not isinstance(value, dict):
        return value
    fields = _fields(kind)
    kept = {}
    for key, inner in value.items():
        has_default, part = fields.get(key, (False, None))
        if inner is None and has_default:
            continue
        kept[key] = without_nulls(inner, part) if part is not None else inner
    return kept


_known: Final[dict[type, dict[str, tuple[bool, type | None]]]] = {}


def _fields(kind: type) -> dict[str, tuple[bool, type | None]]:
    """By name in the document: whether there is a default, and the struct that an object there is read as."""
    found = _known.get(kind)
    if found is None:
        found = {
            field.encode_name: (
                # A version that is missing is refused, so it has no default for whoever writes JSON.
                field.name != "v"
                and not (field.default is msgspec.NODEFAULT and field.default_factory is msgspec.NODEFAULT),
                _struct(field.type),
            )
            for field in msgspec.structs.fields(kind)
        }
        _known[kind] = found
    return found


def _struct(kind: Any) -> type | None:
    if get_origin(kind) is Annotated:
        return _struct(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return next((part for one in get_args(kind) if (part := _struct(one)) is not None), None)
    return kind if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else None
