"""What a user missed in quiet time, and what is said of it once it is over. Pure.

Counts are kept by conversation, a channel or a thread of it. The latest messages of each are kept one by one, so that what was
read or deleted meanwhile can be left out exactly.
"""

from collections.abc import Collection, Mapping, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

#: Conversations that are kept of a user; messages beyond them count only in the total.
MOST_CONVERSATIONS: Final = 300
#: Messages that are kept one by one of a conversation.
MOST_MESSAGES: Final = 20
#: Seconds for which counts are kept.
LIFE: Final = 9 * 86_400
#: Seconds after the end of a silence from which its digest is too old.
TOO_OLD: Final = 4 * 3_600
#: Conversations that a digest names.
NAMED: Final = 5
#: Triggers by which a message counts as one that mentions the user.
MENTIONS: Final = frozenset({"mention", "group", "here", "everyone"})

#: Fields of the stored hash that are no conversation: the names of channels have no line feed.
END: Final = "\nend"
FURTHER: Final = "\nfurther"
LOOKED: Final = "\nlooked"


class Kept(NamedTuple):
    """A message that was not notified of."""

    #: Milliseconds since the epoch: its own time.
    at: int
    #: `message_key` of its id.
    message: str
    #: Whether it called the user.
    called: bool


class Conversation(NamedTuple):
    channel: str
    #: Id of the root message of a thread; '' for the channel itself.
    thread: str
    #: All that were counted, the kept ones among them.
    messages: int
    mentions: int
    #: The latest, in the order in which they were counted.
    kept: Sequence[Kept]

    @property
    def name(self) -> str:
        """Its field of the stored hash."""
        return conversation(self.channel, self.thread)


class Pending(NamedTuple):
    """What is counted for a user."""

    #: UNIX seconds at which the silence ends.
    end: float
    conversations: Sequence[Conversation]
    #: Messages, and mentions among them, of further conversations.
    further: tuple[int, int] = (0, 0)
    #: Whether the user was present at its time, and it was put off once for that.
    looked: bool = False


class Count(NamedTuple):
    channel: str
    messages: int
    mentions: int


class Digest(NamedTuple):
    """What is new for a user."""

    messages: int
    mentions: int
    #: Those with the most mentions, then messages, first.
    channels: Sequence[Count]
    #: Whether more messages may be unread than `messages` says.
    more: bool = False

    @property
    def named(self) -> Sequence[Count]:
        return self.channels[:NAMED]

    @property
    def rest(self) -> int:
        """Channels that are not named."""
        return len(self.channels) - len(self.named)


class Counted(NamedTuple):
    """A message to count for a digest."""

    #: See `conversation`.
    conversation: str
    kept: Kept
    #: UNIX seconds: the end of the silence, and when the digest is due.
    end: float
    due: float


class Missed(NamedTuple):
    """What is left of a message for a user who was not notified of it because it was quiet."""

    app: str
    user: str
    place: int
    #: None: there will be no digest.
    counted: Counted | None
    #: UNIX seconds at which the number on the icon is shown without a sound; 0: with the next notification.
    shown: float
    #: What becomes of the number of each device: `batch.COUNT`, or the number itself.
    badges: Mapping[int, int]


def conversation(channel: str, thread: str = "") -> str:
    """The field of the stored hash."""
    return f"{channel}\n{thread}" if thread else channel


def message_key(id: str) -> str:
    """A message's id as 16 hex digits."""
    return blake2b(id.encode(), digest_size=8).hexdigest()


def spread_of(app: str, user: str, seconds: int) -> int:
    """By how many seconds a user's digests are put off, below `seconds`: the same each time."""
    named = f"{len(app)}:{app}{user}".encode()
    return int.from_bytes(blake2b(named, digest_size=8).digest(), "big") % seconds if seconds else 0


def line_of(kept: Kept) -> str:
    """A kept message as it is stored."""
    return f"{kept.at} {kept.message} {int(kept.called)}"


def pending(stored: Mapping[str, str]) -> Pending:
    """The stored hash. The value of a conversation is `<messages> <mentions>`, then a line for each kept message."""
    found = []
    for field, value in stored.items():
        if not field.startswith("\n"):
            channel, _, thread = field.partition("\n")
            first, *lines = value.split("\n")
            messages, mentions = map(int, first.split())
            found.append(Conversation(channel, thread, messages, mentions, [_kept(line) for line in lines]))
    further = tuple(map(int, stored.get(FURTHER, "0 0").split()))
    return Pending(float(stored.get(END, 0)), found, (further[0], further[1]), LOOKED in stored)


def digest_of(
    pending: Pending,
    read: Mapping[str, int],
    deleted: Mapping[str, Collection[str]],
    unwanted: Collection[str],
) -> Digest:
    """What is left to tell.

    `read`: up to when (milliseconds) the user has read a conversation, by its name. `deleted`: keys of messages by channel.
    `unwanted`: names of conversations that the user has muted or left.
    """
    by_channel: dict[str, Count] = {}
    more = False
    for one in pending.conversations:
        if one.name not in unwanted:
            messages, mentions, uncertain = _unread(one, read.get(one.name, 0), deleted.get(one.channel, ()))
            more = more or uncertain
            if messages:
                before = by_channel.get(one.channel, Count(one.channel, 0, 0))
                by_channel[one.channel] = Count(one.channel, before.messages + messages, before.mentions + mentions)
    channels = sorted(by_channel.values(), key=lambda count: (-count.mentions, -count.messages, count.channel))
    # Whoever has read all that is known of has read the rest as well.
    messages, mentions = pending.further if channels else (0, 0)
    messages += sum(count.messages for count in channels)
    mentions += sum(count.mentions for count in channels)
    return Digest(messages, mentions, channels, more)


def _unread(one: Conversation, read: int, deleted: Collection[str]) -> tuple[int, int, bool]:
    """Messages and mentions that are unread, and whether there may be more."""
    unread = [kept for kept in one.kept if kept.at > read and kept.message not in deleted]
    called = sum(kept.called for kept in unread)
    older = one.messages - len(one.kept)
    if not older or any(kept.at <= read for kept in one.kept):
        return len(unread), called, False
    if read:
        return len(unread), called, True
    return older + len(unread), one.mentions - sum(kept.called for kept in one.kept) + called, False


def _kept(line: str) -> Kept:
    at, message, called = line.split(" ")
    return Kept(int(at), message, called == "1")
