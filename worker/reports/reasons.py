"""The ledger's reasons in words, for commands that explain them."""

from collections.abc import Mapping
from typing import Final

#: Why a member got no push.
MEMBERS: Final[Mapping[str, str]] = {
    "sender": "wrote it",
    "not_a_member": "mentioned, but not in the channel",
    "not_in_thread": "not part of the thread it is in",
    "thread_full": "not part of the thread it is in, which is full",
    "muted_sender": "muted the sender",
    "online": "online at that moment",
    "no_device": "without a device",
    "no_provider": "with devices only of providers that were removed",
    "over_member_cap": "beyond the app's member cap",
    "not_allowed_here": "not among those whom this environment may push to, see carillon fleet",
}
#: Why a push was given up.
DROPS: Final[Mapping[str, str]] = {
    "expired": "too old by then",
    "device_moved": "the device had another user by then, or none",
    "left": "they had left the channel by then",
    "muted": "they had muted the sender by then",
    "channel_off": "pushes were off for its channel by then",
    "app_push_off": "pushes were off for the app by then",
    "no_provider": "its provider was removed",
    "too_many_attempts": "tried too often",
    "reregistered": "the device was registered again meanwhile",
    "mass_gone": "its provider refused so many devices that it may be at fault",
    "refused_unproven": "refused by a provider that is not known to work",
    "not_allowed_here": "not among those whom this environment may push to",
    "delivery_failed": "a bug of Carillon, see carillon dead-letters",
}
#: Why nobody got a push.
MESSAGES: Final[Mapping[str, str]] = {
    "skip_push": "it says skip_push",
    "not_allowed_here": "this environment may push to nobody: the database is another fleet's, see carillon fleet",
    "app_push_off": "pushes are off for the app",
    "too_old": "too old when its turn came, by the clock of the server that wrote its at: is that clock right, and its zone?",
    "unknown_channel": "nobody was ever added to its channel",
    "channel_push_off": "pushes are off for its channel",
    "cancelled": "it was cancelled by hand before its time",
}
#: Why a push that had waited was not sent any more, apart from its provider's reasons.
DROPPED: Final[Mapping[str, str]] = {
    "device_moved": "the device is somebody else's, or was logged out",
    "left": "the user left the channel meanwhile",
    "muted": "the user muted the sender meanwhile",
    "channel_off": "pushes were switched off for the channel meanwhile",
}
