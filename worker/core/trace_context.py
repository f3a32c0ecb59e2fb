"""The trace context of an event: https://www.w3.org/TR/trace-context/."""

import re
from typing import Final

from msgspec import UnsetType

#: Version, trace, span and flags. A version after 00 may add parts behind them.
_TRACEPARENT: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
_SAMPLED: Final = 1


def sampled(traceparent: str | UnsetType) -> str:
    """The `traceparent` in version 00 if the trace is sampled; '' if it is not, or if this is no `traceparent`."""
    found = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    if found is None:
        return ""
    version, trace, span, flags, more = found.groups()
    if not int(flags, 16) & _SAMPLED or (version == "00" and more):
        return ""
    return f"00-{trace}-{span}-01"
