"""Of Google's discovery document `fcm.v1`, revision 20261023, the types that we send, and a judge for them.

The document is https://fcm.googleapis.com/$discovery/rest?version=v1. JSON of proto3 takes a field's name in snake_case too.
"""

import re
from typing import Any, Final

STRING: Final = "string"
STRINGS: Final = ["string"]
TEXTS: Final = {"*": "string"}

SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    "SendMessageRequest": {"message": "Message", "validateOnly": "boolean"},
    "Message": {
        "android": "AndroidConfig",
        "apns": "ApnsConfig",
        "condition": STRING,
        "data": TEXTS,
        "fcmOptions": {"analyticsLabel": STRING},
        "fid": STRING,
        "notification": {"body": STRING, "image": STRING, "title": STRING},
        "token": STRING,
        "topic": STRING,
    },
    "AndroidConfig": {
        "collapseKey": STRING,
        "data": TEXTS,
        "directBootOk": "boolean",
        "notification": "AndroidNotification",
        "priority": ("NORMAL", "HIGH"),
        "restrictedPackageName": STRING,
        "ttl": "google-duration",
    },
    "AndroidNotification": {
        "body": STRING,
        "bodyLocArgs": STRINGS,
        "bodyLocKey": STRING,
        "channelId": STRING,
        "clickAction": STRING,
        "color": STRING,
        "icon": STRING,
        "image": STRING,
        "notificationCount": "int32",
        "sound": STRING,
        "tag": STRING,
        "ticker": STRING,
        "title": STRING,
        "titleLocArgs": STRINGS,
        "titleLocKey": STRING,
    },
    "ApnsConfig": {"headers": TEXTS, "liveActivityToken": STRING, "payload": {"*": "any"}},
}


def check(kind: Any, value: Any, place: str = "") -> None:
    """Fails where the value is not of the type: a name of `SCHEMAS`, or what stands in one for a field."""
    if kind in ("string", "boolean"):
        assert type(value) is (str if kind == "string" else bool), f"{place}: {value!r}"
    elif kind == "int32":
        assert type(value) is int and -(2**31) <= value < 2**31, f"{place}: {value!r}"
    elif kind == "google-duration":
        assert re.fullmatch(r"\d+(\.\d{1,9})?s", value), f"{place}: {value!r}"
    elif isinstance(kind, tuple):
        assert value in kind, f"{place}: {value!r}"
    elif isinstance(kind, list):
        assert type(value) is list, place
        for each in value:
            check(kind[0], each, place)
    elif kind != "any":
        assert type(value) is dict, place
        fields = SCHEMAS[kind] if isinstance(kind, str) else kind
        for name, each in value.items():
            camel = re.sub(r"_([a-z])", lambda found: found[1].upper(), name)
            assert camel in fields or "*" in fields, f"{place}.{name}: no field of {kind}"
            check(fields.get("*") or fields[camel], each, f"{place}.{name}")
