"""Of each family of a partition's keys: which app a key, or an item of one that apps share, belongs to, and where entries are.

An item is a field and its value, a member and its score, or a member. A family without a rule here is one that a change of the
partitions would lose: a test compares the two lists.
"""

import json
from collections.abc import Callable
from typing import Any, Final, Literal

#: The part of a key's name that tells its app, and how: the app itself; `<…>@<app>`; a way or a provider; a batch.
How = Literal["app", "scoped", "way", "batch", "lines"]
WHOLE: Final[dict[str, tuple[int, How]]] = {
    **dict.fromkeys(
        ("BADGE", "CLEARED", "SHOWN", "CLEARING", "COUNTS", "BURST", "SOUNDS", "PUSHES_OF_DAY", "FOLDS", "CALL"),
        (0, "app"),
    ),
    **dict.fromkeys(
        ("ACTIVITY", "ACTIVITY_URGENT", "ACTIVITY_STARTS", "DIGEST", "SPEAKER", "SPEAKER_SENT"), (0, "app")
    ),
    **dict.fromkeys(("RECENT", "GROUPS_IN_TURN"), (0, "app")),
    **dict.fromkeys(("READY_OF_APP", "TURNS_OF_APP", "OLD_READY_OF_APP"), (1, "app")),
    **dict.fromkeys(("CHANNEL_LINE", "TAKEN", "READY_IN_GROUP"), (0, "scoped")),
    **dict.fromkeys(("SENDING", "LATER", "ORIGINS", "BREAKER", "PROBE", "LOOKED", "STOPPED", "REFUSED"), (0, "way")),
    **dict.fromkeys(
        ("ANSWERS", "FIRST_REFUSALS", "DEFERRED", "COOLDOWNS", "COOLDOWN_REFUSALS", "QUOTA", "BUSY_DEVICES"), (0, "way")
    ),
    "LINE": (1, "way"),
    **dict.fromkeys(("BATCH", "WAITS", "FOLLOWERS"), (0, "batch")),
    "REMINDER": (0, "lines"),
}


def _itself(item: str, _value: str) -> str:
    return f"app {item}"


def _lines(item: str, _value: str) -> str:
    return f"app {item.partition(chr(10))[0]}"


def _of_state(_item: str, value: str) -> str:
    return _lines(value, "")


def _scoped(item: str, _value: str) -> str:
    return f"app {item.partition('@')[2]}"


def _way(item: str, _value: str) -> str:
    return f"way {item}"


def _entry(item: str, _value: str) -> str:
    return f"entry {item}"


def _due(item: str, _value: str) -> str:
    kind, _, id = item.partition(":")
    return {"e": f"entry {id}", "b": f"batch {id}"}.get(kind) or _scoped(id, "")


def _account(item: str, _value: str) -> str:
    return f"app {json.loads(item)[0]}"


#: What an item of a shared key belongs to: `app …`, `way …`, `batch …` or `entry …`.
SHARED: Final[dict[str, Callable[[str, str], str]]] = {
    **dict.fromkeys(("APPS", "READY", "TURNS", "OLD_READY"), _itself),
    **dict.fromkeys(("OPEN", "TRIES", "SCHEDULED", "SECOND_LOOKS_DUE"), _entry),
    **dict.fromkeys(("EXPANDING", "SECOND_LOOKS"), _of_state),
    **dict.fromkeys(("EXPANDING_CHANNELS", "EXPANDING_GROUPS"), _scoped),
    **dict.fromkeys(("REMINDERS", "REMINDERS_SENT", "DIGESTS", "SILENT_BADGES"), _lines),
    **dict.fromkeys(("OUT_OF_TURN", "DEFERRED_PROVIDERS"), _way),
    "DUE": _due,
    "ACCOUNTS": _account,
}
#: Every new partition gets all of these: limits that their own apps use, rows that a relay has moved, and the last turn given.
EVERYWHERE: Final = frozenset({"RATE", "OUTBOX", "TURN"})
#: Copied in their own way.
STREAMS: Final = frozenset({"EVENTS", "APP_EVENTS", "OPENED"})
#: What workers write anew, or what is about the streams of before.
LEFT: Final = frozenset(
    {"PRESSURE", "MOVED", "TRIMMED", "INTAKE_TOKEN", "LEADER", "WOKEN", "ASKED", "WATCHED", "NONE", "DEFERRED_ASKED"}
    | {"NUMBERED", "HOMEWARD", "HOMEWARD_LAST", "CARRIED"}
)


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
