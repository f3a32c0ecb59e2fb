"""Google's answers as they were seen on the wire: each with its own details, in their own order, with what they leave out."""

import json
from typing import Any, Final, NamedTuple

_TYPE: Final = "type.googleapis.com/google."
HTML: Final = b"text/html; charset=UTF-8"
JSON: Final = b"application/json; charset=UTF-8"


def _fcm_error(code: str) -> dict[str, Any]:
    return {"@type": f"{_TYPE}firebase.fcm.v1.FcmError", "errorCode": code}


def _bad_request(field: str | None = None, description: str = "") -> dict[str, Any]:
    """Without a field the list of violations is missing, as for a message that is too large."""
    violations = {} if field is None else {"fieldViolations": [{"field": field, "description": description}]}
    return {"@type": f"{_TYPE}rpc.BadRequest", **violations}


def _error_info(reason: str, **metadata: str) -> dict[str, Any]:
    return {"@type": f"{_TYPE}rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com", "metadata": metadata}


def _help(url: str) -> dict[str, Any]:
    return {"@type": f"{_TYPE}rpc.Help", "links": [{"description": "More information", "url": url}]}


class Envelope(NamedTuple):
    """`error.status`, `error.message`, and the details in their order."""

    status: str
    message: str
    details: tuple[dict[str, Any], ...] = ()


_INVALID: Final = "INVALID_ARGUMENT"
_TOKEN: Final = "The registration token is not a valid FCM registration token"
_RECIPIENT: Final = "Recipient of the message is not set."
_TTL: Final = "TTL must be a non-negative integer."
_TOPIC: Final = "Topic name contains invalid characters."
_OAUTH: Final = (
    "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or other valid "
    "authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project."
)
_EXPIRED: Final = (
    "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
    "authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project."
)
_QUOTA: Final = (
    "Quota exceeded for quota metric 'Send requests' and limit 'Send requests per minute' of service "
    "'fcm.googleapis.com' for consumer 'project_number:1071234567890'."
)
_DISABLED: Final = (
    "Firebase Cloud Messaging API has not been used in project 1071234567890 before or it is disabled. Enable it by "
    "visiting https://console.developers.google.com/apis/api/fcm.googleapis.com/overview then retry."
)
_DENIED: Final = (
    "Permission 'cloudmessaging.messages.create' denied on resource '//cloudresourcemanager.googleapis.com/projects/p' "
    "(or it may not exist)."
)
_TIME: Final = (
    "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
    "Check your iat and exp values in the JWT claim."
)
_APPLE: Final = {"@type": f"{_TYPE}firebase.fcm.v1.ApnsError", "statusCode": 403, "reason": "InvalidProviderToken"}
_QUOTA_INFO: Final = _error_info(
    "RATE_LIMIT_EXCEEDED",
    service="fcm.googleapis.com",
    quota_metric="fcm.googleapis.com/send_requests",
    quota_limit="SendsPerMinutePerProject",
    quota_unit="1/min/{project}",
    quota_limit_value="600000",
    consumer="projects/1071234567890",
)

