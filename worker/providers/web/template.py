"""Templates of a Web Push provider: the JSON that a browser decrypts, Declarative Web Push or of a service worker's own."""

from collections.abc import Mapping
from typing import Any, Final

from worker.core.template_form import Limit, Path, Skip, TemplateError, TemplateForm
from worker.core.template_language import suggestion
from worker.providers.web.render import SHORT

#: Octets of what is filled in: tag and badge.
_FILLED: Final = 100
_DECLARATIVE: Final = 8030
_TEXTS: Final = ("title", "body", "tag", "lang", "dir", "icon", "image", "badge", "navigate")
#: Source: W3C, Push API, "Declarative push message", and WHATWG, Notifications API, `NotificationOptions`.
_KNOWN: Final = frozenset(
    (*_TEXTS, "silent", "renotify", "requireInteraction", "timestamp", "vibrate", "data", "actions"),
)
_EXAMPLE: Final = '{"notification": {"title": …, "body": …}, …}'


class WebTemplate(TemplateForm):
    badges = (("app_badge",),)
    #: Endpoints of Firefox on Android, which takes the least, look like those of others.
    limits = (Limit(SHORT - _FILLED),)

    def check_keys(self, tree: Mapping[str, Any]) -> None:
        if "aps" in tree:
            raise TemplateError(f"aps: is of a template for APNs; a browser takes {_EXAMPLE}")
        if not tree:
            raise TemplateError(f"template: says nothing; a browser takes {_EXAMPLE}")
        notification = tree.get("notification")
        declarative = "web_push" in tree
        if declarative and tree["web_push"] != _DECLARATIVE:
            raise TemplateError(f"web_push: has to be {_DECLARATIVE}, by which browsers know the form")
        if notification is None and not declarative:
            return
        if not isinstance(notification, dict) or not notification.get("title"):
            raise TemplateError("notification.title: required, no browser shows one without it")
        if declarative and not notification.get("navigate"):
            raise TemplateError("notification.navigate: required beside web_push: the page that it opens")
        for key in notification:
            if key not in _KNOWN:
                raise TemplateError(f"notification.{key}: browsers know no such key{suggestion(key, _KNOWN)}")

    def check_values(self, document: Mapping[str, Any], skip: Skip) -> None:
        for key, value in document.get("notification", {}).items():
            if key in _TEXTS and not skip(value) and not isinstance(value, str | int | float):
                raise TemplateError(f"notification.{key}: has to be a string")

    def is_text(self, path: Path) -> bool:
        return path[0] == "notification" and len(path) == 2 and path[1] in _TEXTS

    def is_seen(self, path: Path) -> bool:
        return path in (("notification", "title"), ("notification", "body"))

    def may_shorten(self, path: Path, *, prose: bool) -> bool:
        return self.is_seen(path) or (prose and not self.is_text(path))

    def may_go(self, path: Path) -> bool:
        if path[0] == "notification":
            return path[1] in ("icon", "image", "data", "actions")
        return path[0] not in ("web_push", "app_badge", "mutable")

    def silence(self, document: dict[str, Any]) -> None:
        if "notification" in document:
            document["notification"]["silent"] = True

    def says(self, document: Mapping[str, Any]) -> bool:
        if "web_push" in document or "notification" in document:
            return bool(document.get("notification", {}).get("title"))
        return bool(document.keys() - {"app_badge"})


WEB_TEMPLATE: Final = WebTemplate()
