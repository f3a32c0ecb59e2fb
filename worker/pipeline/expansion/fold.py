"""Fourth stage: which message of its burst each one is, for those whom it notifies: with a sound or without, now or folded."""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from worker.core.folding import folds_any
from worker.core.loudness import Loudness, loudness
from worker.core.model import AppSettings
from worker.core.rules import FOLDED, Decision, Push, Skip, Why
from worker.core.triggers import CALLED
from worker.pipeline.expansion.admit import Expanding
from worker.pipeline.expansion.decide import Decided, Quieted
from worker.state.bursts import Budget, Burst, Bursts, Fold, Pushed, Turn

#: Who gets a message for one of these has a budget of sounds apart.
_ADDRESSED: frozenset[Why] = frozenset({"direct", "mention", "reply"})


def quieten(bursts: Bursts, decided: Sequence[Decided], now: float) -> list[Decided]:
    """The same with what is quieter for some, where their app says so. `now` in UNIX seconds."""
    looks = {n: one for n, one in enumerate(decided) if _is_fold(one)}
    asked = {n: _burst(one) for n, one in enumerate(decided) if n not in looks and _is_quiet(one.page.message.app)}
    if not looks and not asked:
        return [*decided]
    found = [*decided]
    for n, turns in zip(asked, bursts.count([*asked.values()], now), strict=True):
        found[n] = _counted(decided[n], turns)
    for n, shown in zip(looks, bursts.show([_fold(one) for one in looks.values()]), strict=True):
        found[n] = _shown(looks[n], shown)
    return found


def _is_quiet(app: AppSettings) -> bool:
    said = app.attention
    return folds_any(app) or bool(said.sound_every or said.sound_every_user)


def _burst(decided: Decided) -> Burst:
    message = decided.page.message
    app, said = message.app, message.app.attention
    budgets: dict[Why, Budget] = {}
    users = []
    for push in decided.decision.pushes:
        why = push.why
        if why not in budgets:
            budgets[why] = _budget(why, loudness(message.event, why))
        counts = folds_any(app) and why not in CALLED and message.event.message.urgency != "urgent"
        users.append(Pushed(push.user, counts, budgets[why]))
    return Burst(
        *message.key,
        app.fold_window,
        f"{message.opened.entry}:{_page(message)}",
        users,
        app.fold_after,
        *(said.fold_every or 0, said.sound_every or 0, said.sound_every_user or 0),
    )


def _page(message: Expanding) -> int | str:
    """What is queued anew for an edit is the same message of its burst as before."""
    if message.is_queued_anew:
        return 0
    return message.opened.look or message.cursor.page


def _budget(why: Why, loud: Loudness) -> Budget:
    """What is urgent always makes its sound, and takes nobody's."""
    if not loud.sound or loud.level == "time-sensitive":
        return ""
    return "called" if why in _ADDRESSED else "plain"


def _counted(decided: Decided, turns: Mapping[str, Turn]) -> Decided:
    """Whose message is shown later with others is delayed."""
    quieted = {user: _quieted(turn, decided.page.message.app) for user, turn in turns.items()}
    pushes = decided.decision.pushes
    later = [push for push in pushes if quieted[push.user].due]
    if later:
        pushes = [push for push in pushes if not quieted[push.user].due]
    decision = Decision(pushes, decided.decision.skips, [*decided.decision.delayed, *later])
    return replace(decided, decision=decision, quieted=quieted)


def _quieted(turn: Turn, app: AppSettings) -> Quieted:
    folded = app.fold_after is not None and turn.number > app.fold_after
    if app.attention.collapse == "channel":  # all of them are in one banner
        return Quieted(turn.sound, turn.number if turn.number > 1 else 0, turn.due)
    if not folded or app.fold_after is None:
        return Quieted(turn.sound)
    # One that is shown later leaves those alone that were shown one by one.
    return Quieted(turn.sound, turn.number - app.fold_after if turn.due else turn.number, turn.due)


def _is_fold(decided: Decided) -> bool:
    look = decided.page.message.look
    return look is not None and look.kind == "fold"


def _fold(decided: Decided) -> Fold:
    message = decided.page.message
    return Fold(*message.key, message.place, [push.user for push in decided.decision.pushes])


def _shown(decided: Decided, users: set[str]) -> Decided:
    """A second look at a fold: one notification for all of it, by the newest of its messages that the rules let through."""
    pushes, skips, look = decided.decision.pushes, decided.decision.skips, decided.page.message.look
    stands_for = look.extra if look is not None and isinstance(look.extra, int) else 1
    quieted: Mapping[str, Quieted] = dict.fromkeys(users, Quieted(sound=False, stands_for=stands_for))
    shown: list[Push] = [push for push in pushes if push.user in users]
    folded = [Skip(push.user, FOLDED) for push in pushes if push.user not in users]
    return replace(decided, decision=Decision(shown, [*skips, *folded], decided.decision.delayed), quieted=quieted)
