"""Templates of an FCM provider: the `message` object of the HTTP v1 API, without whom it is for.

Source: Google, "REST Resource: projects.messages", revision 20261023.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from producers.aps import check_aps
from producers.errors import EventError
from producers.targeting import APS_KEYS
from worker.core.aps_form import is_aps_text, without_sound
from worker.core.template_form import Limit, Path, Skip, TemplateError, TemplateForm, dotted
from worker.core.template_language import suggestion
from worker.providers.fcm.message import ANDROID_LIMIT, APNS_LIMIT

#: Octets of what is filled in: ids, tag, ttl, priority.
_FILLED: Final = 200
_ANALYTICS: Final = {"analytics_label": "text"}
_NOTIFICATION: Final = {"title": "text", "body": "text", "image": "text"}
#: What a field is: another object, or one of text, texts (a list), data (an object of texts), flag, number, object, any.
FIELDS: Final[dict[str, Any]] = {
    "data": "data",
    "notification": _NOTIFICATION,
    "android": {
        **dict.fromkeys(("collapse_key", "restricted_package_name", "priority", "ttl"), "text"),
        **dict.fromkeys(("direct_boot_ok", "bandwidth_constrained_ok", "restricted_satellite_ok"), "flag"),
        "data": "data",
        "notification": {
            **_NOTIFICATION,
            **dict.fromkeys(("icon", "color", "sound", "tag", "click_action", "channel_id", "ticker"), "text"),
            **dict.fromkeys(("title_loc_key", "body_loc_key", "event_time"), "text"),
            **dict.fromkeys(("notification_priority", "visibility", "proxy"), "text"),
            **dict.fromkeys(("title_loc_args", "body_loc_args", "vibrate_timings"), "texts"),
            **dict.fromkeys(("sticky", "local_only", "default_sound", "default_vibrate_timings"), "flag"),
            **dict.fromkeys(("default_light_settings", "bypass_proxy_notification"), "flag"),
            "notification_count": "number",
            "light_settings": "object",
        },
        "fcm_options": _ANALYTICS,
    },
    "apns": {
        "headers": "data",
        "payload": "object",
        "fcm_options": {**_ANALYTICS, "image": "text"},
        "live_activity_token": "text",
    },
    "webpush": "object",
    "fcm_options": _ANALYTICS,
}
_EXAMPLE: Final = '{"data": {…}, "android": {…}, "apns": {…}}'
#: Keys that others take for a template.
_NOT_HERE: Final = {
    "aps": f"is of a template for APNs; FCM takes {_EXAMPLE}, and aps in apns.payload",
    "message": "leave it out: what stands in it is the template",
    **dict.fromkeys(("token", "fid", "topic", "condition"), "leave it out: it is filled in whom a push is for"),
}
#: Keys of data that FCM keeps for itself or overwrites.
_RESERVED: Final = re.compile(r"(?:from|message_type|collapse_key)\Z|gcm|google")
_CHOICES: Final = {
    "android.priority": re.compile("NORMAL|HIGH"),
    "android.ttl": re.compile(r"\d{1,7}(\.\d{1,9})?s"),
}
_TEXTS: Final = ("title", "body", "ticker", "title_loc_args", "body_loc_args", "title_loc_key", "body_loc_key")
_APS: Final = ("apns", "payload", "aps")


class FcmTemplate(TemplateForm):
    badges = (
        ("data", "badge"),
        ("android", "data", "badge"),
        ("android", "notification", "notification_count"),
        (*_APS, "badge"),
    )
    #: What Android reads; and what Apple devices get, to which FCM adds `data`.
    limits = (
        Limit(ANDROID_LIMIT - _FILLED, frozenset(FIELDS) - {"apns"}),
        Limit(APNS_LIMIT - _FILLED, frozenset(("data", "notification", "apns"))),
    )

    def check_keys(self, tree: Mapping[str, Any]) -> None:
        for key, what in _NOT_HERE.items():
            if key in tree:
                raise TemplateError(f"{key}: {what}")
        _check_fields(tree, FIELDS, ())
        if not {"data", "notification", "android", "apns"} & tree.keys():
            raise TemplateError(f"template: says nothing; FCM takes {_EXAMPLE}")
        aps = tree.get("apns", {}).get("payload", {}).get("aps", {})
        if not isinstance(aps, dict):
            raise TemplateError("apns.payload.aps: has to be an object")
        for key in aps:
            if key not in APS_KEYS:
                raise TemplateError(f"apns.payload.aps.{key}: Apple knows no such key{suggestion(key, APS_KEYS)}")

    def complete(self, tree: dict[str, Any]) -> None:
        """Android's objects for ids and the badge, which top-level `data` and `notification` have no place for."""
        if "notification" in tree:
            tree.setdefault("android", {}).setdefault("notification", {})
        if "data" not in tree:
            tree.setdefault("android", {}).setdefault("data", {})

    def check_values(self, document: Mapping[str, Any], skip: Skip) -> None:
        _check_values(document, FIELDS, (), skip)
        aps = document.get("apns", {}).get("payload", {}).get("aps", {})
        try:
            check_aps(aps, dotted(_APS), skip=skip)
        except EventError as fault:
            raise TemplateError(str(fault)) from None

    def is_text(self, path: Path) -> bool:
        """But for what has a form of its own, which is looked at when it is rendered."""
        if dotted(path) in _CHOICES:
            return False
        if path[:3] == _APS:
            return is_aps_text(path[3:])
        kind: Any = FIELDS
        for place, part in enumerate(path):
            if not isinstance(kind, dict):
                return kind in ("data", "texts") and place == len(path) - 1
            kind = kind.get(part)
        return bool(kind == "text")

    def text_of(self, path: Path, value: Any) -> str:
        """FCM takes texts alone in `data`: an object or a list stands there as JSON."""
        if path[-2] != "data":
            return super().text_of(path, value)
        return msgspec.json.encode(value).decode()

    def is_seen(self, path: Path) -> bool:
        if path[:4] == (*_APS, "alert"):
            return True
        return "notification" in path[:2] and any(part in _TEXTS for part in path)

    def may_shorten(self, path: Path, *, prose: bool) -> bool:
        return self.is_seen(path) or (prose and "data" in path[:2])

    def may_go(self, path: Path) -> bool:
        if path[:2] == ("apns", "payload"):
            return path[2:3] != ("aps",)
        return "data" in path[:2] or path[0] == "webpush" or path[-1] == "image"

    def silence(self, document: dict[str, Any]) -> None:
        """What `data` says is the app's own matter."""
        shown = document.get("android", {}).get("notification", {})
        for key in ("sound", "default_sound"):
            shown.pop(key, None)
        without_sound(document.get("apns", {}).get("payload", {}).get("aps", {}))

    def says(self, document: Mapping[str, Any]) -> bool:
        android, apns = document.get("android", {}), document.get("apns", {})
        notifications = [one for one in (document.get("notification"), android.get("notification")) if one]
        if any(key in one for one in notifications for key in _TEXTS):
            return True
        if apns.get("payload", {}).get("aps", {}).get("alert"):
            return True
        data = document.get("data", {}) | android.get("data", {})
        return not notifications and bool(data.keys() - {"badge"})