#: By reason. Its status is in `reasons.py`.
ENVELOPES: Final[dict[str, Envelope]] = {
    "INVALID_TOKEN": Envelope(_INVALID, _TOKEN, (_fcm_error(_INVALID), _bad_request("message.token", _TOKEN))),
    "NO_RECIPIENT": Envelope(_INVALID, _RECIPIENT, (_bad_request("message", _RECIPIENT), _fcm_error(_INVALID))),
    "MESSAGE_TOO_LARGE": Envelope(
        _INVALID, "Message is too large. The maximum is 4K (4096 bytes).", (_bad_request(), _fcm_error(_INVALID))
    ),
    "INVALID_WEB_TTL": Envelope(
        _INVALID, _TTL, (_bad_request("message.webpush.headers.TTL", _TTL), _fcm_error(_INVALID))
    ),
    "INVALID_TOPIC": Envelope(_INVALID, _TOPIC, (_bad_request("message", _TOPIC), _fcm_error(_INVALID))),
    "INVALID_ARGUMENT": Envelope(_INVALID, "Request contains an invalid argument."),
    "UNAUTHENTICATED": Envelope("UNAUTHENTICATED", _OAUTH),
    "ACCESS_TOKEN_EXPIRED": Envelope(
        "UNAUTHENTICATED", _EXPIRED, (_error_info("ACCESS_TOKEN_EXPIRED", service="fcm.googleapis.com"),)
    ),
    "THIRD_PARTY_AUTH_ERROR": Envelope(
        "UNAUTHENTICATED",
        "Auth error from APNS or Web Push Service",
        (_fcm_error("THIRD_PARTY_AUTH_ERROR"), _APPLE),
    ),
    "THIRD_PARTY_AUTH_ERROR_AS_OAUTH": Envelope("UNAUTHENTICATED", _OAUTH, (_fcm_error("THIRD_PARTY_AUTH_ERROR"),)),
    "APNS_AUTH_ERROR": Envelope("UNAUTHENTICATED", _OAUTH, (_fcm_error("APNS_AUTH_ERROR"),)),
    "SENDER_ID_MISMATCH": Envelope("PERMISSION_DENIED", "SenderId mismatch", (_fcm_error("SENDER_ID_MISMATCH"),)),
    "SERVICE_DISABLED": Envelope(
        "PERMISSION_DENIED",
        _DISABLED,
        (_help("https://console.developers.google.com"), _error_info("SERVICE_DISABLED", service="fcm.googleapis.com")),
    ),
    "IAM_PERMISSION_DENIED": Envelope(
        "PERMISSION_DENIED",
        _DENIED,
        (_error_info("IAM_PERMISSION_DENIED", permission="cloudmessaging.messages.create"),),
    ),
    "UNREGISTERED": Envelope("NOT_FOUND", "Requested entity was not found.", (_fcm_error("UNREGISTERED"),)),
    "NOT_FOUND": Envelope("NOT_FOUND", "Requested entity was not found."),
    "RATE_LIMIT_EXCEEDED": Envelope(
        "RESOURCE_EXHAUSTED", _QUOTA, (_QUOTA_INFO, _help("https://cloud.google.com/docs/quotas/help/request_increase"))
    ),
    "QUOTA_EXCEEDED": Envelope("RESOURCE_EXHAUSTED", "Resource has been exhausted.", (_fcm_error("QUOTA_EXCEEDED"),)),
    "INTERNAL": Envelope("INTERNAL", "Internal error encountered.", (_fcm_error("INTERNAL"),)),
    "UNAVAILABLE": Envelope("UNAVAILABLE", "The service is currently unavailable.", (_fcm_error("UNAVAILABLE"),)),
}
#: Reasons whose answer is a page.
PAGES: Final = {
    "WRONG_PATH": "The requested URL was not found on this server.",
    "BAD_GATEWAY": "The server encountered a temporary error and could not complete your request.",
}
#: Of the token endpoint: `error`, and `error_description` where there is one.
OAUTH: Final[dict[str, tuple[str, str | None]]] = {
    "invalid_grant_time": (
        "invalid_grant",
        _TIME,
    ),
    "invalid_grant_signature": ("invalid_grant", "Invalid JWT Signature."),
    "invalid_grant_account": ("invalid_grant", "Invalid grant: account not found"),
    "invalid_scope": ("invalid_scope", "Invalid OAuth scope or ID token audience provided."),
    "invalid_request": ("invalid_request", None),
    "unsupported_grant_type": ("unsupported_grant_type", "Invalid grant_type"),
    "invalid_client": ("invalid_client", "The OAuth client was not found."),
    "unauthorized_client": ("unauthorized_client", None),
    "disabled_client": ("disabled_client", "The OAuth client was disabled."),
    "internal_failure": ("internal_failure", None),
    "temporarily_unavailable": ("temporarily_unavailable", None),
}


def wrong_json(field: str, description: str) -> Envelope:
    """A document that does not fit the schema: a violation, and no FcmError."""
    return Envelope(_INVALID, description, (_bad_request(field, description),))


def body_of(reason: str, code: int) -> tuple[bytes, bytes]:
    """(content type, body) of a documented reason."""
    if reason in PAGES:
        page = f"<!DOCTYPE html>\n<html lang=en>\n<title>Error {code}</title>\n<p><b>{code}.</b> {PAGES[reason]}\n"
        return HTML, page.encode()
    if reason in OAUTH:
        error, description = OAUTH[reason]
        return JSON, pretty({"error": error} | ({} if description is None else {"error_description": description}))
    if reason == "WRONG_JSON":
        where = "message.data[0].value"
        return JSON, error_body(code, wrong_json(where, f"Invalid value at '{where}' (TYPE_STRING), 12"))
    envelope = ENVELOPES.get(reason) or Envelope("UNKNOWN", reason)
    return JSON, error_body(code, envelope)


def error_body(code: int, envelope: Envelope) -> bytes:
    """An envelope as Google writes it. One without details has no such field."""
    error: dict[str, Any] = {"code": code, "message": envelope.message, "status": envelope.status}
    if envelope.details:
        error["details"] = list(envelope.details)
    return pretty({"error": error})


def pretty(document: object) -> bytes:
    """JSON as Google's front ends write it."""
    return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"
