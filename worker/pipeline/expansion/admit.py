"""First stage: opened entries become messages to expand, each with its channel. A skipped message ends here."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from producers import events
from producers.events import BadgeCleared, CallEnded, CallStarted, MessageNew, PushSend
from worker.core import second_look
from worker.core.calls import as_message
from worker.core.entry import ms_of
from worker.core.model import AppSettings
from worker.core.places import NOW
from worker.core.position import position
from worker.core.rules import MessageCase, skip_message
from worker.core.second_look import SecondLook
from worker.facts.channels import Channel, ChannelKey, ChannelRow
from worker.pipeline.expansion.calls import CallTarget
from worker.pipeline.targeted import Target
from worker.state.journal import Opened


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """Where the expansion of a channel stands."""

    #: The last user considered; the next page begins behind it.
    after: str = ""
    page: int = 0
    #: Members who were notified so far without being called: the cap counts over all pages.
    pushed: int = 0
    #: Users of later pages who were considered on the first one by their own word: it may be another by now.
    first: Sequence[str] = ()


_BEGINNING: Final = Cursor()
_decode: Final = msgspec.json.Decoder(Cursor).decode


class Accepted(NamedTuple):
    """A readable message of an existing app."""

    opened: Opened
    event: MessageNew
    app: AppSettings
    key: ChannelKey
    #: Its place in the stream: members, mutes and channels count as they stood there.
    place: int


class Expanding(NamedTuple):
    """A message whose next page is expanded."""

    opened: Opened
    event: MessageNew
    app: AppSettings
    key: ChannelKey
    place: int
    #: UNIX seconds at which it came.
    came: int
    cursor: Cursor
    #: As it was at the message's place; None: not known there.
    channel: ChannelRow | None
    #: Where this is a second look.
    look: SecondLook | None = None
    #: Whether its channel is small enough for a call of all of it: the app's `wide_mention_limit`.
    wide: bool = True
    #: Facts that the app has any rows of, among those of `worker/facts/used.py`.
    used: Collection[str] = ()

    @property
    def begins(self) -> bool:
        """Whether nothing of the message was expanded before."""
        return not self.cursor.page and self.look is None

    @property
    def seen_from(self) -> int:
        """The place at which members, mutes and channels count: a second look sees them as they are now."""
        return self.place if self.look is None else NOW

    @property
    def cap(self) -> int | None:
        """How many members may get a push without being called; None: all.

        Users of a second look took their places of it when they were delayed.
        """
        message = self.event.message
        everyone = message.mentions_everyone or (message.mentions.everyone and self.wide)
        return None if everyone or self.look is not None else self.app.member_cap


class Documents(NamedTuple):
    """What was opened, by what becomes of it."""

    messages: list[Accepted]
    targets: list[Target]
    calls: list[CallTarget]
    #: Their document or app went since intake took them.
    lost: list[Opened]


def read_documents(opened: Iterable[Opened], app_of: Callable[[str], AppSettings | None]) -> Documents:
    found = Documents([], [], [], [])
    apps: dict[str, AppSettings | None] = {}
    for one in opened:
        event = events.accepted(one.document) if one.document else None
        app = None
        if event is not None:
            if event.app not in apps:
                apps[event.app] = app_of(event.app)
            app = apps[event.app]
        if app is None:
            found.lost.append(one)
        elif isinstance(event, CallStarted) and event.call.mode == "notify":
            message = as_message(event)
            place = one.place or position(one.entry)
            found.messages.append(Accepted(one, message, app, (event.app, event.channel.id), place))
        elif isinstance(event, CallStarted | CallEnded):
            found.calls.append(CallTarget(one, event, app))
        elif isinstance(event, MessageNew):
            place = one.place or position(one.entry)
            found.messages.append(Accepted(one, event, app, (event.app, event.channel.id), place))
        elif isinstance(event, BadgeCleared | PushSend):
            found.targets.append(Target(one, event, app))
        else:
            found.lost.append(one)
    return found


def admit(
    messages: Sequence[Accepted], channels: Mapping[ChannelKey, Channel], now: float
) -> tuple[list[Expanding], list[tuple[Expanding, str]]]:
    """Those to expand, and those that are skipped as a whole, each with its reason."""
    admitted: list[Expanding] = []
    skipped: list[tuple[Expanding, str]] = []
    for opened, event, app, key, place in messages:
        known = channels.get(key)
        look = second_look.decode(opened.cursor) if opened.look else None
        channel = None if known is None else known.at(place if look is None else NOW)
        reason = skip_message(MessageCase(event, app, channel is not None, channel is None or channel.push, now))
        # A producer's ids may be ahead of the clock.
        came = min(ms_of(opened.entry) // 1000, int(now))
        cursor = _decode(opened.cursor) if opened.cursor and look is None else _BEGINNING
        message = Expanding(opened, event, app, key, place, came, cursor, channel, look)
        if reason is None:
            admitted.append(message)
        else:
            skipped.append((message, reason))
    return admitted, skipped
