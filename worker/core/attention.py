"""An app's settings of attention: how loud, how often, when, and what a push service may read.

With every default Carillon does what it does without them.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec

from producers.events import Window
from producers.fields import Level, Privacy, Trigger, Zone

Present = Literal["online", "active"]
Members = Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]
#: Seconds for which something waits, or is quiet.
Minutes = Annotated[int, msgspec.Meta(ge=1, le=600)]
Hour = Annotated[int, msgspec.Meta(ge=0, le=3600)]
Day = Annotated[int, msgspec.Meta(ge=60, le=86_400)]
Placeholder = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class Attention(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Stored as one JSON document, so that a setting is one line here. A field that a later release wrote is ignored."""

    # How loud.
    #: For everybody who has chosen nothing, in channels that say nothing.
    level: Level = "all"
    #: Switches, which go before it.
    triggers: dict[Trigger, bool] = {}
    #: Members of a channel from which on here and everyone count as a plain message; None: never.
    wide_mention_limit: Members | None = None

    # When.
    #: Seconds after which a member who is present is decided again; None: who is online is skipped for good.
    online_delay: Minutes | None = None
    #: Which key makes a member present.
    present: Present = "online"
    #: Windows in which those without a row of their own want no notification.
    quiet: Annotated[tuple[Window, ...], msgspec.Meta(max_length=28)] = ()
    #: Their time zone: a name of the IANA database, or `device`: `attributes.zone` of their latest registration.
    quiet_zone: Zone | None = None
    #: Seconds over which the digests of one instant are spread.
    digest_spread: Hour = 300

    # How often.
    #: Seconds in which only the first push of a user and channel makes a sound; None: each does.
    sound_every: Minutes | None = None
    #: The same over all channels of a user.
    sound_every_user: Minutes | None = None
    #: Seconds in which a channel that is folded sends one update at most; None: each message sends one.
    fold_every: Minutes | None = None
    #: What a later push of the channel replaces.
    collapse: Literal["message", "channel"] = "message"
    #: Pushes a user gets on one day of theirs, but for direct messages, mentions and calls; None: all.
    daily_cap: Members | None = None

    # What changes afterwards.
    #: What an edit reaches: what is queued, also what is shown, or nothing.
    edits: Literal["queued", "replace", "off"] = "queued"
    #: What a deletion does to what is shown: removes it where the device accepts that, also replaces it elsewhere, or nothing.
    retract: Literal["clear", "replace", "off"] = "clear"

    # Reminders.
    #: Seconds after which a conversation that stays unread is notified of again; None: never.
    remind_after: Day | None = None
    remind_times: Annotated[int, msgspec.Meta(ge=1, le=3)] = 1
    #: Members of a channel above which there are none; None: any.
    remind_members: Members | None = 10
    remind_triggers: tuple[Trigger, ...] = ("direct", "mention", "reply")

    # Privacy.
    privacy: Privacy = "full"
    #: Whether a device without a key gets nothing where its payload would be sealed.
    sealed_only: bool = False
    #: What is shown in place of a text, by language; `""`: any other.
    placeholder: dict[str, Placeholder] = {}
    #: Bytes to a multiple of which a sealed text is filled up; None: none.
    pad: Annotated[int, msgspec.Meta(ge=16, le=1024)] | None = None

    # Calls.
    #: Whether a call that nobody took becomes a notification.
    missed: bool = True
    #: Whether a call is ended by a second VoIP push.
    cancel_by_voip: bool = False


DEFAULTS: Final = Attention()


def attention(stored: Mapping[str, Any]) -> Attention:
    """As it was stored. A value that only a later release knows has its default."""
    try:
        return msgspec.convert(dict(stored), Attention) if stored else DEFAULTS
    except msgspec.ValidationError:
        kept = {name: value for name, value in stored.items() if _is_known(name, value)}
        return msgspec.convert(kept, Attention)


def _is_known(name: str, value: Any) -> bool:
    try:
        msgspec.convert({name: value}, Attention)
    except msgspec.ValidationError:
        return False
    return True
