"""What a device's token is for. An app on one iPhone may have a token for each purpose; every other device knows alerts only."""

from typing import Final, Literal

from worker.core.model import PushType

Purpose = Literal["alert", "voip", "activity", "activity-start", "ptt"]

#: Messages, targeted pushes and badges go to these.
ALERT: Final = "alert"
VOIP: Final = "voip"
#: One Live Activity that runs, and Live Activities that are yet to be started.
ACTIVITY: Final = "activity"
ACTIVITY_START: Final = "activity-start"
PTT: Final = "ptt"
#: No device is for this: it stands for the broadcast channels of Live Activities.
BROADCAST: Final = "broadcast"

#: Apple's push type for the purposes that have their own. It names the topic, which can be wrong on its own.
PUSH_TYPE_OF: Final[dict[str, PushType]] = {
    VOIP: "voip",
    ACTIVITY: "liveactivity",
    ACTIVITY_START: "liveactivity",
    PTT: "pushtotalk",
}

#: Hours for which a token of such a purpose can work after its registration: the system ends a Live Activity after 12, and nobody
#: has to say that they left a push to talk channel.
LASTS: Final = {ACTIVITY: 12, PTT: 24}


def part_of(purpose: str) -> str:
    """The origin (`worker/core/way.py`) that devices of this purpose are reached by; '' for alerts: the provider itself."""
    return BROADCAST if purpose == BROADCAST else PUSH_TYPE_OF.get(purpose, "")
