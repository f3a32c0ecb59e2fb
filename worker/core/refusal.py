"""Why an event is refused, in the form of the reply to its author."""

from dataclasses import dataclass
from typing import Literal

from producers.errors import EventError


class Refused(EventError):
    """The event does not fit what is configured. The text is `field: rule`, and what to do."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """`field`: path of the field at fault; None where the event itself is well."""

    error: str
    field: str | None = None
    code: Literal["refused", "rate_limit"] = "refused"


def refusal_of(fault: EventError) -> Refusal:
    return Refusal(str(fault), fault.field)
