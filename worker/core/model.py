"""The nouns of the pipeline, as plain values. Owns no rule."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Final, Literal, NamedTuple, Protocol

import msgspec

from producers.fields import Privacy
from worker.core.attention import DEFAULTS, Attention

#: Names of the settings of attention.
ATTENTION: Final = Attention.__struct_fields__

Environment = Literal["production", "sandbox"]
PushType = Literal[
    "alert",
    "background",
    "voip",
    "complication",
    "fileprovider",
    "mdm",
    "liveactivity",
    "pushtotalk",
    "location",
    "widgets",
    "controls",
]


@dataclass(frozen=True, slots=True)
class AppSettings:
    """What an app may choose. Loaded from Postgres, kept by a process for seconds."""

    name: str
    push_enabled: bool = True
    #: Members of a channel who get a push for one message at most, not counting mentioned ones; None: no limit.
    member_cap: int | None = 100
    #: Devices a user may have; the oldest registration goes first.
    device_cap: int = 25
    push_to_online: bool = False
    #: Seconds after which a message is not worth a push.
    max_age: int = 3600
    #: Pushes a second for the app, and for each of its providers; None: no limit.
    push_rate: float | None = None
    provider_rate: float | None = None
    #: Pushes a second for the messages of one channel, mentions apart; None: no limit.
    channel_rate: float | None = None
    #: Pushes a minute to one device; None: no limit.
    device_rate: float | None = None
    #: Messages of one channel within `fold_window` seconds that a device gets one by one; None: all.
    fold_after: int | None = None
    fold_window: int = 60
    #: Whether recent messages are kept for a day or two, so that a test push can be one of them.
    keep_recent: bool = True
    #: Registrations a second, by the time at which they were published; None: no limit.
    registration_rate: int | None = 200
    #: Registrations that may come at once.
    registration_burst: int = 10_000
    #: Days without a registration or an accepted push after which a device is retired; None: never.
    stale_days: int | None = None
    #: The only users who get pushes; None: everybody.
    only_to: tuple[str, ...] | None = None
    attention: Attention = DEFAULTS


def listed(app: AppSettings) -> dict[str, Any]:
    """All settings of an app by name, those of `attention` among them, in values that JSON has."""
    own = {field.name: getattr(app, field.name) for field in fields(app) if field.name != "attention"}
    values: dict[str, Any] = msgspec.to_builtins(app.attention, builtin_types=())
    chosen = {name: values.get(name, getattr(DEFAULTS, name)) for name in ATTENTION}
    return own | chosen


def changed(app: AppSettings, **given: Any) -> AppSettings:
    """The app with these settings, by the names that `listed` has. Raises `msgspec.ValidationError` for what cannot be."""
    own = {name: value for name, value in given.items() if name not in ATTENTION}
    chosen = msgspec.to_builtins(app.attention) | {name: value for name, value in given.items() if name in ATTENTION}
    return replace(app, **own, attention=msgspec.convert(chosen, Attention))


class ProviderSettings(Protocol):
    """What one kind of provider needs. Only the kind's own folder in `worker/providers/` looks into it."""

    #: The kind's name, by which `worker/providers/kinds.py` knows it.
    kind: ClassVar[str]


@dataclass(frozen=True, slots=True)
class Provider:
    """One way out of an app. Which kind it is, its settings say; their `repr` shows no secret."""

    id: int
    app: str
    name: str
    #: What registrations name. `production` where the kind knows no environments.
    environment: Environment
    #: Of the kind's own type; `ProviderSettings` is what all types have in common.
    settings: Any
    #: Whether the keys at hand open its credential.
    readable: bool = True

    @property
    def kind(self) -> str:
        settings: ProviderSettings = self.settings
        return settings.kind


class StoredSettings(NamedTuple):
    """A provider's settings as a row has them. `repr` is long and holds secrets: never log it."""

    #: Which of its kind's forms the row has: `key`, `certificate`, `webhook`.
    form: str
    #: In clear; values of JSON.
    fields: Mapping[str, Any]
    #: Encrypted in the row. Empty: no key decrypts it, or it was wiped.
    credential: bytes = b""
    password: bytes | None = None


