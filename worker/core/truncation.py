"""Cuts a text so that its JSON form fits a number of bytes, without breaking a character as a reader sees it."""

import unicodedata
from typing import Final

import msgspec

ELLIPSIS: Final = "…"
#: A reader's character may be many code points, but one of hundreds is an attack on the screen: that one is cut through.
LONGEST_CLUSTER: Final = 32
_JOINER: Final = "\u200d"

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
    return text[: _boundary(text, _longest(text, room))].rstrip() + ELLIPSIS


def shorten(text: str, length: int) -> str:
    """The text whole if it has at most `length` code points, else its beginning with an ellipsis in that many."""
    if len(text) <= max(0, length):
        return text
    return "" if length < 1 else text[: _boundary(text, length - 1)].rstrip() + ELLIPSIS


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


def _boundary(text: str, end: int) -> int:
    """The nearest place at or before `end` where one reader's character ends and the next begins."""
    for place in range(end, max(0, end - LONGEST_CLUSTER), -1):
        if not _joined(text, place):
            return place
    return max(0, end) if end > LONGEST_CLUSTER else 0


def _joined(text: str, place: int) -> bool:
    """Whether the code points around `place` belong to one reader's character.

    The rules of Unicode's grapheme clusters that matter on a phone: marks, joiners, skin tones, flags, Korean syllables, CR LF.
    """
    if not 0 < place < len(text):
        return False
    before, after = text[place - 1], text[place]
    if after < "\u0300":
        return before == "\r" and after == "\n"
    if _JOINER in (before, after) or "\U0001f3fb" <= after <= "\U0001f3ff":
        return True
    if "\U000e0020" <= after <= "\U000e007f" or unicodedata.category(after)[0] == "M":
        return True
    if _is_flag_half(after):
        return _flag_halves_before(text, place) % 2 == 1
    return "\u1160" <= after <= "\u11ff"


def _is_flag_half(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


def _flag_halves_before(text: str, place: int) -> int:
    start = place
    while start > 0 and _is_flag_half(text[start - 1]):
        start -= 1
    return place - start
