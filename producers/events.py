"""The contract: every event that a chat server may publish, and nothing else.

One JSON document an event; `docs/contract.md` is the same for any language. Decoding checks it whole and a fault names
the field. Every size has a bound. Knows no Redis, no worker.

What changes later: within `v: 1` a release may add an optional field or a new `type`, so workers are upgraded before
the producers that use them; anything that changes the meaning of a document gets a new `v`. Unknown fields are refused,
because a misspelt `mentioned` that is silently ignored is a phone that stays silent.
"""

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import IntEnum
from operator import attrgetter
from typing import Annotated, Any, Final, Literal, get_args

import msgspec

from producers.activities import check_size
from producers.checks import check_characters, check_free, has_control, may_have_nul, suspicious
from producers.errors import EventError
from producers.faults import explained
from producers.fields import (
    Accepts,
    AnyOf,
    App,
    Attributes,
    Badge,
    Badges,
    BrowserKey,
    Callees,
    CallId,
    ChannelKind,
    Clock,
    CollapseId,
    Conditions,
    Data,
    Days,
    EndClock,
    Few,
    Id,
    Instant,
    KeyId,
    Keywords,
    Level,
    Locale,
    Mentioned,
    Name,
    Platform,
    Privacy,
    Purpose,
    Recipients,
    Switches,
    Text,
    Token,
    TraceParent,
    Trigger,
    Urgency,
    Url,
    Users,
    Version,
    Zone,
)
from producers.nulls import without_nulls
from producers.targeting import check_push

STREAM: Final = "carillon:events"
#: The stream entry's one field.
FIELD: Final = "event"
#: Largest document accepted, in bytes of UTF-8 JSON.
MAX_DOCUMENT: Final = 1024 * 1024

#: Longest id of a reply.
MAX_REPLY: Final = 255
#: Users in all groups that a message calls.
MAX_GROUPED: Final = 10_000
#: Seconds for which a call may go on unanswered.
MAX_CALL: Final = 60
#: The years that `at` may lie in: a time outside them is a broken clock, and would win or lose for ever.
YEARS: Final = range(1970, 3000)


class _Version(IntEnum):
    """The `v` of an event built in Python. A decoded one is a plain int, which tells a document that left `v` out."""

    ONE = 1


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    pass


class Channel(Part, frozen=True):
    id: Id
    name: Name | None = None
    #: Counts for this message; None: as `channel.updated` said last.
    kind: ChannelKind | None = None


class Group(Part, frozen=True, kw_only=True):
    """A group that the message calls, with the users in it."""

    id: Id
    name: Name | None = None
    users: Users


class Mentions(Part, frozen=True):
    """Whom the message calls otherwise than by name. None of it makes anybody part of a thread."""

    #: Everybody who is online.
    here: bool = False
    everyone: bool = False
    groups: Annotated[list[Group], msgspec.Meta(max_length=50)] = []
    #: Users one of whose keywords the chat server found in the text.
    keyword: Annotated[list[Id], msgspec.Meta(max_length=1_000)] = []


class ReplyTo(Part, frozen=True):
    """The message that is quoted, and who wrote it."""

    message: Id
    user: Id


#: Of a message that says nothing of it.
NO_MENTIONS: Final = Mentions()


class EditedMessage(Part, frozen=True):
    """A message as it reads now."""

    id: Id
    text: Text = ""
    #: The id of the thread's root message, for a reply.
    parent_id: Id | None = None
    #: Who wrote that root: part of the thread also where it was written before Carillon was there.
    parent_sender: Id | None = None
    mentioned: Mentioned = []
    #: Every candidate counts as mentioned, and the member cap does not apply: what a chat calls @all or @channel.
    mentions_everyone: bool = False
    mentions: Mentions = NO_MENTIONS
    reply_to: ReplyTo | None = None
    #: Whether a reply is shown in the channel as well.
    also_in_channel: bool = False
    urgency: Urgency = "normal"
    kind: Id = "regular"
    #: Handed to the app untouched.
    data: Data = {}


