"""Whether a text has anything visible."""

import unicodedata
from typing import Final

#: Invisible letters and signs, besides white space and format characters.
_BLANK: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2065\u2800\u3164\uffa0") | frozenset(
    map(chr, (*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xFFF0, 0xFFF9), *range(0xE0000, 0xE1000)))
)
#: Format characters that are drawn: signs before Arabic, Syriac and Kaithi numbers.
_DRAWN: Final = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")


def shows(text: str) -> bool:
    """Whether a reader sees anything of it: not for blanks, line breaks, zero-width and control characters alone."""
    # Most texts begin with something.
    return "!" <= text[:1] <= "~" or any(map(_drawn, text))


def _drawn(char: str) -> bool:
    if "!" <= char <= "~":
        return True
    if char.isspace() or char in _BLANK:
        return False
    return unicodedata.category(char) not in ("Cc", "Cf") or char in _DRAWN
