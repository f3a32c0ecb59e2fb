"""Places: the order in which the leader takes entries, as one number over all streams.

The leader draws them from a counter in Postgres, in the transaction that moves its cursor. An earlier release used the entry's
id: such a position is below every place.
"""

from typing import Final

#: The lowest place.
FIRST_PLACE: Final = 1 << 62
#: Bits for the sequence number within a millisecond.
_SEQUENCE: Final = 20


def position(entry: str) -> int:
    """What a release before recorded for an entry of the inlet, below every place. Two entries may share one."""
    ms, _, sequence = entry.partition("-")
    return min(int(ms) << _SEQUENCE | min(int(sequence), (1 << _SEQUENCE) - 1), FIRST_PLACE - 1)