class Message(EditedMessage, frozen=True):
    skip_push: bool = False
    #: A reaction is only for those who have switched reactions on.
    category: Literal["message", "reaction"] = "message"
    #: What becomes of the number on the icon; None: the template decides, and without a word of its own it goes up by one.
    badge: Literal["increment", "none"] | Badge | None = None
    #: How many messages are unread for each of these users, before `badge`.
    badges: Badges = {}


class MessageId(Part, frozen=True):
    id: Id


class Sender(Part, frozen=True):
    id: Id
    name: Name | None = None
    image: Url | None = None


class SubscriptionKeys(msgspec.Struct, frozen=True, kw_only=True):
    """What a message to one browser is encrypted with."""

    p256dh: BrowserKey
    auth: BrowserKey

    def __repr__(self) -> str:
        return "SubscriptionKeys()"


class Subscription(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A browser's subscription, as `JSON.stringify(subscription)` writes it. Browsers may add fields, which are ignored."""

    endpoint: Token
    #: Milliseconds since the epoch. Not used: the push service says when a subscription has ended.
    expiration_time: float | None = None
    keys: SubscriptionKeys

    def __repr__(self) -> str:
        return "Subscription()"


class DeviceToken(Part, frozen=True):
    """A device by its token, or a browser by its subscription, whose endpoint is its token."""

    token: Token | None = None
    subscription: Subscription | None = None

    @property
    def address(self) -> str:
        """The token. A browser's is its endpoint."""
        return self.token or (self.subscription.endpoint if self.subscription else "")

    def __repr__(self) -> str:
        hidden = ("token", "subscription")
        shown = [f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name not in hidden]
        return f"{type(self).__name__}({', '.join(shown)})"


class DeviceKeys(Part, frozen=True):
    """What sealed payloads for this build of the app are encrypted with (RFC 8291)."""

    #: Names the pair of keys to the app.
    id: KeyId
    scheme: Annotated[str, msgspec.Meta(min_length=1, max_length=32)]
    p256dh: BrowserKey
    auth: BrowserKey

    def __repr__(self) -> str:
        return f"DeviceKeys(id={self.id!r}, scheme={self.scheme!r})"


class Device(DeviceToken, frozen=True):
    #: `ios`, `android`, `web` or another short lower-case name.
    platform: Platform | None = None
    #: Name of one of the app's providers; may be left out where one of them is for the platform.
    provider: Id | None = None
    environment: Literal["production", "sandbox"] | None = None
    locale: Locale | None = None
    app_version: Version | None = None
    attributes: Attributes = {}
    #: What the token is for. Messages, targeted pushes and badges go to `alert` ones.
    purpose: Purpose = "alert"
    #: The app on this phone: what its tokens have in common.
    installation: Id | None = None
    #: The activity that a token of purpose `activity` belongs to.
    activity: Id | None = None
    #: What this build of the app understands: `clear`, `edit`, `sealed`.
    accepts: Accepts = []
    keys: DeviceKeys | None = None
    privacy: Privacy | None = None


class ChannelId(Part, frozen=True):
    id: Id


class ChannelSettings(Part, frozen=True):
    id: Id
    name: Name | None = None
    push_notifications: bool | None = None
    #: How loud the channel is for members who have not chosen; None in each of these: as it was.
    level: Level | None = None
    kind: ChannelKind | None = None
    privacy: Privacy | None = None


class OneOf(Part, frozen=True):
    """`{"in": [...]}`: any of these."""

    any_of: AnyOf = msgspec.field(name="in")


class Where(Part, frozen=True):
    """Which devices of the app: all conditions hold. For all of them it has to be said: `everyone`."""

    everyone: bool = False
    user: Id | OneOf | None = None
    #: A value that the attribute has, or an object of `in`, `exists`, `lt`, `lte`, `gt`, `gte`, all of which hold.
    attributes: Conditions = {}
    #: Name of one of the app's providers.
    provider: Id | OneOf | None = None
    #: `fr` stands for `fr-CA` too.
    locale: Locale | OneOf | None = None
    #: One device, by the number that it has here: `carillon user` shows it.
    device: Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)] | None = None


class Alert(Part, frozen=True):
    title: Name = ""
    subtitle: Name = ""
    body: Text = ""


class Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """The envelope every event shares. `id` is the idempotency key within its app."""

    id: Id
    app: App
    at: Instant
    v: Literal[1] = _Version.ONE  # type: ignore[assignment]  # equals 1, and says where it came from
    #: The publisher's span: https://www.w3.org/TR/trace-context/. One that is not valid is ignored, as the standard says.
    traceparent: TraceParent | msgspec.UnsetType = msgspec.UNSET


class MessageNew(Event, frozen=True, tag="message.new"):
    channel: Channel
    message: Message
    sender: Sender
    #: Replaces the stored membership where the chat server keeps it itself.
    recipients: Recipients | None = None
    #: After this instant nobody wants the push any more; None: the app's maximum age decides.
    expires_at: Instant | None = None


class DeviceRegistered(Event, frozen=True, tag="device.registered"):
    user: Id
    device: Device
    #: A user without an account has no device: the event is ignored, and counts against the registration rate.
    anonymous: bool = False
    #: The outcome is put under `reply_key` of this id, which nobody else may use.
    reply: Id | None = None


class DeviceUnregistered(Event, frozen=True, tag="device.unregistered"):
    device: DeviceToken
    #: Unregister only if the device is this user's; None: whoever owns it.
    user: Id | None = None
    #: As in `DeviceRegistered`.
    reply: Id | None = None


class MemberAdded(Event, frozen=True, tag="member.added"):
    channel: ChannelId
    users: Users


class MemberRemoved(Event, frozen=True, tag="member.removed"):
    channel: ChannelId
    users: Users


class MembersReplaced(Event, frozen=True, tag="members.replaced"):
    """The members of a channel, or those of a page of it, are these and no others.

    A page is whoever has an id behind `after`, up to and with `through`, in the order of the ids' bytes.
    """

    channel: ChannelId
    users: Recipients
    #: None: from the first.
    after: Id | None = None
    #: None: to the last.
    through: Id | None = None


class ChannelUpdated(Event, frozen=True, tag="channel.updated"):
    channel: ChannelSettings


class UserMuted(Event, frozen=True, tag="user.muted"):
    user: Id
    target: Id


class UserUnmuted(Event, frozen=True, tag="user.unmuted"):
    user: Id
    target: Id


class BadgeCleared(Event, frozen=True, tag="badge.cleared"):
    user: Id
    #: Where the user saw it: its icon is clear already, so it gets no push. None: it may have been anywhere.
    device: DeviceToken | None = None
    #: False: only that device's count begins anew, and nobody else hears of it.
    others: bool = True


class PreferencesUpdated(Event, frozen=True, tag="preferences.updated"):
    """How loud something is for a user: the whole row, the latest `at` wins. A row that says nothing is deleted."""

    user: Id
    #: Whose messages; None: everything that no nearer row speaks of.
    channel: ChannelId | None = None
    #: Id of the root message of one of the channel's threads.
    thread: Id | None = None
    #: None: says nothing.
    level: Level | None = None
    triggers: Switches = {}
    #: Whether a thread is followed by hand; None: by taking part.
    following: bool | None = None
    muted_until: Instant | None = None
    #: What still comes through a mute.
    muted_level: Literal["none", "mentions"] = "none"
    #: Texts that call the user.
    keywords: Keywords | None = None
    #: False: nothing at all, calls neither.
    enabled: bool = True
    privacy: Privacy | None = None


class Window(Part, frozen=True):
    """A time of each of these days, which are those it begins on. `to` not after `from`: on the next day."""

    days: Days
    begin: Clock = msgspec.field(name="from")
    to: EndClock


class Allow(Part, frozen=True):
    """What comes through quiet time and pauses."""

    urgent: bool = True
    #: Of messages, and of calls.
    triggers: list[Trigger | Literal["call"]] = msgspec.field(default_factory=lambda: ["call"])
    #: Senders, and channels.
    users: Few = []
    channels: Few = []


_ALLOW: Final = Allow()
Windows = Annotated[list[Window], msgspec.Meta(max_length=28)]


