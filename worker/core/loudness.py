"""How loud a notification is: by the reason for which somebody gets it, and by the message's urgency."""

from typing import Final, Literal, NamedTuple

from producers.events import MessageNew

#: The channels of notifications that an Android app makes once. Their importance belongs to the user from then on.
Importance = Literal["", "calls", "direct", "mentions", "messages", "silent"]


class Loudness(NamedTuple):
    """`level`, `relevance` and `importance` are empty where they say nothing else than without them."""

    sound: bool = True
    #: Apple's interruption level; '' for `active`.
    level: Literal["", "passive", "time-sensitive"] = ""
    #: Apple's relevance score, from 0 to 1.
    relevance: float | None = None
    importance: Importance = ""
    #: As of APNs.
    priority: Literal[5, 10] = 10


_RANKS: Final[dict[str, tuple[float, Importance]]] = {
    "direct": (1.0, "direct"),
    "mention": (0.9, "mentions"),
    "reply": (0.9, "mentions"),
    "group": (0.7, "mentions"),
    "keyword": (0.7, "mentions"),
    "thread": (0.6, "messages"),
    "here": (0.5, "messages"),
    "everyone": (0.5, "messages"),
    "message": (0.3, "messages"),
}
_LEAST: Final = 0.1
#: As every message was before it could be anything else.
PLAIN: Final = Loudness()


def loudness(event: MessageNew, why: str, *, sound: bool = True) -> Loudness:
    """For those who get the message for this trigger. `sound`: whether their budget of sounds allows one.

    Relevance and importance compare messages, so they are for apps that say more of theirs: a channel's kind, or an urgency.
    """
    urgency = event.message.urgency
    if why == "reaction":
        return Loudness(sound=False, level="passive", relevance=_LEAST, importance="silent")
    if urgency == "low":
        return Loudness(sound=False, level="passive", relevance=_LEAST, importance="silent", priority=5)
    relevance, importance = _RANKS[why]
    if urgency == "urgent":
        return Loudness(sound, "time-sensitive", 1.0, importance)
    importance = importance if sound else "silent"
    if event.channel.kind is not None:
        return Loudness(sound, relevance=relevance, importance=importance)
    return PLAIN if sound else Loudness(sound=False, importance=importance)
