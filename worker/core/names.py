"""Names of people and channels as a banner may show them: on one line, and without power over the text around them."""

import re
from functools import lru_cache
from typing import Final

import msgspec

from producers.events import MessageNew
from producers.prose import shows

_LINE_BREAKS: Final = re.compile(r"\s*[\t-\r\x1c-\x1e\x85\u2028\u2029]\s*")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_BIDI: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")
_ISOLATES: Final = "\u2066\u2067\u2068"
_POP, _POP_ISOLATE = "\u202c", "\u2069"


@lru_cache(maxsize=4_096)
def clean_name(name: str | None) -> str:
    """The name without line breaks, control characters and unpaired bidi controls; empty where it would show nothing."""
    if not name or (name.isascii() and name.isprintable() and name[0] != " " and name[-1] != " "):
        return name or ""
    if not shows(name):
        return ""
    return balanced(_CONTROL.sub("", _LINE_BREAKS.sub(" ", name))).strip()


def balanced(text: str) -> str:
    """The text without those bidi controls that nothing closes, or that close nothing: they would turn what follows around.

    Source: Unicode Standard Annex 9, rules BD9 and X5 to X7.
    """
    if text.isascii() or not _BIDI.search(text):
        return text
    opened: list[int] = []
    unpaired: set[int] = set()
    for place, char in enumerate(text):
        if not _BIDI.match(char):
            continue
        if char == _POP:
            if opened and text[opened[-1]] not in _ISOLATES:
                opened.pop()
            else:
                unpaired.add(place)
        elif char == _POP_ISOLATE:
            if not any(text[start] in _ISOLATES for start in opened):
                unpaired.add(place)
                continue
            # The end of an isolate ends what was opened inside it too.
            while text[start := opened.pop()] not in _ISOLATES:
                unpaired.add(start)
        else:
            opened.append(place)
    unpaired.update(opened)
    return "".join(char for place, char in enumerate(text) if place not in unpaired)


def legible(event: MessageNew) -> MessageNew:
    """The message with names that can be shown, None where there is nothing to show, and no text where it is blank."""
    sender, channel, message = event.sender, event.channel, event.message
    if (name := clean_name(sender.name) or None) != sender.name:
        event = msgspec.structs.replace(event, sender=msgspec.structs.replace(sender, name=name))
    if (name := clean_name(channel.name) or None) != channel.name:
        event = msgspec.structs.replace(event, channel=msgspec.structs.replace(channel, name=name))
    if message.text and not shows(message.text):
        event = msgspec.structs.replace(event, message=msgspec.structs.replace(message, text=""))
    return event