class QuietUpdated(Event, frozen=True, tag="quiet.updated"):
    """When a user wants no notification: the whole row, the latest `at` wins."""

    user: Id
    #: A name of the IANA time zone database.
    zone: Zone | None = None
    #: When they want none,
    quiet: Windows | None = None
    #: or outside of which they want none.
    notify: Windows | None = None
    pause_until: Instant | None = None
    allow: Allow = _ALLOW
    #: What comes when the quiet time is over.
    after: Literal["digest", "nothing"] = "digest"
    #: When the number on the icon comes: with the digest, or silently at once.
    badge: Literal["after", "silent"] = "after"


class ChannelRead(Event, frozen=True, tag="channel.read"):
    """A user has read a channel or thread of which a notification may still be shown."""

    user: Id
    channel: ChannelId
    #: None: the channel without its threads.
    thread: Id | None = None
    #: The time of the newest message that they have seen; None: `at`.
    until: Instant | None = None
    #: Where they read it: that device hears of nothing.
    device: DeviceToken | None = None
    #: How many messages are unread now; None: not known.
    unread: Badge | None = None


class MessageUpdated(Event, frozen=True, tag="message.updated"):
    """A message reads otherwise now. Of edits of a message the latest `at` counts."""

    channel: Channel
    message: EditedMessage
    sender: Sender


class MessageDeleted(Event, frozen=True, tag="message.deleted"):
    channel: ChannelId
    message: MessageId


class Call(Part, frozen=True):
    id: CallId
    video: bool = False
    #: `notify`: an ordinary notification that a call has begun.
    mode: Literal["call", "notify"] = "call"
    data: Data = {}


class CallStarted(Event, frozen=True, tag="call.started"):
    call: Call
    channel: Channel
    caller: Sender
    recipients: Callees
    #: At most 60 s after `at`; None: 30 s after it.
    expires_at: Instant | None = None


class CallName(Part, frozen=True):
    id: CallId


class CallEnded(Event, frozen=True, tag="call.ended"):
    call: CallName
    reason: Literal["answered_elsewhere", "declined_elsewhere", "cancelled", "ended", "missed"]
    #: For whom it has ended; None: for all.
    user: Id | None = None
    #: Who answered: that device hears of nothing.
    device: DeviceToken | None = None


class ActivityUpdated(Event, frozen=True, kw_only=True, tag="activity.updated"):
    """What a Live Activity shows. Of updates that wait only the latest `at` is sent."""

    activity: Id
    #: Whose; None with `channel`.
    user: Id | OneOf | None = None
    event: Literal["start", "update", "end"] = "update"
    #: The activity's content state.
    state: Data
    urgent: bool = False
    stale_at: Instant | None = None
    dismiss_at: Instant | None = None
    #: What an activity is started with.
    attributes_type: Id | None = None
    attributes: Data | None = None
    alert: Alert | None = None
    #: A broadcast channel: one request for all who subscribed to it. It is of this provider; None: of the app's only one at APNs.
    channel: Id | None = None
    provider: Id | None = None
    #: Whether the channel's policy is to store the newest update for phones that cannot be reached now.
    stored: bool = False


class PttSpeaking(Event, frozen=True, tag="ptt.speaking"):
    """Somebody begins to speak in a push-to-talk channel."""

    channel: Channel
    speaker: Sender
    #: None: the members of the channel.
    recipients: Recipients | None = None


class PushSend(Event, frozen=True, tag="push.send"):
    """A push to the devices that a query finds. Not a chat message: presence, mutes and channels have no say in it."""

    where: Where
    #: Either this, shown with the default sound and cut where it is too long,
    alert: Text | Alert | None = None
    #: or this: `alert`, `badge` ("Increment" or a number), `sound` and Apple's other keys, and the app's own, untouched.
    data: Data | None = None
    #: None: at once.
    send_at: Instant | None = None
    #: None: the app's maximum age after it is sent.
    expires_at: Instant | None = None
    push_type: Literal["alert", "background", "voip", "liveactivity", "pushtotalk"] = "alert"
    #: None: 10, and 5 for a background push and for a Live Activity.
    priority: Literal[1, 5, 10] | None = None
    #: A later push of the same id replaces this one on the screen; None: only a repeat of this event does.
    collapse_id: CollapseId | None = None
    #: Whether users in quiet time are left out; None: they are.
    respect_quiet: bool | None = None


