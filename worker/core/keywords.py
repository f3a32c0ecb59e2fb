"""Keywords of users in the text of a message. Pure.

Both sides are NFKC and without case, and white space is one blank. A hit touches no letter, digit, `_` or combining mark on
either side, unless the keyword's own edge is none of these, or of a script that is written without spaces. Accents are kept
apart.

A text is cut into its words once. What it costs grows with the text and with the keywords, not with both multiplied: a keyword is
looked for only if all its words are in the text.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

#: Thai, Lao, Myanmar, Khmer, kana, and Han with its extensions.
_UNSPACED: Final = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    r"\U0001b000-\U0001b16f\U00020000-\U0003ffff]"
)


class _Keyword(NamedTuple):
    #: In its normal form; '' is in no text.
    text: str
    #: Words of it that are whole words of a text which has it.
    words: Sequence[str]
    #: Whether it may not touch a part of a word on its left, and on its right.
    left: bool
    right: bool


def called_by(text: str, keywords: Mapping[str, Sequence[str]]) -> list[str]:
    """The users one of whose keywords is in the text."""
    users: dict[str, list[str]] = {}
    for user, some in keywords.items():
        for keyword in some:
            users.setdefault(keyword, []).append(user)
    normal = _normal(text)
    words = frozenset(_words(normal))
    hits = (user for keyword, some in users.items() if _is_in(_read(keyword), normal, words) for user in some)
    return list(dict.fromkeys(hits))


def _is_in(keyword: _Keyword, text: str, words: frozenset[str]) -> bool:
    if not keyword.text or not words.issuperset(keyword.words):
        return False
    if [keyword.text] == keyword.words:
        return True
    return any(
        not (keyword.left and start and _is_of_word(text[start - 1]))
        and not (keyword.right and end < len(text) and _is_of_word(text[end]))
        for start, end in _occurrences(keyword.text, text)
    )


def _occurrences(part: str, text: str) -> Iterator[tuple[int, int]]:
    start = text.find(part)
    while start >= 0:
        yield start, start + len(part)
        start = text.find(part, start + 1)


@lru_cache(maxsize=65_536)
def _read(keyword: str) -> _Keyword:
    text = _normal(keyword)
    if not text:
        return _Keyword("", (), False, False)
    left, right = (_is_of_word(edge) and not _UNSPACED.match(edge) for edge in (text[0], text[-1]))
    words = _words(text)
    if words and not left and text.startswith(words[0]):
        words = words[1:]
    if words and not right and text.endswith(words[-1]):
        words = words[:-1]
    return _Keyword(text, words, left, right)


def _normal(text: str) -> str:
    # Casefolding may leave what is not NFKC any more.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())


def _words(text: str) -> list[str]:
    """Its runs of letters, digits, `_` and combining marks."""
    blanks = {ord(one): " " for one in set(text) if not _is_of_word(one)}
    return text.translate(blanks).split()


@lru_cache(maxsize=4096)
def _is_of_word(character: str) -> bool:
    return character == "_" or unicodedata.category(character)[0] in "LNM"
