"""The contract: every event that a chat server may publish, and nothing else.

One JSON document an event; `docs/contract.md` is the same for any language. Decoding checks it whole and a fault names
the field. Every size has a bound. Knows no Redis, no worker.

What changes later: within `v: 1` a release may add an optional field or a new `type`, so workers are upgraded before
the producers that use them; anything that changes the meaning of a document gets a new `v`. Unknown fields are refused,
because a misspelt `mentioned` that is silently ignored is a phone that stays silent.
"""

from datetime import datetime
from enum import IntEnum
from typing import Annotated, Any, Final, Literal, get_args

import msgspec

from producers.checks import check_characters, check_free, has_control, may_have_nul, suspicious
from producers.errors import EventError
from producers.faults import explained
from producers.nulls import without_nulls
from producers.targeting import CONDITIONS_SCHEMA, MAX_BADGE, MAX_CONDITIONS, MAX_VALUES, check_push

STREAM: Final = "carillon:events"
#: The stream entry's one field.
FIELD: Final = "event"
#: Largest document accepted, in bytes of UTF-8 JSON.
MAX_DOCUMENT: Final = 1024 * 1024

#: The years that `at` may lie in: a time outside them is a broken clock, and would win or lose for ever.
YEARS: Final = range(1970, 3000)

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
#: Longest id of a reply.
MAX_REPLY: Final = 255
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
TraceParent = Annotated[str, msgspec.Meta(max_length=255, extra_json_schema=_NO_NUL)]
#: An instant with its offset from UTC; a time without one is refused.
Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class _Version(IntEnum):
    """The `v` of an event built in Python. A decoded one is a plain int, which tells a document that left `v` out."""

    ONE = 1


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    pass


class Channel(_Part, frozen=True):
    id: Id
    name: Name | None = None


class Message(_Part, frozen=True):
    id: Id
    text: Text = ""
    #: The id of the thread's root message, for a reply.
    parent_id: Id | None = None
    #: Who wrote that root: part of the thread also where it was written before Carillon was there.
    parent_sender: Id | None = None
    mentioned: Mentioned = []
    #: Every candidate counts as mentioned: what a chat calls @all or @channel.
    mentions_everyone: bool = False
    skip_push: bool = False
    kind: Id = "regular"
    #: Handed to the app untouched.
    data: Data = {}
    #: What becomes of the number on the icon; None: the template decides, and without a word of its own it goes up by one.
    badge: Literal["increment", "none"] | Badge | None = None


class Sender(_Part, frozen=True):
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


class DeviceToken(_Part, frozen=True):
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


class Device(DeviceToken, frozen=True):
    #: `ios`, `android`, `web` or another short lower-case name.
    platform: Platform | None = None
    #: Name of one of the app's providers; may be left out where one of them is for the platform.
    provider: Id | None = None
    environment: Literal["production", "sandbox"] | None = None
    locale: Locale | None = None
    app_version: Version | None = None
    attributes: Attributes = {}


class ChannelId(_Part, frozen=True):
    id: Id


class ChannelSettings(_Part, frozen=True):
    id: Id
    name: Name | None = None
    push_notifications: bool | None = None


class OneOf(_Part, frozen=True):
    """`{"in": [...]}`: any of these."""

    any_of: AnyOf = msgspec.field(name="in")


class Where(_Part, frozen=True):
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


class Alert(_Part, frozen=True):
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
    push_type: Literal["alert", "background"] = "alert"
    #: None: 10, and 5 for a background push.
    priority: Literal[1, 5, 10] | None = None
    #: A later push of the same id replaces this one on the screen; None: only a repeat of this event does.
    collapse_id: CollapseId | None = None


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
    except (TypeError, ValueError, OverflowError, RecursionError) as fault:
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
    if isinstance(event, BadgeCleared) and event.device is None and not event.others:
        raise EventError("others: false needs a device, whose count it is about")
    if isinstance(event, MessageNew):
        if event.expires_at is not None:
            _check_life(event.at, event.expires_at)
    elif isinstance(event, PushSend):
        _check_push(event)
    elif isinstance(event, MembersReplaced):
        _check_page(event)
    elif isinstance(event, DeviceRegistered | DeviceUnregistered | BadgeCleared) and event.device is not None:
        _check_device(event.device)


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
    if not YEARS.start <= instant.year < YEARS.stop:
        raise EventError(f"{name}: the year must be from {YEARS[0]} to {YEARS[-1]}")


def _ids_have_control(event: AnyEvent) -> bool:
    """Whether it is worth looking for one. A message with a line break in its text is too common to visit all of it."""
    if not isinstance(event, MessageNew):
        return True
    message, sender = event.message, event.sender
    ids = [event.id, event.app, event.channel.id, message.id, message.kind, sender.id, *message.mentioned]
    optional = (message.parent_id or "", message.parent_sender or "", sender.image or "", *(event.recipients or ()))
    return has_control("".join([*ids, *optional]))


def _check_free_parts(event: AnyEvent) -> None:
    if isinstance(event, MessageNew):
        if event.message.data:
            check_free(event.message.data, "message.data")
    elif isinstance(event, DeviceRegistered) and event.device.attributes:
        check_free(event.device.attributes, "device.attributes")
    elif isinstance(event, PushSend):
        check_free(event.where.attributes, "where.attributes")
        check_free(event.data or {}, "data")