def _check_fields(given: Mapping[str, Any], fields: Mapping[str, Any], path: Path) -> None:
    for key, value in given.items():
        here = (*path, key)
        if key not in fields:
            raise TemplateError(f"{dotted(here)}: FCM knows no such field{suggestion(key, fields)}")
        kind = fields[key]
        if kind in ("data", "object") or isinstance(kind, dict):
            if not isinstance(value, dict):
                raise TemplateError(f"{dotted(here)}: has to be an object")
            if isinstance(kind, dict):
                _check_fields(value, kind, here)
        if kind == "data" and key == "data":
            for name in value:
                if _RESERVED.match(name):
                    raise TemplateError(f"{dotted((*here, name))}: FCM keeps this name for itself")


def _check_values(given: Mapping[str, Any], fields: Mapping[str, Any], path: Path, skip: Skip) -> None:
    for key, value in given.items():
        kind, here = fields.get(key), (*path, key)
        if isinstance(kind, dict):
            _check_values(value, kind, here, skip)
        elif not skip(value):
            _check_value(value, kind, here, skip)


def _check_value(value: Any, kind: Any, path: Path, skip: Skip) -> None:
    if kind == "data":
        for name, text in value.items():
            if not skip(text) and not isinstance(text, str | int | float):
                raise TemplateError(f"{dotted((*path, name))}: has to be a string, FCM takes nothing else here")
    elif kind == "text" and not isinstance(value, str | int | float):
        raise TemplateError(f"{dotted(path)}: has to be a string")
    elif kind == "texts" and not (isinstance(value, list) and all(isinstance(one, str | int) for one in value)):
        raise TemplateError(f"{dotted(path)}: has to be a list of strings")
    elif kind == "flag" and not isinstance(value, bool):
        raise TemplateError(f"{dotted(path)}: has to be true or false")
    elif kind == "number" and type(value) is not int:
        raise TemplateError(f"{dotted(path)}: has to be a whole number")
    elif (choice := _CHOICES.get(dotted(path))) and not choice.fullmatch(str(value)):
        raise TemplateError(
            f"{dotted(path)}: has to be {'HIGH or NORMAL' if path[-1] == 'priority' else 'such as 3600s'}"
        )


FCM_TEMPLATE: Final = FcmTemplate()
