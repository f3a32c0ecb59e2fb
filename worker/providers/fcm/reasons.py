"""Every answer that FCM gives, and what a provider does about it. Facts only: `outcome.py` turns them into decisions.

Source: Google, "FCM Error Codes", "ErrorCode" (REST v1), and answers that were captured. The status comes first: one code under
another status is another answer. An answer that is in no list never costs a token.
"""

from enum import StrEnum
from typing import Final

from worker.providers.fcm.answers import APPLE_REFUSED, DEVICE_QUOTA, PROJECT_QUOTA, TOKEN_FIELDS, code_of


class Action(StrEnum):
    """What an answer asks of the sender."""

    #: The token is gone for good.
    RETIRE = "RETIRE"
    #: The token is unusable, but a wrong project gives the same answer: retire under the guard.
    RETIRE_GUARDED = "RETIRE_GUARDED"
    #: The request breaks FCM's rules, by a bug of ours or a template, or the answer is unknown.
    DROP = "DROP"
    #: About one token in an older form of the answer, or about all tokens of a wrong project: drop under the guard.
    DROP_GUARDED = "DROP_GUARDED"
    #: Service account, role, project or path is wrong: nothing that the provider sends can arrive.
    OPEN = "OPEN"
    #: The project's APNs key is wrong: nothing arrives at Apple devices.
    OPEN_APPLE = "OPEN_APPLE"
    #: The same for a device that is not known to be Apple's: it stops nothing else.
    WAIT_LONG = "WAIT_LONG"
    #: Try once more with another access token.
    REFRESH_TOKEN = "REFRESH_TOKEN"
    COOL_DOWN_DEVICE = "COOL_DOWN_DEVICE"
    COOL_DOWN_PROVIDER = "COOL_DOWN_PROVIDER"
    RETRY = "RETRY"


_A = Action

#: The client's reason in place of `APPLE_REFUSED` for a device that is not known to be Apple's, and in place of
#: `DEVICE_QUOTA` if several devices get this answer within a minute.
NOT_KNOWN_AS_APPLE: Final = "THIRD_PARTY_AUTH_ERROR_UNKNOWN_PLATFORM"
SEVERAL_DEVICES: Final = "QUOTA_EXCEEDED_SEVERAL_DEVICES"
#: Reasons by which a token alone is refused, and which a wrong project causes as well.
GUARDED: Final = frozenset((*(f"INVALID_ARGUMENT:{field}" for field in TOKEN_FIELDS), "SENDER_ID_MISMATCH"))

_BY_REASON: Final = {(400, reason): _A.RETIRE_GUARDED for reason in GUARDED if reason != "SENDER_ID_MISMATCH"}
BY_CODE: Final[dict[tuple[int, str | None], Action]] = {
    (400, "FAILED_PRECONDITION"): _A.OPEN,
    (401, APPLE_REFUSED): _A.OPEN_APPLE,
    (401, NOT_KNOWN_AS_APPLE): _A.WAIT_LONG,
    (403, "SENDER_ID_MISMATCH"): _A.RETIRE_GUARDED,
    (404, "UNREGISTERED"): _A.RETIRE,
    # No envelope: the path is wrong, or the project's id in it.
    (404, None): _A.OPEN,
    (429, PROJECT_QUOTA): _A.COOL_DOWN_PROVIDER,
    (429, SEVERAL_DEVICES): _A.COOL_DOWN_PROVIDER,
    (429, DEVICE_QUOTA): _A.COOL_DOWN_DEVICE,
}
_BY_STATUS: Final = {
    401: _A.REFRESH_TOKEN,
    403: _A.OPEN,
    404: _A.DROP_GUARDED,
    408: _A.RETRY,
    409: _A.RETRY,
    429: _A.COOL_DOWN_DEVICE,
    499: _A.RETRY,
    501: _A.OPEN,
}


def action_for(status: int, reason: str | None) -> Action:
    """The action for an answer that is no acceptance; `reason` as `read_answer` gives it."""
    if action := _BY_REASON.get((status, reason or "")):
        return action
    if action := BY_CODE.get((status, code_of(reason))):
        return action
    if action := _BY_STATUS.get(status):
        return action
    if 300 <= status < 400:
        return Action.OPEN
    return Action.RETRY if status >= 500 else Action.DROP
