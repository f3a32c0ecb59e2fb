"""What each push service says for a reason: status, header fields and body as they were seen or as its source has them."""

import uuid
from typing import Final, NamedTuple

import msgspec

from worker.simulator.heads import Fields
from worker.simulator.web.services import PushService

_MORE: Final = "http://autopush.readthedocs.io/en/latest/http.html#error-codes"
_JSON: Final = (b"content-type", b"application/json")
_TEXT: Final = (b"content-type", b"text/plain; charset=utf-8")
_HTML: Final = (b"content-type", b"text/html; charset=UTF-8")
_WAIT: Final = (b"retry-after", b"120")


class Said(NamedTuple):
    """An answer."""

    status: int
    fields: Fields = ()
    body: bytes = b""


def accepted(service: PushService, host: str, message_id: str, ttl: int) -> Said:
    """What is said of a message that is taken."""
    if service.name == "microsoft":
        states = ((b"x-wns-status", b"received"), (b"x-wns-notificationstatus", b"received"))
        return Said(201, (*states, (b"x-wns-msg-id", message_id.encode()), (b"ms-cv", b"carillon.0")))
    if service.name == "apple":
        return Said(201, ((b"apns-id", message_id.upper().encode()),))
    place = f"https://{host}/m/{message_id}" if service.name == "mozilla" else f"https://{host}/0/{message_id}"
    return Said(201, ((b"location", place.encode()), (b"ttl", b"%d" % ttl)))


def refused(service: PushService, reason: str) -> Said:
    """What is said for a reason; a service that has no answer of its own has that of the RFC."""
    said = _SAYS[service.name](reason)
    return said if said is not None else Said(_RFC.get(reason, 400))


#: Reason -> status, errno, error, message.
_MOZILLA: Final[dict[str, tuple[int, int, str, str]]] = {
    "BadEndpoint": (404, 102, "Not Found", "Invalid URL endpoint"),
    "MissingVapid": (401, 109, "Unauthorized", "Missing VAPID public key"),
    "BadVapid": (401, 109, "Unauthorized", "Invalid Authorization"),
    "BadAudience": (401, 109, "Unauthorized", "Invalid VAPID audience"),
    "VapidExpired": (401, 109, "Unauthorized", "ExpiredSignature"),
    "VapidTooLong": (401, 109, "Unauthorized", "The VAPID token expiration is too long"),
    "BadSubject": (401, 109, "Unauthorized", "Invalid Authorization"),
    "VapidKeyMismatch": (401, 109, "Unauthorized", "VAPID public key mismatch"),
    "MissingTtl": (400, 111, "Missing TTL Header", "Missing TTL Header"),
    "BadTtl": (400, 114, "Bad Request", "Invalid TTL header value"),
    "BadWebTopic": (400, 113, "Bad Request", "Invalid Topic"),
    "BadEncoding": (400, 110, "Bad Request", "Invalid Content-Encoding"),
    "NotRegistered": (410, 106, "Gone", "No such subscription"),
    "ContentTooLarge": (413, 104, "Payload Too Large", "Request data is too large"),
    "ConstrainedDevice": (
        413,
        104,
        "Payload Too Large",
        "This message is intended for a constrained device and is limited in size. Converted buffer is too long",
    ),
    "InternalFault": (500, 999, "Internal Server Error", "Unknown error"),
    "BridgeFailed": (502, 902, "Bad Gateway", "Bridge request failed"),
    "Overloaded": (503, 201, "Service Unavailable", "Please slow down message send rate to this endpoint"),
}


def _mozilla(reason: str) -> Said | None:
    if reason not in _MOZILLA:
        return None
    code, errno, error, message = _MOZILLA[reason]
    body = {"code": code, "errno": errno, "error": error, "message": message, "more_info": _MORE}
    more = {410: ((b"cache-control", b"max-age=86400"),), 503: (_WAIT,)}.get(code, ())
    return Said(code, (_JSON, *more), msgspec.json.encode(body))


_WRONG_URL: Final = (
    "A valid push subscription endpoint should be specified in the URL as such: "
    "https://fcm.googleapis.com/wp/dHIoDxE7Hdg:APA91bH1Zj0kNa\n"
)
_OTHER_KEY: Final = (
    "the VAPID credentials in the authorization header do not correspond to the credentials used to create the "
    "subscriptions.\n"
)
_GOOGLE: Final[dict[str, tuple[int, str]]] = {
    "BadEndpoint": (404, _WRONG_URL),
    "MissingVapid": (400, "UnauthorizedRegistration"),
    "BadVapid": (403, "invalid JWT provided\n"),
    "BadAudience": (403, "aud claim in the token MUST include the origin of the push resource URL\n"),
    "VapidExpired": (403, "invalid JWT provided\n"),
    "VapidTooLong": (403, "invalid JWT provided\n"),
    "BadSubject": (403, "invalid JWT provided\n"),
    "VapidKeyMismatch": (403, _OTHER_KEY),
    "InvalidEndpoint": (403, "invalid push subscription endpoint\n"),
    "MissingTtl": (400, "InvalidTtlParameter"),
    "BadTtl": (400, "InvalidTtlParameter"),
    "NotRegistered": (410, "NotRegistered\n"),
    "BridgeFailed": (502, "Error 502 (Server Error)!!1"),
}
#: Bodies that are pages with this title.
_TITLES: Final = frozenset({"MissingVapid", "MissingTtl", "BadTtl", "BridgeFailed"})


