"""A second look: users of a message who are decided when a time has come. Not jobs, for most of them get no push in the end."""

from typing import Any, Final, Literal

import msgspec

#: What is made of it. `online`: who was there when the message came is decided by all rules but those of presence. `fold`: one
#: notification for several. `missed_call`: of a call that nobody answered. `activity`: the app has yet to register the token of a
#: Live Activity. `ptt`: somebody began to speak just after another one did. `edited`: whoever had the message queued as it was
#: before an edit, on the devices of `extra`. `named`: whom an edit names first; it is never stored, and asks for presence.
#: `shown`: an edit reaches who is shown the message: they are looked up, and get it as `replaced`, on the devices of `extra`.
#: `clear`: whose devices were woken just before for what was read elsewhere.
Kind = Literal["online", "fold", "missed_call", "activity", "ptt", "edited", "named", "shown", "replaced", "clear"]
#: Users of one second look.
MOST: Final = 500


class SecondLook(msgspec.Struct, frozen=True, array_like=True):
    """As the journal keeps it. One of a kind that this release does not know is as `online`."""

    kind: str
    users: list[str]
    #: What the kind keeps of the first decision: values of JSON.
    extra: Any = None


encode: Final = msgspec.json.Encoder().encode
decode: Final = msgspec.json.Decoder(SecondLook).decode
