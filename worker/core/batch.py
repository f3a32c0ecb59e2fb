"""A batch: the jobs that one delivery takes at once, and the document it is stored as."""

from typing import Final, Literal

import msgspec

Lane = Literal["urgent", "bulk"]


class Sending(msgspec.Struct, frozen=True, array_like=True):
    """What the jobs of one message share. The payload of a job is `prefix`, its badge, `suffix`."""

    entry: str
    event_id: str
    prefix: str
    suffix: str
    #: UNIX seconds after which nobody wants this push any more.
    expires_at: int
    collapse_id: str
    push_type: str = "alert"
    priority: int = 10


class Job(msgspec.Struct, frozen=True, array_like=True):
    """One device to ring. `repr` shows no token."""

    #: Index into the batch's sendings.
    sending: int
    device: int
    user: str
    token: str
    #: Milliseconds since the epoch.
    registered_at: int
    #: Tries that were answered so far.
    attempt: int = 0
    #: Known from an earlier try; None: taken when the batch is first delivered.
    badge: int | None = None

    def __repr__(self) -> str:
        return f"Job(sending={self.sending}, device={self.device}, attempt={self.attempt})"


class Batch(msgspec.Struct, frozen=True, array_like=True):
    """Jobs of one provider on one lane; at most `deliver_batch` of them."""

    app: str
    provider: int
    lane: Lane
    sendings: list[Sending]
    jobs: list[Job]

    def __repr__(self) -> str:
        return f"Batch(app={self.app!r}, provider={self.provider}, lane={self.lane!r}, jobs={len(self.jobs)})"


encode: Final = msgspec.json.Encoder().encode
decode: Final = msgspec.json.Decoder(Batch).decode
