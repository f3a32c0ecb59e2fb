"""What operators can do here. Each act is in one list, so that tests try all of them."""

from collections.abc import Sequence
from typing import Final

from worker.dashboard.page import Act

ACTS: Final[Sequence[Act]] = ()
