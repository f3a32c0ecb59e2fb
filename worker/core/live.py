"""What is for this moment only: calls, and who speaks in push to talk.

It goes ahead of messages, waits for no rate, and is tried again sooner than a message, because it is over soon.
"""

from dataclasses import replace
from typing import Final

from worker.core.batch import Sending
from worker.core.outcome import Retry

_KINDS: Final = frozenset(("call", "call_ended", "missed_call", "ptt"))
#: Seconds before the tries after one that failed.
_DELAYS: Final = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0)


def is_live(sending: Sending) -> bool:
    """A message of a kind with such a name has a channel."""
    return sending.kind in _KINDS and not sending.channel


def retried(retry: Retry, tries: int, *, least: float = 0.0) -> Retry:
    """The retry after this many tries, but not before `least` seconds.

    One that waits for its device, or for a quota, waits as every other.
    """
    if retry.scope == "device" or retry.cooldown:
        return retry
    return replace(retry, delay=max(_DELAYS[min(tries, len(_DELAYS)) - 1], least))
