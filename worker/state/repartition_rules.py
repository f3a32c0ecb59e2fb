"""What a change of the partitions does with each family of a partition's keys, and where entries are in them.

An item is a field and its value, a member and its score, or a member. A family without a rule here is one that a change would
lose: a test compares the two lists. Which app a key or an item belongs to stands in `app_of.py`.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from worker.state import app_of
from worker.state.copying import text_of
from worker.state.keys import FAMILIES

_OURS: Final = frozenset(name for name, family in FAMILIES.items() if family.scope == "partition")
#: Every new partition gets all of these: limits that their own apps use, rows that a relay has moved, and the last turn given.
EVERYWHERE: Final = frozenset({"RATE", "OUTBOX", "TURN"})
#: Copied in their own way.
STREAMS: Final = frozenset({"EVENTS", "APP_EVENTS", "OPENED", "NUMBERED"})
#: What workers write anew, or what is about the streams of before.
LEFT: Final = frozenset(
    {"PRESSURE", "MOVED", "TRIMMED", "INTAKE_TOKEN", "LEADER", "WOKEN", "ASKED", "WATCHED", "NONE", "DEFERRED_ASKED"}
    | {"HOMEWARD", "HOMEWARD_LAST", "CARRIED", "TAKEN_AT_ONCE"}
)
#: Keys that go to the partition of their app as they are, and those that apps share, whose items each go to that of theirs.
WHOLE: Final = frozenset(app_of.KEYS.keys() & _OURS - EVERYWHERE - STREAMS - LEFT)
SHARED: Final = frozenset(app_of.ITEMS.keys() & _OURS - EVERYWHERE - STREAMS - LEFT)


#: Families whose keys are about a channel. Where an app is spread they go to its partition, and stay in the home as well:
#: messages that were taken before are expanded there.
_OF_CHANNELS: Final = frozenset({"BURST", "SOUNDS", "FOLDS", "SPEAKER", "SPEAKER_SENT"})
#: Families whose items are about a channel, which go to its partition alone, and at which line of an item it stands.
_IN_ITEMS: Final = {"SHOWN": 0, "REMINDERS": 1, "REMINDERS_SENT": 1}


def channel_of_key(family: str, parts: tuple[str, ...]) -> str | None:
    """The channel that the key is about, by the parts of its name; None: none, or its items tell."""
    if family == "REMINDER":
        return parts[0].split("\n")[1]
    if family not in _OF_CHANNELS:
        return None
    channel = ":".join(parts[1:])
    # A channel may have colons, the window behind it has none.
    return (channel.rpartition(":")[0] if len(parts) > 2 else channel) or None


def stays_as_well(family: str) -> bool:
    """Whether the key of a channel is wanted in the home too."""
    return family in _OF_CHANNELS


def is_by_hand(family: str, items: Iterable[tuple[Any, Any]]) -> bool:
    """Whether the key is a provider's stop by a person, which is in all partitions of its app."""
    return family == "BREAKER" and any(text_of(name) == "manual" and text_of(of) == "1" for name, of in items)


def items_tell_channel(family: str) -> bool:
    """Whether not the key, but each of its items is about a channel."""
    return family in _IN_ITEMS


def channel_of_item(family: str, item: str) -> str | None:
    """The channel that the item of a key is about; None: none."""
    return item.split("\n")[_IN_ITEMS[family]] if family in _IN_ITEMS else None


#: Families whose whole keys belong to an app, and name entries.
NAMING: Final = frozenset({"READY_OF_APP", "TAKEN", "READY_IN_GROUP", "CHANNEL_LINE"})


def renamed(family: str, item: str, value: Any, name: Callable[[str], str]) -> tuple[str, Any]:
    """The item with the names that its entries have now. `name` gives the new name of an entry."""
    match family:
        case "OPEN" | "TRIES" | "SCHEDULED" | "EXPANDING":
            return name(item), value
        case "SECOND_LOOKS" | "SECOND_LOOKS_DUE" | "READY_OF_APP" | "TAKEN" | "READY_IN_GROUP":
            return _look(item, name), value
        case "EXPANDING_CHANNELS":
            return item, name(value)
        case "CHANNEL_LINE":
            place, _, entry = item.partition("/")
            return f"{place}/{name(entry)}", value
        case "DUE" if item.startswith("e:"):
            return f"e:{name(item[2:])}", value
    return item, value


def _look(item: str, name: Callable[[str], str]) -> str:
    """Of an entry, or of a second look (`<n>/<entry>`)."""
    number, _, entry = item.partition("/")
    return f"{number}/{name(entry)}" if entry and "-" not in number else name(item)
