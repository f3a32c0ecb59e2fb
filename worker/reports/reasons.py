"""The ledger's reasons in words, for commands that explain them."""

from collections.abc import Mapping
from typing import Final

from worker.core.rules import FOLDED, MESSAGE_RULES, OVER_CAP, OVER_DAILY_CAP, RULES, TOO_OLD

#: Why a member got no push. At a second look what is so of the message is so of its users.
MEMBERS: Final[Mapping[str, str]] = (
    MESSAGE_RULES
    | {rule.reason: rule.sentence for rule in RULES}
    | {
        TOO_OLD: "decided too late: it was too old by then",
        OVER_CAP: "beyond the app's member cap",
        OVER_DAILY_CAP: "had had their pushes of the day",
        FOLDED: "shown a later message of the channel instead, with the number of messages",
        "call_ended": "not called any more: the call had ended for them",
        "superseded": "sent a newer update of the activity before",
        "budget": "sent the start of eight activities in an hour, and a phone drops more",
    }
)
#: Why a push was given up.
DROPS: Final[Mapping[str, str]] = {
    "expired": "too old by then",
    "device_moved": "the device had another user by then, or none",
    "left": "they had left the channel by then",
    "muted": "they had muted the sender by then",
    "channel_off": "pushes were off for its channel by then",
    "push_off": "they had switched off all pushes by then",
    "thread_muted": "they had muted the thread by then",
    "channel_muted": "they had muted the channel by then",
    "mentions_only": "they wanted less than all messages by then",
    "level_none": "they wanted nothing by then",
    "switched_off": "they had switched off what it was for them by then",
    "quiet": "their quiet time had begun by then",
    "read": "they had read it by then",
    "deleted": "it was deleted by then",
    "edited": "it was edited by then, and is decided anew",
    "app_push_off": "pushes were off for the app by then",
    "no_provider": "its provider was removed",
    "too_many_attempts": "tried too often",
    "reregistered": "the device was registered again meanwhile",
    "mass_gone": "its provider refused so many devices that it may be at fault",
    "refused_unproven": "refused by a provider that is not known to work",
    "not_allowed_here": "not among those whom this environment may push to",
    "secret_unreadable": "no key in a worker's CARILLON_SECRET_KEYS opens what its device is encrypted with",
    "no_key": "the device had lost its key by then, and the app sends nothing unsealed",
    "no_silent_push": "a browser ends the subscription of a page that shows nothing",
    "no_translations": "a browser has no texts of an app by their keys: title and body are needed",
    "call_ended": "the call had ended by then",
    "superseded": "a newer update of the activity took its place",
    "call_not_shown": "the device did not get the call, so its end is no news",
    "delivery_failed": "a bug of Carillon, see carillon dead-letters",
}
#: What let a message through the quiet time of who got it.
PASSED: Final[Mapping[str, str]] = {
    "urgent": "urgent messages come through their quiet time",
    "trigger": "what it is for them comes through their quiet time",
    "user": "what its sender writes comes through their quiet time",
    "channel": "what is written in its channel comes through their quiet time",
}
#: Why nobody got a push.
MESSAGES: Final[Mapping[str, str]] = MESSAGE_RULES | {
    "cancelled": "it was cancelled by hand before its time",
    "superseded": "somebody began to speak after it, and only the newest speaker of two seconds is sent",
    "no_provider": "the provider of its broadcast channel was removed",
    "not_taken_back": "the app's setting retract is off",
    "nothing_shown": "nothing was shown that could go, and no number was wrong",
    "call_already_started": "an event before it began the same call",
    "call_already_ended": "the call had ended before",
    "call_not_started": "no call of this id began before it",
}
#: Whose word it was, where a preference decided: by `preferences.RowName`.
WHOSE: Final[Mapping[str, str]] = {
    "thread": "the user's setting for the thread",
    "member": "the user's setting for the channel",
    "user": "the user's setting for everything",
    "channel": "the channel's setting for members who have chosen nothing",
    "app": "the app's setting for users who have chosen nothing",
    "built in": "nobody switched it on",
}