AnyEvent = (
    MessageNew
    | DeviceRegistered
    | DeviceUnregistered
    | MemberAdded
    | MemberRemoved
    | MembersReplaced
    | ChannelUpdated
    | UserMuted
    | UserUnmuted
    | BadgeCleared
    | PushSend
    | PreferencesUpdated
    | QuietUpdated
    | ChannelRead
    | MessageUpdated
    | MessageDeleted
    | CallStarted
    | CallEnded
    | ActivityUpdated
    | PttSpeaking
)

#: The event types by their `type`.
TYPES: Final[dict[str, type[AnyEvent]]] = {str(one.__struct_config__.tag): one for one in get_args(AnyEvent)}

_decoder: Final[msgspec.json.Decoder[AnyEvent]] = msgspec.json.Decoder(AnyEvent)
_encoder: Final = msgspec.json.Encoder()


def decode(document: bytes | str) -> AnyEvent:
    """The event in a JSON document of at most `MAX_DOCUMENT` bytes, or `EventError` naming the field."""
    if isinstance(document, str):
        document = utf8(document)
    if len(document) > MAX_DOCUMENT:
        raise EventError(f"document: {len(document):,} bytes, at most {MAX_DOCUMENT:,} are taken")
    event = accepted(document)
    _check_values(event)
    if suspicious(document) and (may_have_nul(document) or _ids_have_control(event)):
        check_characters(msgspec.json.decode(document))
    return event


def accepted(document: bytes) -> AnyEvent:
    """The event in a document that `decode` took before, here or in an earlier release: only its shape is checked again."""
    try:
        return _decoder.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        if isinstance(fault, msgspec.ValidationError) and b"null" in document:
            return _with_defaults(document, fault)
        raise explained(fault, document, TYPES) from None


def _with_defaults(document: bytes, fault: msgspec.ValidationError) -> AnyEvent:
    try:
        value = msgspec.json.decode(document)
        kind = TYPES[value["type"]]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError):
        raise explained(fault, document, TYPES) from None
    try:
        return msgspec.convert(without_nulls(value, kind), kind)
    except msgspec.ValidationError as worse:
        raise explained(worse, document, TYPES) from None


def encode(event: AnyEvent) -> bytes:
    """The event as its JSON document, after the same checks that `decode` makes."""
    _check_free_parts(event)
    document = dump(event)
    decode(document)
    return document


def dump(value: Any) -> bytes:
    """The value as JSON, unchecked, or `EventError` where it has no JSON form."""
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:
        raise EventError("document: half of a surrogate pair is no character; send whole ones") from None
    except RecursionError:
        raise EventError("document: nested too deeply") from None
    except (TypeError, ValueError, OverflowError) as fault:
        raise EventError(f"document: has no JSON form: {fault}") from None


def utf8(document: str) -> bytes:
    """The text as bytes, or `EventError` where it has half of a surrogate pair."""
    try:
        return document.encode()
    except UnicodeEncodeError:
        raise EventError("document: half of a surrogate pair is no character; send whole ones") from None


def app_stream(app: str) -> str:
    """The Redis stream of the app's own, which takes this app's events only."""
    return f"{STREAM}:{app}"


def online_key(app: str, user: str) -> str:
    """The Redis key that says, while it exists, that the user is online."""
    return f"carillon:online:{app}:{user}"


def active_key(app: str, user: str) -> str:
    """The Redis key that says, while it exists, that the user has just touched a desktop or web client."""
    return f"carillon:active:{app}:{user}"


def viewing_key(app: str, user: str) -> str:
    """The Redis key whose value is the channel that the user has open, or channel, line feed and thread."""
    return f"carillon:viewing:{app}:{user}"


def read_key(app: str, channel: str, thread: str | None = None) -> str:
    """The Redis sorted set of who has read a channel or thread up to when: user -> milliseconds of the newest message seen."""
    return f"carillon:read:{app}:{channel}" if thread is None else f"carillon:read:{app}:{channel}\n{thread}"


