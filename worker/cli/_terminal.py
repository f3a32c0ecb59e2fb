"""Text from documents and names, made fit for a terminal."""

import json
from typing import Any, Final

#: Characters that turn text around or join it out of sight: bidirectional controls, line and paragraph separators.
_HIDDEN: Final = frozenset("\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def shown(text: str, *, lines: bool = False) -> str:
    """The text with every control and bidirectional character spelt out in hex; with `lines` line breaks stay."""
    return "".join(c if _plain(c) or (lines and c == "\n") else _spelt(c) for c in text)


def json_text(value: Any) -> str:
    """The value as one line of JSON, in which such characters are escaped as JSON has it."""
    return "".join(c if _plain(c) else f"\\u{ord(c):04x}" for c in json.dumps(value, ensure_ascii=False, default=str))


def _plain(c: str) -> bool:
    code = ord(c)
    return not (code < 0x20 or 0x7F <= code < 0xA0 or c in _HIDDEN or 0xD800 <= code < 0xE000)


def _spelt(c: str) -> str:
    code = ord(c)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
