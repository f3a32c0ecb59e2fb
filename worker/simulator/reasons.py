"""Every reason that a script may name, with its status.

Those of Apple are its own words. Those of Google are its error codes, or ours where one code has several envelopes or there is
none. Those of Web Push are ours: what a service answers for each, its personality says.
"""

from typing import Final

#: The last ten belong to the broadcast API and are answered on demand only.
APNS: Final[dict[str, int]] = {
    "BadCollapseId": 400,
    "BadDeviceToken": 400,
    "BadExpirationDate": 400,
    "BadMessageId": 400,
    "BadPriority": 400,
    "BadTopic": 400,
    "DeviceTokenNotForTopic": 400,
    "DuplicateHeaders": 400,
    "IdleTimeout": 400,
    "InvalidPushType": 400,
    "MissingDeviceToken": 400,
    "MissingTopic": 400,
    "PayloadEmpty": 400,
    "TopicDisallowed": 400,
    "BadCertificate": 403,
    "BadCertificateEnvironment": 403,
    "ExpiredProviderToken": 403,
    "Forbidden": 403,
    "InvalidProviderToken": 403,
    "MissingProviderToken": 403,
    "UnrelatedKeyIdInToken": 403,
    "BadEnvironmentKeyIdInToken": 403,
    "BadEnvironmentKeyInToken": 403,
    "BadPath": 404,
    "MethodNotAllowed": 405,
    "ExpiredToken": 410,
    "Unregistered": 410,
    "PayloadTooLarge": 413,
    "TooManyProviderTokenUpdates": 429,
    "TooManyRequests": 429,
    "InternalServerError": 500,
    "ServiceUnavailable": 503,
    "Shutdown": 503,
    "FeatureNotEnabled": 400,
    "MissingChannelId": 400,
    "BadChannelId": 400,
    "ChannelNotRegistered": 400,
    "BadRequestParams": 400,
    "BadRequestPayload": 400,
    "MissingPushType": 400,
    "CannotCreateChannelConfig": 400,
    "MissingChannelQueueSize": 400,
    "TopicMismatch": 403,
}
FCM: Final[dict[str, int]] = {
    # A message that was only validated.
    "VALIDATED": 200,
    "INVALID_TOKEN": 400,
    "NO_RECIPIENT": 400,
    "MESSAGE_TOO_LARGE": 400,
    "INVALID_WEB_TTL": 400,
    "INVALID_TOPIC": 400,
    "INVALID_ARGUMENT": 400,
    # A document that does not fit the schema.
    "WRONG_JSON": 400,
    "UNAUTHENTICATED": 401,
    "ACCESS_TOKEN_EXPIRED": 401,
    "THIRD_PARTY_AUTH_ERROR": 401,
    "THIRD_PARTY_AUTH_ERROR_AS_OAUTH": 401,
    "APNS_AUTH_ERROR": 401,
    "SENDER_ID_MISMATCH": 403,
    "SERVICE_DISABLED": 403,
    "IAM_PERMISSION_DENIED": 403,
    "UNREGISTERED": 404,
    "NOT_FOUND": 404,
    "WRONG_PATH": 404,
    "RATE_LIMIT_EXCEEDED": 429,
    "QUOTA_EXCEEDED": 429,
    "INTERNAL": 500,
    "BAD_GATEWAY": 502,
    "UNAVAILABLE": 503,
}
#: Of Google's token endpoint.
OAUTH: Final[dict[str, int]] = {
    "invalid_grant_time": 400,
    "invalid_grant_signature": 400,
    "invalid_grant_account": 400,
    "invalid_scope": 400,
    "invalid_request": 400,
    "unsupported_grant_type": 400,
    "invalid_client": 401,
    "unauthorized_client": 401,
    "disabled_client": 401,
    "internal_failure": 500,
    "temporarily_unavailable": 503,
}
STATUS_OF: Final[dict[str, int]] = APNS | FCM | OAUTH
