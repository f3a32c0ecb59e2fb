"""Every answer that APNs documents, and what a provider does about it. Facts only: `outcome.py` turns them into decisions.

Source: Apple, "Handling notification responses from APNs"; the broadcast rows from "Sending channel management requests";
two spellings were seen on the wire and are in no page (`BadEnvironmentKeyInToken`, `MissingChannelQueueSize`).
"""

from enum import StrEnum
from typing import Final

from worker.sender.causes import CERTIFICATE_ALERTS


class Action(StrEnum):
    """What an answer asks of the sender."""

    SUCCESS = "SUCCESS"
    #: The request breaks Apple's rules, so we have a bug: the same bytes will be refused again.
    FIX_REQUEST = "FIX_REQUEST"
    #: Key, topic, certificate or environment of the provider is wrong: nothing it sends can arrive.
    FIX_CONFIG = "FIX_CONFIG"
    #: The token is unusable, but a wrong topic or host gives the same answer: retire under the guard.
    DELETE_TOKEN_GUARDED = "DELETE_TOKEN_GUARDED"
    DELETE_TOKEN_IF_NOT_REREGISTERED = "DELETE_TOKEN_IF_NOT_REREGISTERED"
    NEW_CONNECTION_RETRY = "NEW_CONNECTION_RETRY"
    REFRESH_JWT_NEW_CONNECTION_RETRY_ONCE = "REFRESH_JWT_NEW_CONNECTION_RETRY_ONCE"
    KEEP_JWT_DELAY_RECYCLE_CONNECTION = "KEEP_JWT_DELAY_RECYCLE_CONNECTION"
    RETRY_DELAY_THIS_TOKEN = "RETRY_DELAY_THIS_TOKEN"
    RETRY_BACKOFF = "RETRY_BACKOFF"
    DROP_SHRINK = "DROP_SHRINK"
    DROP_ALARM = "DROP_ALARM"
    DELETE_CHANNEL_RECORD = "DELETE_CHANNEL_RECORD"


_A = Action

ACTIONS: Final[dict[tuple[int, str | None], Action]] = {
    (200, None): _A.SUCCESS,
    (400, "BadCollapseId"): _A.FIX_REQUEST,
    (400, "BadDeviceToken"): _A.DELETE_TOKEN_GUARDED,
    (400, "BadExpirationDate"): _A.FIX_REQUEST,
    (400, "BadMessageId"): _A.FIX_REQUEST,
    (400, "BadPriority"): _A.FIX_REQUEST,
    (400, "BadTopic"): _A.FIX_CONFIG,
    (400, "DeviceTokenNotForTopic"): _A.DELETE_TOKEN_GUARDED,
    (400, "DuplicateHeaders"): _A.FIX_REQUEST,
    (400, "IdleTimeout"): _A.NEW_CONNECTION_RETRY,
    (400, "InvalidPushType"): _A.FIX_REQUEST,
    (400, "MissingDeviceToken"): _A.FIX_REQUEST,
    (400, "MissingTopic"): _A.FIX_CONFIG,
    (400, "PayloadEmpty"): _A.FIX_REQUEST,
    (400, "TopicDisallowed"): _A.FIX_CONFIG,
    (403, "BadCertificate"): _A.FIX_CONFIG,
    (403, "BadCertificateEnvironment"): _A.FIX_CONFIG,
    (403, "ExpiredProviderToken"): _A.REFRESH_JWT_NEW_CONNECTION_RETRY_ONCE,
    (403, "Forbidden"): _A.DROP_ALARM,
    (403, "InvalidProviderToken"): _A.FIX_CONFIG,
    (403, "MissingProviderToken"): _A.FIX_REQUEST,
    (403, "UnrelatedKeyIdInToken"): _A.NEW_CONNECTION_RETRY,
    (403, "BadEnvironmentKeyIdInToken"): _A.FIX_CONFIG,
    (403, "BadEnvironmentKeyInToken"): _A.FIX_CONFIG,
    (404, "BadPath"): _A.FIX_REQUEST,
    (405, "MethodNotAllowed"): _A.FIX_REQUEST,
    (410, "ExpiredToken"): _A.DELETE_TOKEN_IF_NOT_REREGISTERED,
    (410, "Unregistered"): _A.DELETE_TOKEN_IF_NOT_REREGISTERED,
    (413, "PayloadTooLarge"): _A.DROP_SHRINK,
    (429, "TooManyProviderTokenUpdates"): _A.KEEP_JWT_DELAY_RECYCLE_CONNECTION,
    (429, "TooManyRequests"): _A.RETRY_DELAY_THIS_TOKEN,
    (500, "InternalServerError"): _A.RETRY_BACKOFF,
    (503, "ServiceUnavailable"): _A.RETRY_BACKOFF,
    (503, "Shutdown"): _A.NEW_CONNECTION_RETRY,
    # Of the broadcast API.
    (400, "FeatureNotEnabled"): _A.FIX_CONFIG,
    (400, "MissingChannelId"): _A.FIX_REQUEST,
    (400, "BadChannelId"): _A.FIX_REQUEST,
    (400, "ChannelNotRegistered"): _A.DELETE_CHANNEL_RECORD,
    (400, "BadRequestParams"): _A.FIX_REQUEST,
    (400, "BadRequestPayload"): _A.FIX_REQUEST,
    (400, "MissingPushType"): _A.FIX_REQUEST,
    (400, "CannotCreateChannelConfig"): _A.FIX_CONFIG,
    (400, "MissingChannelQueueSize"): _A.FIX_REQUEST,
    (403, "TopicMismatch"): _A.FIX_CONFIG,
}

#: A GOAWAY carries a reason without a status; no two statuses share a reason.
BY_REASON: Final[dict[str, Action]] = {reason: action for (_, reason), action in ACTIONS.items() if reason}
#: The same for causes of a connection without an answer.
BY_CAUSE: Final[dict[str, Action]] = BY_REASON | dict.fromkeys(CERTIFICATE_ALERTS, _A.FIX_CONFIG)


def action_for(status: int, reason: str | None) -> Action:
    """The action for an answer. An unknown answer never retires a device; only 429 and 5xx are tried again.

    A known reason under a status that is not its own counts as unlisted: whoever said that was not APNs as we know it.
    """
    if status == 200:
        return Action.SUCCESS
    if action := ACTIONS.get((status, reason)):
        return action
    if status == 429:
        return Action.RETRY_DELAY_THIS_TOKEN
    return Action.RETRY_BACKOFF if status >= 500 else Action.DROP_ALARM