def shown_key(app: str) -> str:
    """The Redis sorted set of the notifications that may be shown, by `shown_name`. Only workers write it."""
    return f"carillon:shown:{app}"


def shown_name(channel: str, user: str, thread: str | None = None) -> str:
    """What a user is shown of a channel or thread: channel, line feed and user, with the thread and a line feed in between."""
    return f"{channel}\n{user}" if thread is None else f"{channel}\n{thread}\n{user}"


def reply_key(id: str) -> str:
    """The Redis list on which the outcome of a device event with this `reply` appears."""
    return f"carillon:reply:{id}"


def _check_values(event: AnyEvent) -> None:
    if type(event.v) is not int:
        raise EventError("v: required, but missing; this release reads v 1")
    _check_year("at", event.at)
    if ":" in event.app:
        raise EventError("app: must not have a colon")
    _check_free_parts(event)
    if (check := _CHECKS.get(type(event))) is not None:
        check(event)


def _check_message(event: MessageNew) -> None:
    if event.expires_at is not None:
        _check_life(event.at, event.expires_at)
    if event.message.mentions.groups:
        _check_groups(event.message)


def _check_groups(message: EditedMessage) -> None:
    if message.mentions.groups and (users := sum(len(one.users) for one in message.mentions.groups)) > MAX_GROUPED:
        raise EventError(f"message.mentions.groups: {users:,} users, at most {MAX_GROUPED:,} are taken together")


def _check_clearing(event: BadgeCleared) -> None:
    if event.device is None and not event.others:
        raise EventError("others: false needs a device, whose count it is about")
    _check_device_of(event)


def _check_device_of(event: Any) -> None:
    if event.device is not None:
        _check_device(event.device)


def _check_registration(event: DeviceRegistered) -> None:
    _check_device(event.device)
    if (event.device.purpose == "activity") is (event.device.activity is None):
        raise EventError("device.activity: names the activity of a token of purpose activity, and of no other")


def _check_preferences(event: PreferencesUpdated) -> None:
    for name in ("thread", "following") if event.channel is None else ():
        if getattr(event, name) is not None:
            raise EventError(f"{name}: needs a channel")
    if event.following is not None and event.thread is None:
        raise EventError("following: needs a thread")
    if event.following is not None and "thread" in event.triggers:
        raise EventError("triggers.thread: following says the same; leave one of the two out")
    if event.channel is not None:
        for name in ("keywords", "privacy"):
            if getattr(event, name) is not None:
                raise EventError(f"{name}: only without a channel")
        if not event.enabled:
            raise EventError("enabled: only without a channel; for one channel say level none")
    if event.muted_until is not None:
        _check_year("muted_until", event.muted_until)


def _check_quiet(event: QuietUpdated) -> None:
    if event.quiet is not None and event.notify is not None:
        raise EventError("notify: not together with quiet: they contradict each other")
    windows = "quiet" if event.quiet else "notify" if event.notify else None
    if windows is not None and event.zone is None:
        raise EventError(f"zone: required with {windows}")
    for index, window in enumerate((event.quiet or event.notify) or ()):
        if window.begin == window.to:
            raise EventError(f"{windows}[{index}].to: the same as from; for the whole day say 00:00 to 24:00")
        if len(set(window.days)) < len(window.days):
            raise EventError(f"{windows}[{index}].days: names a day twice")
    if event.pause_until is not None:
        _check_year("pause_until", event.pause_until)


def _check_read(event: ChannelRead) -> None:
    if event.until is not None:
        _check_year("until", event.until)
    _check_device_of(event)


def _check_call(event: CallStarted) -> None:
    if event.expires_at is None:
        return
    _check_life(event.at, event.expires_at)
    if (event.expires_at - event.at).total_seconds() > MAX_CALL:
        raise EventError(f"expires_at: at most {MAX_CALL} seconds after at")


#: Apple's ids of channels: base64 of any length.
_CHANNEL_ID: Final = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")


