"""Burst folding: after some messages of a channel, a device gets one notification with their number in their place."""

import msgspec

from producers.events import MessageNew
from worker.core.model import AppSettings
from worker.core.rules import Push
from worker.core.triggers import CALLED


def folds(push: Push, count: int, app: AppSettings) -> bool:
    """Whether the `count`-th message of the window is folded for this member. A mention always breaks through."""
    return app.fold_after is not None and count > app.fold_after and push.why not in CALLED


def folded(event: MessageNew, phrase: str) -> MessageNew:
    """The message as the notification that replaces the banners before it. `phrase` says how many they are."""
    name = event.channel.name
    text = f"{name}: {phrase}" if name else phrase
    return msgspec.structs.replace(event, message=msgspec.structs.replace(event.message, text=text))
