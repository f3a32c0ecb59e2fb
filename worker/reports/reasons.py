"""The reasons of the ledger in words, for commands that explain them."""

from collections.abc import Mapping
from typing import Final

#: Why a member did not ring.
MEMBERS: Final[Mapping[str, str]] = {
    "sender": "wrote it",
    "not_a_member": "mentioned, but not in the channel",
    "not_in_thread": "not part of the thread it is in",
    "thread_full": "not part of the thread it is in, which takes up nobody more",
    "muted_sender": "muted the sender",
    "online": "online at that moment",
    "no_device": "without a device",
    "no_provider": "with devices only of providers that were removed",
    "over_member_cap": "beyond those that one message may ring",
}
#: Why nobody rang.
MESSAGES: Final[Mapping[str, str]] = {
    "skip_push": "it says skip_push",
    "app_push_off": "pushes are off for the app",
    "too_old": "too old when its turn came",
    "unknown_channel": "nobody was ever added to its channel",
    "channel_push_off": "pushes are off for its channel",
}
