"""Attributes of devices as commands take them: NAME=VALUE."""

from collections.abc import Iterable
from typing import Any

import msgspec

from worker.cli._faults import refuse


def attributes_of(given: Iterable[str]) -> dict[str, Any]:
    """`level=3` is a number, `beta=true` a truth, anything else text; `level='"3"'` is the text."""
    return dict(map(_attribute, given))


def _attribute(given: str) -> tuple[str, Any]:
    name, equals, value = given.partition("=")
    if not equals or not name:
        refuse(f"--attribute: expected NAME=VALUE, got {given!r}")
    try:
        read = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return name, value
    return name, read if isinstance(read, str | int | float) else value
