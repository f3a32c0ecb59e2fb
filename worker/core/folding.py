"""Burst folding: after some messages of a channel, a device gets one notification with their number in their place."""

import msgspec

from producers.events import MessageNew


def folded(event: MessageNew, phrase: str) -> MessageNew:
    """The message as the notification that replaces the banners before it. `phrase` says how many they are."""
    name = event.channel.name
    text = f"{name}: {phrase}" if name else phrase
    return msgspec.structs.replace(event, message=msgspec.structs.replace(event.message, text=text))
