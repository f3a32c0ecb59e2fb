"""Numbers, times and the words of others, as pages show them."""

import re
from datetime import UTC, datetime
from typing import Any, Final

from markupsafe import Markup, escape

from worker.reports.words import instant

#: Characters of a text of others that are shown.
SHOWN: Final = 200
#: What is not applicable.
NONE: Final = "–"
#: Characters that turn text around or join it out of sight.
_HIDDEN: Final = frozenset(
    "\u061c\u200b\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
)
#: A command of ours with an option, in a sentence.
_COMMAND: Final = re.compile(r"(carillon(?: [\w./@'-]+)* --[\w-]+(?:(?: --[\w-]+| [^\s,;:()]+))*)")
#: A time in a sentence, as `worker/reports/words.py` puts it.
_INSTANT: Final = re.compile(r"\b(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)\b")
_MINUTE: Final = 60
_HOUR: Final = 3_600
_DAY: Final = 86_400


def hostile(text: str, most: int = SHOWN) -> str:
    """A text of others, cut to so many characters, with control and bidirectional characters spelt out."""
    cut = text if len(text) <= most else f"{text[: most - 1]}…"
    return "".join(c if _plain(c) else _spelt(c) for c in cut)


def prose(text: str) -> Markup:
    """A sentence of our own, which may be long; what it quotes is still treated as hostile. Times are those of `moment`."""
    parts = _INSTANT.split(hostile(text, 2_000))
    return Markup("").join(_time(part) if n % 2 else escape(part) for n, part in enumerate(parts))


def finalize(value: Any) -> Any:
    """What a template prints for a value: every text is treated as hostile, None is a dash."""
    if value is None:
        return NONE
    return hostile(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def count(number: float | None) -> str:
    """`12,400`."""
    return NONE if number is None else f"{number:,.0f}"


def rate(number: float | None) -> str:
    """`0.9`, `62`, `12,400`: a number a second."""
    if number is None:
        return NONE
    return f"{number:.1f}" if number < 10 else f"{number:,.0f}"


def share(part: float | None, whole: float | None) -> str:
    """`0.9 %` of a whole; a dash where there is none."""
    return f"{100 * part / whole:.1f} %" if part is not None and whole else NONE


def size(number: float | None) -> str:
    """`412 bytes`, `3.4 MB`."""
    if number is None:
        return NONE
    if number < 1_000:
        return f"{number:.0f} bytes"
    unit, by = ("kB", 1e3) if number < 1e6 else ("MB", 1e6) if number < 1e9 else ("GB", 1e9)
    return f"{number / by:.1f} {unit}"


def duration(seconds: float | None) -> str:
    """`45 ms`, `2.6 s`, `6 min 06 s`, `44 min`, `2 h 41 min`, `3 days`."""
    if seconds is None:
        return NONE
    seconds = max(0.0, seconds)
    if seconds < 1:
        return f"{1_000 * seconds:.0f} ms" if seconds else "0 s"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < 10 * _MINUTE:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min"
    if whole < _DAY:
        minutes = whole % _HOUR // _MINUTE
        return f"{whole // _HOUR} h" + (f" {minutes:02} min" if minutes else "")
    return f"{whole // _DAY} day{'s' if whole >= 2 * _DAY else ''}"


def moment(at: float | datetime | None, form: str = "") -> Markup | str:
    """A `<time>` in UTC: `14:02:05` today, `26 Nov 21:14` else. `form`: `ms` for milliseconds, `minute` without seconds."""
    if at is None:
        return NONE
    when = at.astimezone(UTC) if isinstance(at, datetime) else datetime.fromtimestamp(at, UTC)
    now = datetime.now(UTC)
    clock = f"{when:%H:%M}" if form == "minute" else f"{when:%H:%M:%S}"
    if form == "ms":
        clock += f".{when.microsecond // 1_000:03}"
    if when.date() == now.date():
        words = clock
    elif when.year == now.year:
        words = f"{when.day} {when:%b} {clock if form == 'ms' else clock[:5]}"
    else:
        words = f"{when.day} {when:%b %Y}"
    return Markup('<time datetime="{}">{}</time>').format(instant(when), words)


def clock(at: float) -> str:
    """`14:02:05`, in UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%H:%M:%S}"


def minute(at: float) -> str:
    """`14:02` today, `26 Nov 21:14` else, in UTC and without a `<time>`."""
    when, now = datetime.fromtimestamp(at, UTC), datetime.now(UTC)
    return f"{when:%H:%M}" if when.date() == now.date() else f"{when.day} {when:%b %H:%M}"


def since(at: float | None, now: float) -> Markup | str:
    """`14:02 (6 min 06 s)`."""
    if at is None:
        return NONE
    return Markup("{} ({})").format(moment(at, "minute"), duration(now - at))


def steps(advice: str) -> list[Markup]:
    """What to do, of our own sentences: one step each, with commands marked as such."""
    found = []
    for step in advice.split("; "):
        text = hostile(step if _COMMAND.match(step) else f"{step[:1].upper()}{step[1:]}", 2_000)
        parts = _COMMAND.split(text)
        # What the pattern matched is every second part.
        marked = (Markup("<code>{}</code>").format(part) if n % 2 else escape(part) for n, part in enumerate(parts))
        found.append(Markup("").join(marked))
    return found


def _time(text: str) -> Markup | str:
    try:
        return moment(datetime.fromisoformat(text), "ms" if "." in text else "")
    except ValueError:  # such as the 31st of February in a text of others
        return escape(text)


def _plain(c: str) -> bool:
    code = ord(c)
    return not (code < 0x20 or 0x7F <= code < 0xA0 or c in _HIDDEN or 0xD800 <= code < 0xE000)


def _spelt(c: str) -> str:
    return f"\\u{ord(c):04x}"
