"""Reminders of conversations that stay unread: when they are due, what is left to say, and what a phone gets. Pure.

{"aps": {"alert": {"title": ..., "body": ...}, "badge": number, "sound": "default", "thread-id": channel, "relevance-score": 0.3},
 "carillon": {"kind": "reminder", "event": id, "message": id, "parent": id, "channel": id, "at": ms, "why": "reminder",
              "count": 3}}
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import msgspec

from producers.fields import Privacy
from worker.core.burst_phrases import burst_phrase
from worker.core.digest import conversation
from worker.core.model import AppSettings
from worker.core.notification import HEAD, Rendered
from worker.core.preferences import Rows, judge
from worker.core.truncation import fit

KIND: Final = "reminder"
#: Messages that are kept of a conversation, the latest.
MOST: Final = 20
#: Bytes of a name in the title.
_NAME: Final = 200

_encode: Final = msgspec.json.Encoder().encode


class Pushed(NamedTuple):
    """A push that was accepted, and of which its user is reminded if it stays unread."""

    #: See `name_of`.
    name: str
    #: Seconds until the first reminder.
    delay: int
    #: Milliseconds since the epoch: the message's own time.
    at: int
    message: str
    #: What a later push replaces it by.
    collapse_id: str
    #: The sender's name.
    sender: str


class NotifiedOf(NamedTuple):
    """A message that a user was notified of."""

    at: int
    message: str
    collapse_id: str
    sender: str


class Reminder(NamedTuple):
    """A conversation of a user of which they may be reminded. `due` in UNIX seconds."""

    app: str
    channel: str
    #: Id of the root message of a thread; '' for the channel itself.
    thread: str
    user: str
    due: float
    #: How often they were reminded of it.
    times: int
    #: In the order of their time.
    messages: Sequence[NotifiedOf]

    @property
    def name(self) -> str:
        return name_of(self.app, self.channel, self.thread, self.user)

    @property
    def key(self) -> tuple[str, str, str, str]:
        """App, user, channel and thread: what is read of it is under this."""
        return self.app, self.user, self.channel, self.thread

    @property
    def about(self) -> Collection[tuple[str, str, str, str]]:
        return [self.key]

    @property
    def event_id(self) -> str:
        """The same for whatever worker sends it."""
        digest = blake2b(conversation(self.channel, self.thread).encode(), digest_size=8).hexdigest()
        return f"reminder:{self.user}:{digest}:{int(self.due)}"


class Next(NamedTuple):
    """What becomes of a pending reminder."""

    #: Of what is reminded now.
    unread: Sequence[NotifiedOf] = ()
    #: Why of nothing; '' where it is only not time yet.
    reason: str = ""
    #: When it is due next, in UNIX seconds; None: it ends.
    due: float | None = None
    times: int = 0


def name_of(app: str, channel: str, thread: str, user: str) -> str:
    """What Redis calls it: no app, id or user has a line feed."""
    return f"{app}\n{channel}\n{thread}\n{user}" if thread else f"{app}\n{channel}\n{user}"


def parts_of(name: str) -> tuple[str, str, str, str]:
    """App, channel, thread or '', and user."""
    app, channel, *thread, user = name.split("\n")
    return app, channel, thread[0] if thread else "", user


def next_of(one: Reminder, app: AppSettings, read: int, deleted: Collection[str], now: float) -> Next:
    """Of what the user is reminded now, and when again. `read`: milliseconds up to which they have read the conversation.

    A silence begins with the oldest message that is unread: where the user has read some, it began anew.
    """
    said = app.attention
    if said.remind_after is None:
        return Next()
    unread = [message for message in one.messages if message.at > read and message.message not in deleted]
    has_read = any(message.at <= read for message in one.messages)
    if not unread:
        return Next(reason="read" if has_read or not one.messages else "deleted")
    times = 0 if has_read else one.times
    due = one.due if unread[0] == one.messages[0] else unread[0].at / 1000 + said.remind_after
    if due > now:
        return Next(due=due, times=times)
    if now > due + said.remind_after * 2**times:
        return Next(reason="too_old")
    times += 1
    return Next(unread, due=now + said.remind_after * 2**times if times < said.remind_times else None, times=times)


def is_wanted(rows: Rows, triggers: Sequence[Any], now: float) -> bool:
    """Whether the user still wants to hear of the conversation, and wants reminders. `rows`: the nearest first."""
    switches: Iterable[Mapping[Any, bool]] = (row.switches for _, row in rows)
    switched = next((of[KIND] for of in switches if KIND in of), True)
    return switched and bool(judge(tuple(triggers), rows, now).on)


def render(one: Reminder, unread: Sequence[NotifiedOf], channel: str, locale: str | None, form: Privacy) -> Rendered:
    """The payload. `channel`: its name, or ''. `form`: how much may be read on the way; what is to be sealed has all."""
    alert = {"body": burst_phrase(len(unread), locale)}
    aps: dict[str, Any] = {"alert": alert, "sound": "default", "relevance-score": 0.3}
    carillon: dict[str, Any] = {"kind": KIND, "event": one.event_id, "why": KIND, "count": len(unread)}
    if form != "id" and (title := title_of(unread, channel)):
        aps["alert"] = {"title": title, **alert}
    aps["thread-id"] = one.channel
    carillon |= {"message": unread[-1].message, "channel": one.channel, "at": unread[-1].at}
    if one.thread:
        carillon["parent"] = one.thread
    document = _encode({"aps": aps, "carillon": carillon})
    return Rendered(HEAD, document[len(HEAD) :])


def title_of(unread: Sequence[NotifiedOf], channel: str) -> str:
    """The sender, where one person wrote it all, or the channel."""
    senders = {message.sender for message in unread}
    return fit(senders.pop() if len(senders) == 1 else channel, _NAME)
