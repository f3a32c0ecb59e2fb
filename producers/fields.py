"""What the events of the contract are made of: types of fields, with their bounds."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec

from producers.targeting import CONDITIONS_SCHEMA, MAX_BADGE, MAX_CONDITIONS, MAX_VALUES

_NO_CONTROL: Final = {"not": {"pattern": r"[\u0000-\u001f\u007f-\u009f]"}}
_NO_CONTROL_NO_COLON: Final = {"not": {"pattern": r"[:\u0000-\u001f\u007f-\u009f]"}}
_NO_NUL: Final = {"not": {"pattern": r"\u0000"}}

# Lengths are in characters (Unicode code points). `checks.py` holds what the patterns say, at a tenth of their cost.
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=255, extra_json_schema=_NO_CONTROL)]
#: No colon, so that `carillon:online:<app>:<user>` can be read one way only.
App = Annotated[str, msgspec.Meta(min_length=1, max_length=255, extra_json_schema=_NO_CONTROL_NO_COLON)]
Name = Annotated[str, msgspec.Meta(max_length=255, extra_json_schema=_NO_NUL)]
Url = Annotated[str, msgspec.Meta(max_length=2048, extra_json_schema=_NO_CONTROL)]
Text = Annotated[str, msgspec.Meta(max_length=40_000, extra_json_schema=_NO_NUL)]
Version = Annotated[str, msgspec.Meta(max_length=64, extra_json_schema=_NO_CONTROL)]
Locale = Annotated[str, msgspec.Meta(max_length=35, extra_json_schema=_NO_CONTROL)]
Token = Annotated[str, msgspec.Meta(min_length=1, max_length=4096, extra_json_schema=_NO_CONTROL)]
Platform = Annotated[str, msgspec.Meta(max_length=32, pattern="^[a-z][a-z0-9_-]*$")]
#: 65 octets and 16 in base64; which form of it, the kind of provider checks.
BrowserKey = Annotated[str, msgspec.Meta(min_length=1, max_length=255, extra_json_schema=_NO_CONTROL)]
Users = Annotated[list[Id], msgspec.Meta(min_length=1, max_length=10_000)]
Mentioned = Annotated[list[Id], msgspec.Meta(max_length=10_000)]
Recipients = Annotated[list[Id], msgspec.Meta(max_length=10_000)]
Attributes = Annotated[dict[str, Any], msgspec.Meta(max_length=64)]
Data = Annotated[dict[str, Any], msgspec.Meta(max_length=256)]
Badge = Annotated[int, msgspec.Meta(ge=0, le=MAX_BADGE)]
AnyOf = Annotated[list[Id], msgspec.Meta(min_length=1, max_length=MAX_VALUES)]
Conditions = Annotated[dict[str, Any], msgspec.Meta(max_length=MAX_CONDITIONS, extra_json_schema=CONDITIONS_SCHEMA)]
CollapseId = Annotated[
    str, msgspec.Meta(min_length=1, max_length=64, extra_json_schema={"pattern": "^[!-~]([ -~]*[!-~])?$"})
]
#: How loud a channel, a thread or everything is.
Level = Literal["all", "mentions", "personal", "none"]
#: Why a message may be for somebody, the most salient first.
Trigger = Literal["direct", "mention", "reply", "thread", "group", "here", "everyone", "keyword", "reaction", "message"]
#: What somebody may switch on or off, whatever the level.
Switch = Literal[Trigger, "reminder"]
Switches = dict[Switch, bool]
ChannelKind = Literal["channel", "group", "direct"]
#: How much of a message its push service may read, from all to nothing.
Privacy = Literal["full", "sender", "id", "sealed"]
Urgency = Literal["low", "normal", "urgent"]
Keywords = Annotated[list[Annotated[str, msgspec.Meta(min_length=2, max_length=64)]], msgspec.Meta(max_length=50)]
Badges = Annotated[dict[Id, Badge], msgspec.Meta(max_length=10_000)]
Callees = Annotated[list[Id], msgspec.Meta(min_length=1, max_length=100)]
Few = Annotated[list[Id], msgspec.Meta(max_length=100)]
Zone = Annotated[str, msgspec.Meta(min_length=1, max_length=64, extra_json_schema=_NO_CONTROL)]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Days = Annotated[list[Day], msgspec.Meta(min_length=1, max_length=7)]
#: `HH:MM` on a clock of the zone.
Clock = Annotated[
    str, msgspec.Meta(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$", description="a time of the day, such as 07:30")
]
EndClock = Annotated[
    str,
    msgspec.Meta(
        pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$", description="a time of the day, such as 07:30, or 24:00"
    ),
]
Purpose = Literal["alert", "voip", "activity", "activity-start", "ptt"]
#: What a build of the app understands, other than alerts.
Accepts = Annotated[list[Id], msgspec.Meta(max_length=16)]
CallId = Annotated[
    str,
    msgspec.Meta(
        pattern="^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$", description="a UUID"
    ),
]
KeyId = Annotated[
    str,
    msgspec.Meta(
        min_length=1, max_length=32, pattern="^[!-~]+$", description="visible ASCII characters without blanks"
    ),
]
TraceParent = Annotated[str, msgspec.Meta(max_length=255, extra_json_schema=_NO_NUL)]
#: An instant with its offset from UTC; a time without one is refused.
Instant = Annotated[datetime, msgspec.Meta(tz=True)]