class Device(msgspec.Struct, frozen=True):
    """A registered device as the fan-out reads it."""

    id: int
    user: str
    provider_id: int
    token: str
    locale: str | None
    #: Milliseconds since the epoch: the `at` of the registration in force.
    registered_at: int
    #: As it was registered; '' where it was not said.
    platform: str = ""
    #: What only its provider's client needs beside the token, sealed; '' for nothing.
    secret: str = ""
    #: What its app said of it, as of `traits_of`; None: nothing.
    traits: Mapping[str, Any] | None = None

    @property
    def accepts(self) -> Collection[str]:
        """What its app takes beside alerts: `clear`, `sealed`, ..."""
        return () if self.traits is None else self.traits.get("accepts", ())

    @property
    def privacy(self) -> Privacy | None:
        """The mode that its app asked for, if any."""
        return None if self.traits is None else self.traits.get("privacy")

    @property
    def key(self) -> str:
        """The id of the keys that its app gave; '' for none, or none of a known scheme."""
        return "" if self.traits is None else self.traits.get("key", "")

    @property
    def opens_sealed(self) -> bool:
        """Whether its app opens a sealed payload: it says so, and gave keys that can be sealed with."""
        return bool(self.key) and "sealed" in self.accepts

    #: See `worker/core/purposes.py`.
    purpose: str = "alert"
    #: The tokens with the same one are of one phone; '' where nobody said.
    installation: str = ""

    def __repr__(self) -> str:
        return f"Device(id={self.id}, user={self.user!r}, provider_id={self.provider_id})"


def traits_of(accepts: Sequence[str], privacy: str | None, key: str | None) -> dict[str, Any] | None:
    """What a registration says, without what it leaves out. `key`: the id of its keys, if they are of a known scheme."""
    said = {"accepts": list(accepts), "privacy": privacy, "key": key}
    return {name: value for name, value in said.items() if value} or None


class Heading(NamedTuple):
    """What the notifications of one message have in common. `expiration` in UNIX seconds."""

    topic: str
    push_type: PushType = "alert"
    priority: int = 10
    expiration: int | None = None
    collapse_id: str | None = None
    #: The payload, before and behind what a notification has of its own.
    before: bytes = b""
    behind: bytes = b""


class Notification(NamedTuple):
    """One request to APNs. `token` is lower-case hex, `id` a canonical lower-case UUID."""

    token: str
    id: str
    #: The part of its payload that other notifications of the message do not share: its badge, mostly.
    own: bytes
    #: One object for all notifications of a message: who writes them prepares it once.
    heading: Heading

    @property
    def payload(self) -> bytes:
        return b"%b%b%b" % (self.heading.before, self.own, self.heading.behind)


class Answer(NamedTuple):
    """What APNs said about one notification: a rejection is an answer, not an error."""

    status: int
    reason: str | None = None
    #: Milliseconds since the epoch, only with 410.
    timestamp: int | None = None
    #: Seconds, from Retry-After where the server sent one.
    retry_after: float | None = None


class NoAnswer(NamedTuple):
    """No answer came. `not_sent`: the server cannot have processed it. `unknown`: it may have.

    `unwritable`: a value of it is not allowed in a request, so that no try will be better.
    """

    sent: Literal["not_sent", "unknown", "unwritable"]
    #: A short fixed phrase for logs and counts, never data from the request. Apple's reason where a GOAWAY gave one.
    cause: str


ACCEPTED = Answer(200)
Response = Answer | NoAnswer
#: Not sent because the one before it to the same device was not accepted.
HELD_UP = NoAnswer("not_sent", "earlier_not_accepted")
#: Not sent because no key of this process opens the device's secret.
SEALED = NoAnswer("unwritable", "secret_unreadable")
Payload = Mapping[str, Any]
