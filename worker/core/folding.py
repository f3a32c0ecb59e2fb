"""Burst folding: after some messages of a channel, a device gets one notification with their number in their place."""

import msgspec

from producers.events import MessageNew
from worker.core.model import AppSettings


def folded(event: MessageNew, phrase: str) -> MessageNew:
    """The message as the notification that replaces the banners before it. `phrase` says how many they are."""
    name = event.channel.name
    text = f"{name}: {phrase}" if name else phrase
    return msgspec.structs.replace(event, message=msgspec.structs.replace(event.message, text=text))


def folds_any(app: AppSettings) -> bool:
    """Whether one notification of the app's may stand for several messages."""
    return app.fold_after is not None or app.attention.collapse == "channel"
