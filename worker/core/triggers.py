"""Triggers: the reasons for which a message may be for somebody, before their preferences have a say. Pure.

A message has most of them for everybody. For the few who are called by name, take part in its thread or are in a group that it
calls there are more.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple, get_args

from producers.events import NO_MENTIONS, Group, Message, MessageNew
from producers.fields import ChannelKind, Trigger

#: The most salient first.
TRIGGERS: Final[tuple[Trigger, ...]] = get_args(Trigger)
#: Who is called by one of these takes no place of the member cap, is in no burst, and waits for no channel's rate.
CALLED: Final = frozenset[str]({"mention", "everyone"})

_NO_OTHERS: Final[Mapping[str, tuple[Trigger, ...]]] = {}


class Triggers(NamedTuple):
    """Which triggers a message has, the most salient first."""

    everybody: tuple[Trigger, ...]
    #: All triggers of those who have others.
    some: Mapping[str, tuple[Trigger, ...]] = _NO_OTHERS

    def of(self, user: str) -> tuple[Trigger, ...]:
        return self.some.get(user, self.everybody)


#: Those of most messages.
PLAIN: Final = Triggers(("message",))
_REACTION: Final = Triggers(("reaction",))


class _Everybody(frozenset[str]):
    def __contains__(self, user: object) -> bool:
        return True


_EVERYBODY: Final = _Everybody()


def triggers(
    event: MessageNew,
    *,
    kind: ChannelKind | None = None,
    thread: Collection[str] | None = None,
    online: Collection[str] = (),
    keyword: Collection[str] = (),
    wide: bool = True,
) -> Triggers:
    """Which triggers a message has for whom.

    `kind`: the channel's. `thread`: who takes part in it or follows it; None for a message that is in no thread. `online` matters
    for a message that calls those who are here, `keyword` are users one of whose stored keywords is in the text. Without `wide`
    the channel has too many members for a call of everybody in it.
    """
    message, mentions = event.message, event.message.mentions
    if message.category == "reaction":
        return _REACTION
    if thread is None and kind in (None, "channel") and not (_names_somebody(message) or keyword):
        return PLAIN
    shown = in_channel(message)
    # A call inside a thread is for those who take part, or it would be one of the whole channel.
    within = _EVERYBODY if shown else frozenset(thread or ())
    found: list[tuple[Trigger, Collection[str]]] = [
        ("direct", within if kind in ("direct", "group") else ()),
        ("mention", message.mentioned),
        ("reply", () if message.reply_to is None else (message.reply_to.user,)),
        ("thread", thread or ()),
        ("group", grouped(message) if mentions.groups else ()),
        ("here", [user for user in online if user in within] if mentions.here and wide else ()),
        ("everyone", _EVERYBODY if message.mentions_everyone else within if mentions.everyone and wide else ()),
        ("keyword", (*mentions.keyword, *keyword)),
        ("message", _EVERYBODY if shown else ()),
    ]
    everybody = tuple(trigger for trigger, users in found if users is _EVERYBODY)
    particular = [(trigger, users) for trigger, users in found if users and users is not _EVERYBODY]
    if not particular:
        return PLAIN if everybody == PLAIN.everybody else Triggers(everybody)
    if len(particular) == 1:
        [(only, users)] = particular
        own = tuple(trigger for trigger, of in found if of is _EVERYBODY or trigger == only)
        return Triggers(everybody, dict.fromkeys(users, own))
    sets = [(trigger, users if users is _EVERYBODY else frozenset(users)) for trigger, users in found]
    return Triggers(
        everybody,
        {
            user: tuple(trigger for trigger, of in sets if user in of)
            for user in dict.fromkeys(user for _, users in particular for user in users)
        },
    )


def _names_somebody(message: Message) -> bool:
    named = message.mentioned or message.mentions_everyone or message.reply_to or message.parent_id
    return bool(named) or message.mentions != NO_MENTIONS


def trigger(stored: str) -> Trigger | None:
    """The trigger in a job's `why`; None for what is no message. A release before said `member`."""
    word = "message" if stored == "member" else stored
    return word if word in TRIGGERS else None


def in_channel(message: Message) -> bool:
    """Whether it is shown in the channel, not only in a thread."""
    return message.parent_id is None or message.also_in_channel


def grouped(message: Message) -> list[str]:
    """The users of all groups that the message calls, each once."""
    return list(dict.fromkeys(user for group in message.mentions.groups for user in group.users))


def callees(message: Message) -> int:
    """How many users it names, at most."""
    mentions = message.mentions
    in_groups = sum(len(group.users) for group in mentions.groups) if mentions.groups else 0
    return len(message.mentioned) + len(mentions.keyword) + in_groups


def groups_of(message: Message) -> dict[str, Group]:
    """By user, the group that a message calls them with: the smallest of theirs, of equal ones the first."""
    by_size = sorted(message.mentions.groups, key=lambda group: len(group.users))
    return {user: group for group in reversed(by_size) for user in group.users}


def first_candidates(event: MessageNew, thread: Collection[str] | None, loud: Sequence[str] = ()) -> list[str]:
    """Users to consider ahead of the channel's own order, each once: the mentioned, whom it replies to, its groups, the rest of
    the thread, those with a keyword, and `loud`, who chose to hear all of the channel.

    So the member cap cuts off those whom the message concerns least.
    """
    message = event.message
    if not (thread or loud or _names_somebody(message)):
        return []
    return list(
        dict.fromkeys(
            [
                *message.mentioned,
                *(() if message.reply_to is None else (message.reply_to.user,)),
                *grouped(message),
                *sorted(thread or ()),
                *message.mentions.keyword,
                *loud,
            ]
        )
    )