def _check_activity(event: ActivityUpdated) -> None:
    if (event.user is None) is (event.channel is None):
        raise EventError("user: either this or channel")
    for name in ("attributes_type", "attributes", "alert"):
        if event.event == "start" and getattr(event, name) is None:
            raise EventError(f"{name}: required to start")
    for name in ("stale_at", "dismiss_at"):
        if (instant := getattr(event, name)) is not None:
            _check_year(name, instant)
    if event.channel is not None and event.event == "start":
        raise EventError(
            "event: a broadcast channel starts no activity; it updates and ends those that the app has started"
        )
    if event.channel is not None and not _CHANNEL_ID.fullmatch(event.channel):
        raise EventError("channel: not the id of a broadcast channel, which is base64")
    if event.channel is None and (event.provider is not None or event.stored):
        raise EventError(f"{'stored' if event.provider is None else 'provider'}: only with channel")
    check_size(event)


def _check_device(device: DeviceToken) -> None:
    if not device.address:
        raise EventError("device.token: required, but missing; give it, or a browser's device.subscription")
    if device.subscription is not None and device.subscription.endpoint != device.address:
        raise EventError("device.token: not the endpoint of device.subscription; leave one of the two out")


def _check_page(event: MembersReplaced) -> None:
    after, through = event.after or "", event.through
    if through is not None and through <= after:
        raise EventError("through: has to stand behind after, in the order of their bytes")
    for index, user in enumerate(event.users):
        if user <= after or (through is not None and user > through):
            raise EventError(f"users[{index}]: not between after and through, in the order of their bytes")


def _check_life(at: datetime, expires_at: datetime) -> None:
    _check_year("expires_at", expires_at)
    if expires_at <= at:
        raise EventError("expires_at: has to be later than at, or nobody is ever notified")


def _check_push(event: PushSend) -> None:
    for name, instant in (("send_at", event.send_at), ("expires_at", event.expires_at)):
        if instant is not None:
            _check_year(name, instant)
    check_push(event)


def _check_year(name: str, instant: datetime) -> None:
    if instant.year not in YEARS:
        raise EventError(f"{name}: the year must be from {YEARS[0]} to {YEARS[-1]}")


def _ids_have_control(event: AnyEvent) -> bool:
    """Whether it is worth looking for one. A message with a line break in its text is too common to visit all of it."""
    if not isinstance(event, MessageNew):
        return True
    message, sender = event.message, event.sender
    if message.mentions is not NO_MENTIONS or message.reply_to or message.badges:
        return True
    ids = [event.id, event.app, event.channel.id, message.id, message.kind, sender.id, *message.mentioned]
    optional = (message.parent_id or "", message.parent_sender or "", sender.image or "", *(event.recipients or ()))
    return has_control("".join([*ids, *optional]))


def _check_free_parts(event: AnyEvent) -> None:
    for field, part in _FREE_PARTS.get(type(event), ()):
        if value := part(event):
            check_free(value, field)


def _free(*fields: str) -> Sequence[tuple[str, Callable[[Any], dict[str, Any] | None]]]:
    return [(field, attrgetter(field)) for field in fields]


#: The free data of an event, by the names of its fields.
_FREE_PARTS: Final = {
    MessageNew: _free("message.data"),
    MessageUpdated: _free("message.data"),
    DeviceRegistered: _free("device.attributes"),
    PushSend: _free("where.attributes", "data"),
    CallStarted: _free("call.data"),
    ActivityUpdated: _free("state", "attributes"),
}
#: What the types of its fields do not say of an event.
_CHECKS: Final[dict[type[Any], Callable[[Any], None]]] = {
    MessageNew: _check_message,
    MessageUpdated: lambda event: _check_groups(event.message),
    MembersReplaced: _check_page,
    DeviceRegistered: _check_registration,
    DeviceUnregistered: _check_device_of,
    BadgeCleared: _check_clearing,
    PushSend: _check_push,
    PreferencesUpdated: _check_preferences,
    QuietUpdated: _check_quiet,
    ChannelRead: _check_read,
    CallStarted: _check_call,
    CallEnded: _check_device_of,
    ActivityUpdated: _check_activity,
}
