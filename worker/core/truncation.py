"""Cuts a text so that its JSON form fits a number of bytes, without breaking a character as a reader sees it.

A reader's character is an extended grapheme cluster of Unicode (UAX 29), in every script.
"""

from typing import Final

import msgspec
import regex

ELLIPSIS: Final = "…"
#: A reader's character may be many code points, but one of hundreds is an attack on the screen: that one is cut through.
LONGEST_CLUSTER: Final = 32
#: Code points before a cut that are looked at, so that a cut costs the same in every text.
_WINDOW: Final = 2 * LONGEST_CLUSTER

_cluster: Final = regex.compile(r"\X")
_encode: Final = msgspec.json.Encoder().encode


def json_size(text: str) -> int:
    """Bytes of the text inside a JSON string: UTF-8 with its escapes, without the quotes."""
    return len(_encode(text)) - 2


def fit(text: str, room: int) -> str:
    """The text whole if its JSON form takes at most `room` bytes, else its longest beginning that does with an ellipsis.

    Never longer than `room`; empty where not even the ellipsis fits.
    """
    if len(text) <= room and json_size(text) <= room:
        return text
    room -= len(ELLIPSIS.encode())
    if room < 0:
        return ""
    return _beginning(text, _longest(text, room)) + ELLIPSIS


def shorten(text: str, length: int) -> str:
    """The text whole if it has at most `length` code points, else its beginning with an ellipsis in that many."""
    if len(text) <= max(0, length):
        return text
    return "" if length < 1 else _beginning(text, length - 1) + ELLIPSIS


def first_character(text: str) -> str:
    """The first character as a reader sees it, at most `LONGEST_CLUSTER` code points."""
    found = _cluster.match(text, 0, LONGEST_CLUSTER)
    return found[0] if found else ""


def last_character(text: str) -> str:
    """The last character as a reader sees it, at most `LONGEST_CLUSTER` code points."""
    return text[_boundary(text, len(text) - 1) :][-LONGEST_CLUSTER:] if text else ""


def _longest(text: str, room: int) -> int:
    """The largest number of code points whose JSON form takes at most `room` bytes."""
    low, high = 0, min(len(text), room)
    while low < high:
        middle = (low + high + 1) // 2
        if json_size(text[:middle]) <= room:
            low = middle
        else:
            high = middle - 1
    return low


def _beginning(text: str, end: int) -> str:
    """At most `end` code points, whole characters, with no blank behind them."""
    kept = text[: _boundary(text, end)].rstrip()
    return text[: _boundary(text, len(kept))]


def _boundary(text: str, end: int) -> int:
    """The nearest place at or before `end` where one reader's character ends and the next begins."""
    if not 0 < end < len(text):
        return max(0, end)
    before, after = text[end - 1], text[end]
    if before < "\u0300" and after < "\u0300" and (before, after) != ("\r", "\n"):
        return end
    # Whether a character ends at `end` depends on what stands before it and on one code point behind it.
    start = _flag_start(text, max(0, end - _WINDOW))
    for found in _cluster.finditer(text, start, end + 1):
        start = found.start()
    return start if end - start < LONGEST_CLUSTER or (start == 0 and end <= LONGEST_CLUSTER) else end


def _flag_start(text: str, place: int) -> int:
    """`place`, or one before it where that is in the middle of a flag: flags have to be counted from the first of a row."""
    start = place
    while start > 0 and _is_flag_half(text[start - 1]):
        start -= 1
    return place - (place - start) % 2


def _is_flag_half(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"
