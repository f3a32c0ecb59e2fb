"""A batch: the jobs that one delivery takes at once, and the document it is stored as."""

import hashlib
from functools import lru_cache
from typing import Final, Literal, NamedTuple

import msgspec

from worker.core.model import PushType
from worker.core.way import Way, way_of

Lane = Literal["urgent", "bulk"]

#: What becomes of a device's badge number; from 0 on it is set to that.
COUNT: Final = -1
#: The number stays, and the payload says nothing of it.
LEAVE: Final = -2
#: The number stays, and the payload says it.
SHOW: Final = -3


#: Seconds from its first try for which a notification holds later ones of the same device and channel.
OVERTAKE: Final = 30
#: A time that never comes: a job that was not tried yet cannot be overtaken.
NEVER: Final = 9_999_999_999


class Freed(NamedTuple):
    """How many batches of each lane can be taken that waited for another one."""

    urgent: int
    bulk: int


NONE_FREED: Final = Freed(0, 0)


class Sending(msgspec.Struct, frozen=True, array_like=True):
    """What the jobs of one message share. The payload of a job is `prefix`, its badge, `suffix`, unless it is `own`."""

    entry: str
    event_id: str
    prefix: str
    suffix: str
    #: UNIX seconds at which this push expires.
    expires_at: int
    collapse_id: str
    push_type: PushType = "alert"
    priority: int = 10
    #: `COUNT`, `LEAVE`, `SHOW`, or a number to set.
    badge: int = COUNT
    #: The message's kind, for those who get more than the payload.
    kind: str = ""
    #: The channel's id, where it is a channel's message.
    channel: str = ""
    #: The entry's place in the order of intake; 0: made by a release before, whose entry tells it.
    place: int = 0
    #: UNIX seconds at which its entry came, by the id, and before it was expanded; 0: made by a release before.
    at: int = 0
    #: Who sent the message, where it is a channel's.
    sender: str = ""
    #: Whether the message named its recipients, who need not be members.
    listed: bool = False
    #: As of `notification.Rendered`.
    own: bool = False
    #: As of `trace_context.sampled`.
    traceparent: str = ""
    #: As of `loudness.Importance`.
    importance: str = ""
    #: What was asked for, a mode of `worker/core/privacy.py`; '' for all of it.
    privacy: str = ""
    #: What is sealed for each device before it is sent, and octets that fill it up. The payload is one of `privacy.sealable`.
    inside: str = ""
    pad: int = 0
    #: Whether each device gets names for the ids in it that nobody else knows, as of `privacy.with_hidden_ids`.
    hides_ids: bool = False
    #: The message that it shows, and the root of its thread; '' where it shows none, or several.
    message: str = ""
    thread: str = ""
    #: The message's own time, ms since the epoch; 0: made by a release before.
    written: int = 0
    #: As of `edits.content_of`, where it shows one message.
    content: str = ""
    #: The Live Activity that it updates, and when that was said (microseconds since the epoch): a newer update takes its place.
    activity: str = ""
    said_at: int = 0
    #: Whether a push service is to keep it for no device that it cannot reach now.
    fleeting: bool = False
    #: Whether the message is urgent.
    urgent: bool = False
    #: Seconds after which whoever got it is reminded of it, if it stays unread; 0: never. And who wrote it, for that.
    reminds: int = 0
    sender_name: str = ""


class Job(msgspec.Struct, frozen=True, array_like=True):
    """One notification for one device. `repr` shows no token and no secret."""

    #: Index into the batch's sendings.
    sending: int
    device: int
    user: str
    token: str
    #: Milliseconds since the epoch.
    registered_at: int
    #: Tries that were answered so far.
    attempt: int = 0
    #: The number of an earlier try; None: not counted yet. A try after the first shows the number as it is by then.
    badge: int | None = None
    #: Why the user gets the push, if a rule of channels said so: `rules.Why`.
    why: str = ""
    #: UNIX seconds of the first try; 0: none yet.
    tried: int = 0
    #: The device's, as they were at its registration; see `model.Device`.
    platform: str = ""
    secret: str = ""
    #: Whether its app takes back what it shows, if it is asked to.
    clears: bool = False

    def __repr__(self) -> str:
        return f"Job(sending={self.sending}, device={self.device}, attempt={self.attempt})"


