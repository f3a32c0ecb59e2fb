"""Final outcomes of a batch's jobs, as they are kept in Redis until the batch is done."""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from worker.core.outcome import DELIVERED, Delivered, Drop, Outcome, Unregister


class RecordedOutcome(msgspec.Struct, frozen=True, array_like=True):
    """The fields and their order are the stored form, which releases share."""

    job: int
    kind: str
    reason: str = ""
    not_after: int = 0
    guarded: bool = False

    def outcome(self) -> Outcome:
        if self.kind == "delivered":
            return DELIVERED
        if self.kind == "retired":
            return Unregister(self.reason, self.not_after, self.guarded)
        return Drop(self.reason, guarded=self.guarded)


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(list[RecordedOutcome]).decode


def encode(outcomes: Iterable[object]) -> bytes:
    """Those of a batch's outcomes that are final."""
    recorded = []
    for index, outcome in enumerate(outcomes):
        match outcome:
            case Delivered():
                recorded.append(RecordedOutcome(index, "delivered"))
            case Unregister(reason=reason, not_after=not_after, guarded=guarded):
                recorded.append(RecordedOutcome(index, "retired", reason, not_after, guarded))
            case Drop(reason=reason, guarded=guarded):
                recorded.append(RecordedOutcome(index, "dropped", reason, guarded=guarded))
    return _encode(recorded)


def decode(document: bytes, accepted: Sequence[int]) -> dict[int, Outcome]:
    """The outcomes by job: recorded outcomes, and jobs whose acceptance was recorded separately."""
    found: dict[int, Outcome] = dict.fromkeys(accepted, DELIVERED)
    if document:
        found.update((one.job, one.outcome()) for one in _decode(document))
    return found
