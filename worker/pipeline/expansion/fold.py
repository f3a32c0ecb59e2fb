"""Fourth stage: which message of its burst each one is, for those whom it notifies."""

from collections.abc import Sequence

from worker.core.triggers import CALLED
from worker.pipeline.expansion.decide import Decided
from worker.state.bursts import Burst, Bursts


def count_bursts(bursts: Bursts, decided: Sequence[Decided], now: float) -> list[Decided]:
    """The same with their numbers, where the app folds bursts. A mention is in no burst."""
    folding = {n: _burst(one) for n, one in enumerate(decided) if one.page.message.app.fold_after is not None}
    if not folding:
        return [*decided]
    counted = dict(zip(folding, bursts.count([*folding.values()], now), strict=True))
    return [one._replace(numbers=counted[n]) if n in counted else one for n, one in enumerate(decided)]


def _burst(decided: Decided) -> Burst:
    message = decided.page.message
    return Burst(
        *message.key,
        message.app.fold_window,
        f"{message.opened.entry}:{message.opened.look or message.cursor.page}",
        [push.user for push in decided.decision.pushes if push.why not in CALLED],
    )
