"""What the suite of facts has to know of each: what makes it so of han, what ends it, and what the rules say then."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from producers import events as ev
from tests.integration.facts.toy import SNOOZES
from tests.integration.pipeline.harness import message, stamp
from worker.facts.base import Fact
from worker.facts.changes import CHANGES
from worker.facts.channels import CHANNELS
from worker.facts.members import MEMBERS
from worker.facts.mutes import MUTES
from worker.facts.preferences import PREFERENCES
from worker.facts.quiet import QUIET
from worker.facts.threads import THREADS

Event = Callable[[float], ev.AnyEvent]


class Example(NamedTuple):
    fact: Fact[Any]
    #: It is so from this event on, `seconds` after the beginning.
    begin: Event
    #: It is so no more from this event on; None: it ends when nothing is said for long.
    end: Event | None
    #: What becomes of han for a message of leia: without the fact, and with it.
    without: str
    so: str
    #: Its tables, each with the column by which rows grow old.
    tables: dict[str, str]
    #: Of the message.
    fields: Mapping[str, Any] = MappingProxyType({})
    #: Whether han is a member.
    member: bool = True
    #: Whether a message sees it as it was at its place; else as it is when the message is expanded.
    at_place: bool = True


def member(kind: type[ev.MemberAdded | ev.MemberRemoved]) -> Event:
    return lambda seconds: kind(**stamp(seconds), channel=ev.ChannelId(id="general"), users=["han"])


def mute(kind: type[ev.UserMuted | ev.UserUnmuted], target: str) -> Event:
    return lambda seconds: kind(**stamp(seconds), user="han", target=target)


def switch(on: bool) -> Event:
    settings = ev.ChannelSettings(id="general", push_notifications=on)
    return lambda seconds: ev.ChannelUpdated(**stamp(seconds), channel=settings)


def quiet(*clock: str) -> Event:
    """All day in a window from and to these times, or no quiet time."""
    days: Any = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    windows = [ev.Window(days=days, begin=clock[0], to=clock[1])] if clock else None
    return lambda seconds: ev.QuietUpdated(**stamp(seconds), user="han", zone="Europe/Berlin", quiet=windows)


EXAMPLES: Final = [
    Example(
        MEMBERS,
        member(ev.MemberAdded),
        member(ev.MemberRemoved),
        *("not_a_member", "pushed"),
        {"members": "changed_on", "member_past": "ended_at"},
        fields={"mentioned": ["han"]},
        member=False,
    ),
    Example(CHANNELS, switch(False), switch(True), "pushed", "channel_push_off", {"channel_past": "ended_at"}),
    Example(
        MUTES,
        mute(ev.UserMuted, "leia"),
        mute(ev.UserUnmuted, "leia"),
        *("pushed", "muted_sender"),
        {"mutes": "changed_on", "mute_past": "ended_at"},
    ),
    Example(
        THREADS,
        lambda seconds: message(sender="han", id="reply", seconds=seconds, parent_id="root"),
        None,
        *("not_in_thread", "pushed"),
        {"threads": "day", "thread_participants": ""},
        fields={"parent_id": "root"},
    ),
    Example(
        PREFERENCES,
        lambda seconds: ev.PreferencesUpdated(**stamp(seconds), user="han", level="none"),
        lambda seconds: ev.PreferencesUpdated(**stamp(seconds), user="han"),
        *("pushed", "level_none"),
        {"preferences": "silent_on"},
        at_place=False,
    ),
    Example(
        CHANGES,
        lambda seconds: ev.MessageDeleted(
            **stamp(seconds), channel=ev.ChannelId(id="general"), message=ev.MessageId(id="m-9")
        ),
        None,
        *("pushed", "deleted"),
        {"message_changes": "changed_on"},
        fields={"message_id": "m-9"},
        at_place=False,
    ),
    Example(
        QUIET,
        quiet("00:00", "24:00"),
        quiet(),
        *("pushed", "quiet"),
        {"quiet": "over_on"},
        at_place=False,
    ),
    Example(
        SNOOZES,
        mute(ev.UserMuted, "han"),
        mute(ev.UserUnmuted, "han"),
        *("pushed", "snoozed"),
        {"snoozes": "changed_on", "snooze_past": "ended_at"},
    ),
]
