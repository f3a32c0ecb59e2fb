"""What the delivery rules know beside the message: a fact a file, from the event that changes it to the read of expansion.

A new fact is one file and one line here: docs/contributing/add-a-fact.md.
"""

from collections.abc import Sequence
from typing import Any, Final

from worker.database.postgres import Pool
from worker.database.retention import in_bites
from worker.facts.base import Fact
from worker.facts.changes import CHANGES
from worker.facts.channels import CHANNELS
from worker.facts.members import MEMBERS
from worker.facts.mutes import MUTES
from worker.facts.preferences import PREFERENCES
from worker.facts.presence import PRESENCE
from worker.facts.quiet import QUIET
from worker.facts.threads import THREADS

#: In the order in which they are written.
FACTS: Final[tuple[Fact[Any], ...]] = (
    MEMBERS,
    CHANNELS,
    MUTES,
    THREADS,
    PREFERENCES,
    QUIET,
    CHANGES,
    PRESENCE,
)


def forget_old(
    pool: Pool, days: int, *, bite: int = 10_000, seconds: float = 5.0, facts: Sequence[Fact[Any]] = FACTS
) -> int:
    """Deletes rows that ended more than `days` ago, and values from before a change a day ago; returns how many rows.

    `bite` rows of each table in turn, until none is left or `seconds` are over.
    """
    return in_bites(pool, [forget for fact in facts for forget in fact.forgets(days)], bite=bite, seconds=seconds)
