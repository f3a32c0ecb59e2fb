"""Text from documents and names, made fit for a terminal. Commands print through `echo`, `json_text` or a table."""

import json
import re
import shutil
import sys
from datetime import UTC, datetime
from typing import Any, Final

import typer

from worker.process.host import at_terminal

#: Characters that turn text around or join it out of sight: bidirectional controls, line and paragraph separators.
_HIDDEN: Final = frozenset("\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
#: What a line is folded between: a command for pasting counts as one word.
_WORD: Final = re.compile(r"(?<=:) carillon [a-z][^,;]*[,;]?| *\S+")
#: How a line of a JSON document begins.
_JSON: Final = tuple('{}[]"')


def echo(text: object, *, err: bool = False) -> None:
    """Prints lines of text, fit for a terminal."""
    typer.echo(shown(str(text), lines=True), err=err)


def prose(text: object, *, err: bool = False) -> None:
    """Prints sentences as `echo` does, folded to the terminal's width where there is one."""
    whole = shown(str(text), lines=True)
    stream = sys.stderr if err else sys.stdout
    typer.echo(folded(whole, shutil.get_terminal_size().columns) if at_terminal(stream) else whole, err=err)


def folded(text: str, width: int) -> str:
    """The text with its lines folded at blanks to so many columns. Long words, commands for pasting and JSON stay whole."""
    return "\n".join(part for line in text.split("\n") for part in _lines(line, width))


def _lines(line: str, width: int) -> list[str]:
    from rich.cells import cell_len  # a Chinese character takes two columns

    begins = line.lstrip(" ")
    if cell_len(line) <= width or begins.startswith(_JSON):
        return [line]
    indent = " " * (len(line) - len(begins) + 2)
    first, *words = _WORD.findall(line)
    lines = [first]
    for word in words:
        if cell_len(lines[-1] + word) <= width:
            lines[-1] += word
        else:
            lines.append(indent + word.lstrip(" "))
    return lines


def shown(text: str, *, lines: bool = False) -> str:
    """The text with every control and bidirectional character spelt out in hex; with `lines` line breaks and tabs stay."""
    return "".join(c if _plain(c) or (lines and c in "\n\t") else _spelt(c) for c in text)


def json_text(value: Any) -> str:
    """The value as one line of JSON, in which such characters are escaped as JSON has it."""
    return json_shown(json.dumps(value, ensure_ascii=False, default=_as_text))


def _as_text(value: object) -> str:
    """Times as RFC 3339 in UTC."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return str(value)


def json_shown(document: str) -> str:
    """A JSON document that means the same, with such characters escaped as JSON has it; line breaks and tabs stay."""
    return "".join(c if _plain(c) or c in "\n\t" else f"\\u{ord(c):04x}" for c in document)


def plain(text: str) -> bool:
    """Whether the text has no such character."""
    return all(map(_plain, text))


def _plain(c: str) -> bool:
    code = ord(c)
    return not (code < 0x20 or 0x7F <= code < 0xA0 or c in _HIDDEN or 0xD800 <= code < 0xE000)


def _spelt(c: str) -> str:
    code = ord(c)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