def _google(reason: str) -> Said | None:
    if reason not in _GOOGLE:
        return None
    code, text = _GOOGLE[reason]
    if reason in _TITLES:
        return Said(code, (_HTML,), f"<HTML>\n<HEAD>\n<TITLE>{text}</TITLE>\n</HEAD>\n</HTML>\n".encode())
    return Said(code, (_TEXT,), text.encode())


#: Reason -> status, state of the notification, description.
_MICROSOFT: Final[dict[str, tuple[int, str, str]]] = {
    "BadEndpoint": (404, "dropped", "The channel URI is not valid."),
    "MissingVapid": (401, "dropped", "The token presented did not authenticate successfully."),
    "BadVapid": (401, "dropped", "The token presented did not authenticate successfully."),
    "BadAudience": (401, "dropped", "The token presented did not authenticate successfully."),
    "VapidExpired": (401, "dropped", "The token presented did not authenticate successfully."),
    "VapidTooLong": (401, "dropped", "The token presented did not authenticate successfully."),
    "VapidKeyMismatch": (403, "dropped", "The cloud service is not authorized to send to this channel."),
    "CachePolicyConflict": (400, "dropped", "Ttl value conflicts with X-WNS-Cache-Policy."),
    "NotRegistered": (410, "dropped", "Gone"),
    "DomainBlocked": (410, "dropped", "Domain Blocked"),
    "ContentTooLarge": (413, "dropped", "The notification payload exceeds the size limit."),
    "Throttled": (406, "appthrottled", "The cloud service exceeded its throttle limit."),
    "ChannelThrottled": (406, "channelthrottled", "The channel exceeded its throttle limit."),
    "Dropped": (200, "dropped", ""),
}


def _microsoft(reason: str) -> Said | None:
    if reason not in _MICROSOFT:
        return None
    code, state, description = _MICROSOFT[reason]
    fields: Fields = ((b"x-wns-status", state.encode()), (b"x-wns-notificationstatus", state.encode()))
    fields += ((b"x-wns-msg-id", uuid.uuid4().hex.encode()), (b"ms-cv", b"carillon.0"))
    if description:
        fields += ((b"x-wns-error-description", description.encode()),)
    return Said(code, (*fields, (b"retry-after", b"900")) if code == 406 else fields)


_APPLE: Final[dict[str, tuple[int, str]]] = {
    "BadEndpoint": (404, "BadPath"),
    "MethodNotAllowed": (405, "MethodNotAllowed"),
    "MissingVapid": (403, "BadAuthorizationHeader"),
    "BadVapid": (403, "BadJwtToken"),
    "BadAudience": (403, "BadJwtToken"),
    "VapidExpired": (403, "BadJwtToken"),
    "VapidTooLong": (403, "BadJwtToken"),
    "BadSubject": (403, "BadJwtToken"),
    "VapidKeyMismatch": (400, "VapidPkHashMismatch"),
    "MissingTtl": (400, "BadTtl"),
    "BadTtl": (400, "BadTtl"),
    "BadUrgency": (400, "BadUrgency"),
    "BadWebTopic": (400, "BadWebPushTopic"),
    "BadEncoding": (400, "BadWebPushRequest"),
    "NotRegistered": (410, "Unregistered"),
    "ContentTooLarge": (413, "PayloadTooLarge"),
    "Throttled": (429, "TooManyRequests"),
    "ChannelThrottled": (429, "TooManyRequests"),
    "InternalFault": (500, "InternalServerError"),
    "Overloaded": (503, "ServiceUnavailable"),
    "Shutdown": (503, "Shutdown"),
    "IdleTimeout": (400, "IdleTimeout"),
}


def _apple(reason: str) -> Said | None:
    if reason not in _APPLE:
        return None
    code, word = _APPLE[reason]
    fields = (_JSON, (b"apns-id", str(uuid.uuid4()).upper().encode()))
    return Said(code, (*fields, _WAIT) if code == 503 else fields, msgspec.json.encode({"reason": word}))


_SAYS: Final = {"mozilla": _mozilla, "google": _google, "microsoft": _microsoft, "apple": _apple}
_RFC: Final = {
    "MethodNotAllowed": 405,
    "NotRegistered": 410,
    "DomainBlocked": 410,
    "InvalidEndpoint": 403,
    "BadSubject": 403,
    "ContentTooLarge": 413,
    "ConstrainedDevice": 413,
    "Throttled": 429,
    "ChannelThrottled": 429,
    "TooManyRequests": 429,
    "InternalFault": 500,
    "BridgeFailed": 502,
    "Overloaded": 503,
    "Shutdown": 503,
}