class Batch(msgspec.Struct, frozen=True, array_like=True):
    """Jobs of one way on one lane; at most `deliver_batch` of them."""

    app: str
    provider: int
    lane: Lane
    sendings: list[Sending]
    jobs: list[Job]
    #: Tries in a row that did not reach the provider.
    unsent: int = 0
    #: Limits of the app, in the order of `worker/pipeline/rate_limits.py`, in which all of its jobs have a time; the UNIX
    #: seconds of the latest of these; and how far the limit's last queue had moved back by then.
    reserved: int = 0
    due: float = 0.0
    moved: float = 0.0
    #: Jobs that were counted as waiting for an earlier one.
    waited: list[int] = []
    #: Jobs whose token was refused when most were: their provider was stopped for it, and is well again when they are sent.
    refused: list[int] = []
    #: Of its provider's origins the one that its jobs have in common; '' where the kind has none.
    origin: str = ""
    #: When its jobs were decided, ms since the epoch; 0: made by a release before.
    decided: int = 0

    @property
    def way(self) -> Way:
        """What its line, breaker, cooldown and share of the threads belong to."""
        return way_of(self.provider, self.origin)

    def __repr__(self) -> str:
        return f"Batch(app={self.app!r}, provider={self.provider}, lane={self.lane!r}, jobs={len(self.jobs)})"


def device_orders(batch: Batch, *, badges: bool = True) -> str:
    """The devices of the jobs in their order, with what scripts need of them: `@<place>/<channel key>/<mode>,<device>,...`.

    `mode` is what becomes of a badge: '' one more, '?' it is shown as it is, '=n' it is n, '-' nothing. A job that was counted
    before shows the number as it is. Without `badges` they are somebody else's: the mode of all is '-'.
    """
    orders: list[str] = []
    number, counted = -1, False
    for job in batch.jobs:
        if job.sending != number or (job.badge is not None) is not counted:
            number, counted = job.sending, job.badge is not None
            sending = batch.sendings[number]
            mode = _mode(sending, counted=counted) if badges else "-"
            orders.append(f"@{sending.place or sending.entry}/{channel_key(sending.channel)}/{mode}")
        orders.append(str(job.device))
    return ",".join(orders)


def has_badges(batch: Batch) -> bool:
    """Whether any of its payloads says a badge number."""
    return any(sending.badge != LEAVE for sending in batch.sendings)


def devices_in(orders: str) -> list[str]:
    """The devices that `device_orders` named."""
    return [part for part in orders.split(",") if part and not part.startswith("@")]


def _mode(sending: Sending, *, counted: bool) -> str:
    if sending.badge == LEAVE:
        return "-"
    if counted or sending.badge == SHOW:
        return "?"
    return "" if sending.badge == COUNT else f"={sending.badge}"


@lru_cache(maxsize=8192)
def channel_key(channel: str) -> str:
    """A channel's id as 16 hex digits; '' for what is in no channel."""
    return hashlib.blake2b(channel.encode(), digest_size=8).hexdigest() if channel else ""


def waiting_lines(batch: Batch, id: str) -> str:
    """The marks of a batch that is tried later. Later notifications of the same device and channel see them.

    `<device>/<channel key>/<place>/<UNIX seconds>/<batch>` for each job of a channel, separated by commas: they wait until then.
    """
    lines = []
    for job in batch.jobs:
        sending = batch.sendings[job.sending]
        if sending.channel and sending.place:
            until = job.tried + OVERTAKE if job.tried else NEVER
            lines.append(f"{job.device}/{channel_key(sending.channel)}/{sending.place:020}/{until}/{id}")
    return ",".join(lines)


def batch_id(batch: Batch, random: str) -> str:
    """An id that sorts as the places of the batches' first messages do. `random` is hex."""
    return f"{batch.sendings[0].place:016x}{random[:8]}"


encode: Final = msgspec.json.Encoder().encode
decode: Final = msgspec.json.Decoder(Batch).decode
