"""First stage: opened entries become messages to expand, each with its channel. A skipped message ends here."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from producers import events
from producers.events import (
    ActivityUpdated,
    BadgeCleared,
    CallEnded,
    CallStarted,
    ChannelRead,
    MessageDeleted,
    MessageNew,
    MessageUpdated,
    PttSpeaking,
    PushSend,
)
from worker.core import second_look
from worker.core.calls import as_message
from worker.core.edits import edit_as_message, edited
from worker.core.entry import ms_of
from worker.core.folding import folds_any
from worker.core.model import AppSettings
from worker.core.notification import expiration, milliseconds
from worker.core.places import NOW
from worker.core.position import position
from worker.core.rules import skip_message
from worker.core.second_look import SecondLook
from worker.facts.changes import Change, MessageKey
from worker.facts.channels import Channel, ChannelKey, ChannelRow
from worker.facts.used import Used
from worker.pipeline.expansion.activities import ActivityTarget
from worker.pipeline.expansion.calls import CallTarget
from worker.pipeline.expansion.ptt import PttTarget
from worker.pipeline.expansion.read_elsewhere import ReadTarget
from worker.pipeline.expansion.retract import DeletionTarget
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


class Expanding(msgspec.Struct):
    """A readable message of an existing app, of which the next page is expanded. Each stage adds what it finds out about it."""

    opened: Opened
    event: MessageNew
    app: AppSettings
    key: ChannelKey
    #: Its place in the stream: members, mutes and channels count as they stood there.
    place: int
    #: Where this is a second look, or an edit: that is for those whom it names first.
    look: SecondLook | None = None
    edit: bool = False
    #: Whether it was deleted since, and whether the message is known that it edits.
    deleted: bool = False
    known: bool = True
    #: Those whom an edit names first: it notifies them by itself.
    named_later: Collection[str] = ()
    #: Facts that the app has any rows of, among those of `worker/facts/used.py`.
    used: Collection[Used] = ()
    #: Whether anybody may have muted the sender.
    sender_muted: bool = True
    #: Its own time, ms since the epoch; UNIX seconds at which it came, and at which a push of it expires.
    written: int = 0
    came: int = 0
    expires_at: int = 0
    cursor: Cursor = _BEGINNING
    #: As it was at the message's place; None: not known there.
    channel: ChannelRow | None = None
    #: Whether nothing of the message was expanded before.
    begins: bool = True
    #: The place at which members, mutes and channels count: a second look sees them as they are now.
    seen_from: int = 0
    #: Whether its channel is small enough for a call of all of it: the app's `wide_mention_limit`.
    wide: bool = True
    #: Seconds after which its app reminds of it, if its channel is small enough; 0: never.
    reminds: int = 0

    @property
    def message_key(self) -> MessageKey:
        return (*self.key, self.event.message.id)

    @property
    def again(self) -> bool:
        """Whether presence is out of the question."""
        return self.look is not None and self.look.kind != "named"

    @property
    def is_queued_anew(self) -> bool:
        """Whether everybody was counted before: they get the message as it reads after an edit."""
        return self.look is not None and self.look.kind == "edited"

    @property
    def replaces(self) -> bool:
        """Whether it is an edit that also reaches those who are shown the message."""
        first = self.look is not None and self.look.kind == "named" and not self.opened.look
        return first and self.app.attention.edits == "replace" and not folds_any(self.app)

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

    messages: list[Expanding]
    targets: list[Target]
    calls: list[CallTarget]
    activities: list[ActivityTarget]
    ptt: list[PttTarget]
    reads: list[ReadTarget]
    deletions: list[DeletionTarget]
    #: Their document or app went since intake took them.
    lost: list[Opened]


def read_documents(opened: Iterable[Opened], app_of: Callable[[str], AppSettings | None]) -> Documents:
    found = Documents([], [], [], [], [], [], [], [])
    apps: dict[str, AppSettings | None] = {}
    for one in opened:
        event = events.accepted(one.document) if one.document else None
        app = None
        if event is not None:
            if event.app not in apps:
                apps[event.app] = app_of(event.app)
            app = apps[event.app]
        if event is None or app is None:
            found.lost.append(one)
        elif (message := _as_message(one, event, app)) is not None:
            found.messages.append(message)
        else:
            _add(found, one, event, app)
    return found


def _add(found: Documents, one: Opened, event: events.AnyEvent, app: AppSettings) -> None:
    """What is no message for the rules."""
    match event:
        case CallStarted() | CallEnded():
            found.calls.append(CallTarget(one, event, app))
        case ActivityUpdated():
            found.activities.append(ActivityTarget(one, event, app))
        case PttSpeaking():
            found.ptt.append(PttTarget(one, event, app))
        case ChannelRead():
            found.reads.append(ReadTarget(one, event, app))
        case MessageDeleted():
            found.deletions.append(DeletionTarget(one, event, app))
        case BadgeCleared() | PushSend():
            found.targets.append(Target(one, event, app))
        case _:
            found.lost.append(one)


def _as_message(one: Opened, event: events.AnyEvent, app: AppSettings) -> Expanding | None:
    """What is decided by the rules for messages; None: it is not."""
    place = one.place or position(one.entry)
    look = second_look.decode(one.cursor) if one.look else None
    match event:
        case MessageNew():
            return Expanding(one, event, app, (event.app, event.channel.id), place, look)
        case MessageUpdated():
            message = edit_as_message(event, 0, app.max_age)
            look = look or SecondLook("named", [])
            return Expanding(one, message, app, (event.app, event.channel.id), place, look, edit=True, known=False)
        case CallStarted() if event.call.mode == "notify":
            return Expanding(one, as_message(event), app, (event.app, event.channel.id), place, look)
    return None


def change(message: Expanding, found: Change) -> None:
    """The message reads as after its latest edit from now on, or is deleted; an edit is for those whom it names first."""
    app, look = message.app, message.look
    edit = None if app.attention.edits == "off" else found.edit
    message.deleted, message.known = found.deleted, found.known or not message.edit
    if edit is None:
        return
    first = {user: found.named[user] for user in edit.message.mentioned if user in found.named}
    if not message.edit:
        message.event, message.named_later = edited(message.event, edit), first.keys()
        return
    message.event = event = replace(edit_as_message(edit, found.written, app.max_age), id=message.event.id)
    if look is not None and look.kind in ("shown", "replaced"):
        message.event = replace(event, message=replace(event.message, badge="none", urgency="low"))
    elif not message.opened.look:
        message.look = SecondLook("named", [user for user, place in first.items() if place == message.place])


def admit(
    messages: Sequence[Expanding], channels: Mapping[ChannelKey, Channel], now: float
) -> tuple[list[Expanding], list[tuple[Expanding, str]]]:
    """Those to expand, and those that are skipped as a whole, each with its reason."""
    admitted: list[Expanding] = []
    skipped: list[tuple[Expanding, str]] = []
    for one in messages:
        opened, event, app, look = one.opened, one.event, one.app, one.look
        one.seen_from = place = one.place if look is None else NOW
        known = channels.get(one.key)
        one.channel = channel = None if known is None else known.at(place)
        if one.edit and channel is None and look is not None:  # who is in it is for the chat server to know
            one.event = event = replace(event, recipients=look.users)
        if channel is not None and channel.kind is not None and event.channel.kind is None:
            one.event = event = replace(event, channel=replace(event.channel, kind=channel.kind))
        one.written = written = milliseconds(event)
        one.expires_at = expires_at = expiration(event, app.max_age, written)
        # A producer's ids may be ahead of the clock.
        one.came = min(ms_of(opened.entry) // 1000, int(now))
        if look is not None:
            one.begins = False
        elif opened.cursor:
            one.cursor = _decode(opened.cursor)
            one.begins = not one.cursor.page
        reason = skip_message(
            event,
            app,
            moment=now,
            expires_at=expires_at,
            channel_known=channel is not None,
            channel_push=channel is None or channel.push,
            deleted=one.deleted,
            known=one.known,
        )
        if reason is None:
            admitted.append(one)
        else:
            skipped.append((one, reason))
    return admitted, skipped
