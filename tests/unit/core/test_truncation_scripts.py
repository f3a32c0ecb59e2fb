"""Texts of every script are cut where ICU says that a reader's character ends."""

import unicodedata

import pytest
from icu4py.breakers import CharacterBreaker

from worker.core.templates import Template
from worker.core.truncation import ELLIPSIS, LONGEST_CLUSTER, first_character, fit, json_size, last_character, shorten

#: Words in which several code points are one character, by script.
WORDS = {
    "thai": "ผมอยากดื่มน้ำครับ ทำ น้ำ",
    "lao": "ຂ້ອຍຢາກດື່ມນ້ຳ",
    "devanagari": "दोस्तों नमस्ते जी क्षत्रिय",
    "bengali": "স্ত্রী বন্ধুরা",
    "malayalam": "സ്ത്രീ ൎക ക്ഷമ",
    "tamil": "நண்பர்களே ஸ்ரீ",
    "telugu": "స్త్రీ క్షమించండి",
    "gujarati": "શ્રી ક્ષમા",
    "oriya": "ସ୍ତ୍ରୀ କ୍ଷମା",
    "kannada": "ಸ್ತ್ರೀ ಕ್ಷಮೆ",
    "sinhala": "ශ්‍රී ලංකා ක්‍ෂ",
    "gurmukhi": "ਸ੍ਰੀ ਦੋਸਤੋ",
    "khmer": "ស្ត្រី ខ្មែរ",
    "myanmar": "မြန်မာ က္က ကျွန်တော်",
    "tibetan": "བོད་སྐད་ རྒྱ",
    "balinese": "ᬩᬮᬶ ᬓ᭄ᬱ",
    "javanese": "ꦧꦱꦗꦮ ꦏ꧀ꦱ",
    "hangul": "한글 한글 ꥠᅡᆨ ힰퟋ",
    "hebrew": "שָׁלוֹם",
    "arabic": "السَّلامُ عَلَيْكُم ؀١٢٣",
    "syriac": "ܫܠܡܐ ܏ܐܒ",
    "halfwidth kana": "ｶﾞｷﾞﾊﾟ",
    "kana": "か\u3099が は\u309aぱ",
    "latin": "Cafe\u0301 naïve Z\u0351\u036b\u0343algo",
    "vietnamese": unicodedata.normalize("NFD", "Tiếng Việt"),
    "ethiopic": "ሰላም ፝ሀ",
    "nko": "ߒߞߏ߫ ߟߊ߲",
    "mongolian": "ᠮᠣᠩᠭᠣᠯ᠋",
    "kaithi": "𑂽𑂫𑂹𑂭",
    "emoji": "👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈 ❤️ 1️⃣ 🏴󠁧󠁢󠁥󠁮󠁧󠁿 👁️‍🗨️",
    "flags": "🇩🇪🇫🇷🇮🇹🇯🇵 a🇩🇪🇫",
    "line ends": "one\r\ntwo\r\n\r\n",
}


def ends(text: str) -> set[int]:
    """Where ICU says that a character begins or ends."""
    places, at = {0}, 0
    for segment in CharacterBreaker(text, "en_US"):
        at += len(segment)
        places.add(at)
    return places


@pytest.mark.parametrize("text", WORDS.values(), ids=WORDS)
def test_a_text_of_any_script_is_cut_between_its_characters_at_every_offset(text: str) -> None:
    text *= 2
    allowed = ends(text)
    for length in range(1, len(text)):
        cut = shorten(text, length)
        kept = cut.removesuffix(ELLIPSIS)
        assert cut.endswith(ELLIPSIS)
        assert len(cut) <= length
        assert text.startswith(kept)
        assert len(kept) in allowed
        longest = max(end for end in allowed if end < length)
        assert not text[len(kept) : longest].strip(), "nothing but blanks is left out beside what does not fit"
    for room in range(len(ELLIPSIS.encode()), json_size(text)):
        assert len(fit(text, room).removesuffix(ELLIPSIS)) in allowed


def test_every_code_point_joins_its_neighbours_as_icu_joins_them() -> None:
    bases = ("a", "क", "क\u094d", "가", "👩", "👩\u200d", "🇩", "\u0600", "\r")
    for code in range(1, 0x110000):
        char = chr(code)
        if unicodedata.category(char) in ("Cn", "Co", "Cs") or code in range(0x20000, 0x32000):
            continue
        base = bases[code % len(bases)]
        text = f"{base}{char}{base}{char}b"
        assert len(shorten(text, len(base) + 1).removesuffix(ELLIPSIS)) in ends(text), hex(code)


@pytest.mark.parametrize("flags", [63, 64, 65, 66, 1_000, 1_001])
def test_flags_are_whole_in_a_row_of_any_length(flags: int) -> None:
    for text in ("🇩🇪" * flags, "🇩" + "a" + "🇩🇪" * flags):
        assert len(shorten(text, len(text) - 1).removesuffix(ELLIPSIS)) in ends(text)


@pytest.mark.parametrize(
    "beginning", ["", "a", "e\u0301", "नमस्ते ", "🇩🇪", "👩‍👩‍👧", "x" * 63], ids=lambda text: f"{len(text)} before"
)
@pytest.mark.parametrize("text", ["स्त्री", "👩‍👩‍👧‍👦", "🇩🇪", "น้ำ"])
def test_what_stands_before_the_part_that_is_looked_at_changes_nothing(beginning: str, text: str) -> None:
    whole = beginning + text * 40
    allowed = ends(whole)
    assert all(len(shorten(whole, n).removesuffix(ELLIPSIS)) in allowed for n in range(1, len(whole)))


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("Leia", "L", "a"),
        ("स्त्री", "स्त्री", "स्त्री"),
        ("👩‍👩‍👧 🇩🇪", "👩‍👩‍👧", "🇩🇪"),
        ("น้ำ", "น้ำ", "น้ำ"),
        ("", "", ""),
        ("x" + "\u0301" * 500, "x" + "\u0301" * (LONGEST_CLUSTER - 1), "\u0301"),
    ],
)
def test_an_initial_is_a_whole_character(text: str, first: str, last: str) -> None:
    assert first_character(text) == first
    assert last_character(text) == last


def test_a_template_takes_whole_characters_too() -> None:
    template = Template.parse(
        b'{"aps": {"alert": {"title": "{{ sender.name|first }}.", "body": "{{ message.text|truncate(13) }}"}}}'
    )
    rendered = template.render({"sender": {"name": "क्षमा"}, "message": {"text": "दोस्तों नमस्ते जी"}}).rendered
    assert rendered.payload() == '{"aps":{"alert":{"title":"क्ष.","body":"दोस्तों नम…"}}}'.encode()
