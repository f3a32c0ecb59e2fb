"""The one table of which app a key, or an item of a key that apps share, belongs to. The other modules derive theirs from it.

An item is a field and its value, a member and its score, or a member. What is found is a kind and a name: `app …`; or `way …`,
`batch …` or `entry …`, of which others know the app.
"""

import json
from collections.abc import Callable
from typing import Final, Literal

#: How a part of a key's name tells the app: the app itself; `<…>@<app>`; a way or a provider; a batch; the first line; a limit.
How = Literal["app", "scoped", "way", "batch", "lines", "limit"]

#: By family: which part of a key's name tells the app, and how.
KEYS: Final[dict[str, tuple[int, How]]] = {
    **dict.fromkeys(
        ("BADGE", "CLEARED", "SHOWN", "CLEARING", "COUNTS", "BURST", "SOUNDS", "PUSHES_OF_DAY", "FOLDS", "CALL"),
        (0, "app"),
    ),
    **dict.fromkeys(
        ("ACTIVITY", "ACTIVITY_URGENT", "ACTIVITY_STARTS", "DIGEST", "SPEAKER", "SPEAKER_SENT"), (0, "app")
    ),
    **dict.fromkeys(
        ("APP_EVENTS", "RECENT", "GROUPS_IN_TURN", "ONLINE", "ACTIVE", "VIEWING", "READ"),
        (0, "app"),
    ),
    **dict.fromkeys(("READY_OF_APP", "TURNS_OF_APP", "OLD_READY_OF_APP"), (1, "app")),
    **dict.fromkeys(("CHANNEL_LINE", "TAKEN", "READY_IN_GROUP"), (0, "scoped")),
    **dict.fromkeys(("SENDING", "LATER", "ORIGINS", "BREAKER", "PROBE", "LOOKED", "STOPPED", "REFUSED"), (0, "way")),
    **dict.fromkeys(
        ("ANSWERS", "FIRST_REFUSALS", "DEFERRED", "COOLDOWNS", "COOLDOWN_REFUSALS", "QUOTA", "BUSY_DEVICES"), (0, "way")
    ),
    "LINE": (1, "way"),
    **dict.fromkeys(("BATCH", "WAITS", "FOLLOWERS"), (0, "batch")),
    "REMINDER": (0, "lines"),
    "RATE": (0, "limit"),
}


def of_key(family: str, parts: tuple[str, ...]) -> str | None:
    """What a key of the family belongs to, by the parts of its name; None: no app's, or the name does not tell."""
    if family not in KEYS:
        return None
    at, how = KEYS[family]
    part = parts[at]
    match how:
        case "scoped":
            return f"app {part.partition('@')[2]}"
        case "lines":
            return _lines(part, "")
        case "limit":
            return f"app {part.partition(':')[2].partition(':')[0]}"
    return f"{how} {part}"


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


#: By family: what an item belongs to.
ITEMS: Final[dict[str, Callable[[str, str], str]]] = {
    **dict.fromkeys(("APPS", "READY", "TURNS", "OLD_READY", "PRESSURE"), _itself),
    **dict.fromkeys(("OPEN", "TRIES", "SCHEDULED", "SECOND_LOOKS_DUE"), _entry),
    **dict.fromkeys(("EXPANDING", "SECOND_LOOKS"), _of_state),
    **dict.fromkeys(("EXPANDING_CHANNELS", "EXPANDING_GROUPS"), _scoped),
    **dict.fromkeys(("REMINDERS", "REMINDERS_SENT", "DIGESTS", "SILENT_BADGES"), _lines),
    **dict.fromkeys(("OUT_OF_TURN", "DEFERRED_PROVIDERS"), _way),
    "DUE": _due,
    "ACCOUNTS": _account,
}
#: Families whose items begin with the app, and end there, or go on behind a line break: `%` stands for the app.
BEGINNINGS: Final = {
    family: "%" if rule is _itself else "%\n" for family, rule in ITEMS.items() if rule in (_itself, _lines)
}
#: Families whose fields are names of streams, an app's own among them.
STREAM_NAMES: Final = ("MOVED", "TRIMMED", "OPENED")
