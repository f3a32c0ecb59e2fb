"""What operators can do here. All acts are in one list, so tests try each of them."""

from collections.abc import Sequence
from typing import Final

from worker.dashboard.acts import conditions, dead_letters, devices, providers
from worker.dashboard.page import Act

ACTS: Final[Sequence[Act]] = (*providers.ACTS, *devices.ACTS, *conditions.ACTS, *dead_letters.ACTS)
