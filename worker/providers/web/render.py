"""What a browser gets: the neutral payload as a Declarative Web Push document, which a service worker reads as well.

{"app_badge": number, "web_push": 8030, "notification": {"title": sender and channel, "body": text, "tag": collapse id,
 "icon": image of the sender, "navigate": page, "silent": true}, "mutable": true, "thread": channel id, "category": ...,
 "carillon": {...}}

`web_push` stands there where there is a `navigate`, without which no browser shows the document by itself.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, NamedTuple
from urllib.parse import quote, urlsplit

import msgspec

from producers.targeting import MAX_BADGE
from worker.core.notification import CONVERSATION, LEAST_BODY, SHORT_NAME
from worker.core.template_language import BADGE_MARK
from worker.core.truncation import fit, json_size

#: Octets that Firefox on Android takes. Its endpoints look like those of Firefox elsewhere.
SHORT: Final = 2_600
#: Why nothing is sent: a browser ends the subscription of a page that shows nothing, and has no texts of an app by their keys.
SILENT: Final = "no_silent_push"
UNTRANSLATED: Final = "no_translations"

_HEAD: Final = b'{"app_badge":%d,'
_BADGE: Final = len(_HEAD % MAX_BADGE) - 1
_BODY: Final = len(',"body":""')

_encode: Final = msgspec.json.Encoder().encode


class Document:
    """The payload of one message for browsers; made for each limit when it is first wanted."""

    __slots__ = ("_made", "_neutral", "_page", "_parsed", "_tag", "counted", "impossible")

    def __init__(self, neutral: bytes, *, counted: bool, tag: str, page: str) -> None:
        """`neutral`: the payload as `core/notification.py` renders it; `counted`: each device has its number in it."""
        self.counted = counted
        self._neutral, self._tag, self._page = neutral, tag, page
        self._parsed: dict[str, Any] = msgspec.json.decode(neutral)
        self._made: dict[int, bytes] = {}
        #: Why no browser can show it; None where it can.
        self.impossible = _impossible(self._parsed.get("aps", {}).get("alert"))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Document) and self._known() == other._known()

    def __hash__(self) -> int:
        return hash(self._known())

    def __repr__(self) -> str:
        return "Document()"

    def payload(self, badge: int | None, limit: int) -> bytes:
        """The document in at most `limit` octets; `badge` None says nothing of the number on the icon."""
        rest = self._made.get(limit)
        if rest is None:
            rest = self._made[limit] = _fitted(self._parts(), limit - _BADGE)
        if not self.counted:
            badge = self._parsed.get("aps", {}).get("badge")
        if badge is None:
            return rest
        return _HEAD % min(max(badge, 0), MAX_BADGE) + rest[1:]

    def _known(self) -> tuple[object, ...]:
        return self._neutral, self.counted, self._tag, self._page

    def _parts(self) -> "_Parts":
        aps = self._parsed.get("aps", {})
        alert = _shown(aps.get("alert"))
        rest = {key: value for key, value in self._parsed.items() if key != "aps"}
        carillon = dict(rest.get("carillon") or {})
        notification: dict[str, Any] = {"title": alert.title or alert.body, "tag": self._tag}
        if isinstance(sender := carillon.get("sender"), dict) and str(sender.get("image")).startswith("https://"):
            notification["icon"] = sender["image"]
            carillon["sender"] = {key: value for key, value in sender.items() if key != "image"}
        if self._page:
            notification["navigate"] = _page(self._page, carillon)
        if "sound" not in aps:
            notification["silent"] = True
        if "thread-id" in aps:
            rest["thread"] = aps["thread-id"]
        if "category" in aps:
            rest["category"] = aps["category"]
        if aps.get("mutable-content"):
            rest["mutable"] = True
        if carillon:
            rest["carillon"] = carillon
        return _Parts(notification, alert.body if alert.title else "", rest)


class OwnDocument:
    """What a template says in the JSON of its own, for browsers: as it is, with a tag where its notification has none."""

    impossible: ClassVar[None] = None
    __slots__ = ("_document", "_text", "counted")

    def __init__(self, text: bytes, *, tag: str) -> None:
        self._text, document = text, msgspec.json.decode(text, type=dict[str, Any])
        self.counted = document.get("app_badge") == BADGE_MARK
        if self.counted:
            del document["app_badge"]
        if isinstance(notification := document.get("notification"), dict):
            notification.setdefault("tag", tag)
        self._document = _encode(document)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OwnDocument) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "OwnDocument()"

    def payload(self, badge: int | None, _limit: int) -> bytes:
        """It was rendered within the least limit."""
        if badge is None or not self.counted:
            return self._document
        return _HEAD % min(max(badge, 0), MAX_BADGE) + self._document[1:]


class Push(NamedTuple):
    """One request. `repr` shows neither the endpoint nor a key nor a text."""

    endpoint: str
    #: The keys of the subscription, sealed.
    secret: str
    document: Document | OwnDocument
    badge: int | None
    #: Octets of the payload at most.
    limit: int
    #: UNIX seconds.
    expires_at: int
    urgency: str
    topic: str

    @property
    def payload(self) -> bytes:
        return self.document.payload(self.badge, self.limit)

    def __repr__(self) -> str:
        return f"Push(topic={self.topic!r})"


class _Shown(NamedTuple):
    title: str
    body: str


class _Parts:
    """What a document is made of, while it is being cut."""

    __slots__ = ("body", "least_body", "notification", "rest")

    def __init__(self, notification: dict[str, Any], body: str, rest: dict[str, Any]) -> None:
        self.notification, self.body, self.rest = notification, body, rest
        self.least_body = LEAST_BODY

    def encoded(self, body: str) -> bytes:
        notification = {**self.notification, "body": body} if body else self.notification
        declarative = {"web_push": 8030} if "navigate" in notification else {}
        return _encode({**self.rest, **declarative, "notification": notification})

    def drop(self, *keys: str) -> None:
        carillon: dict[str, Any] = self.rest.setdefault("carillon", {})
        gone = [carillon.pop(key, None) for key in keys]
        if any(value is not None for value in gone):
            carillon["truncated"] = True


def _impossible(alert: Any) -> str | None:
    if any(_shown(alert)):
        return None
    return UNTRANSLATED if any(key.endswith("loc-key") for key in _object(alert)) else SILENT


def _shown(alert: Any) -> _Shown:
    """A browser has no subtitle: that of an alert stands behind its title."""
    if isinstance(alert, str):
        return _Shown("", alert)
    if not isinstance(alert, Mapping):
        return _Shown("", "")
    titles = [alert[key] for key in ("title", "subtitle") if isinstance(alert.get(key), str) and alert[key]]
    body = alert.get("body")
    return _Shown(" · ".join(titles), body if isinstance(body, str) else "")


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _page(page: str, carillon: Mapping[str, Any]) -> str:
    """The page for a message; the first page of its host where the message lacks an id that is asked for."""
    for name, word in (("channel", "{channel}"), ("message", "{message}")):
        if word in page:
            if not isinstance(value := carillon.get(name), str):
                return _first_page(page)
            page = page.replace(word, quote(value, safe=""))
    return page


def _first_page(page: str) -> str:
    parts = urlsplit(page)
    return f"{parts.scheme}://{parts.netloc}/"


def _fitted(parts: _Parts, room: int) -> bytes:
    """Cut in the order of `notification.render`, and only as far as needed."""
    for shrink in _SHRINKS:
        shrink(parts)
        document = parts.encoded(parts.body)
        if len(document) <= room:
            return document
        left = room - len(parts.encoded(""))
        body = fit(parts.body, max(0, left - _BODY))
        if left >= 0 and json_size(body) >= min(parts.least_body, len(parts.body)):
            return parts.encoded(body)
    raise ValueError(f"limit: {room} octets are too few for a payload")


def _whole(parts: _Parts) -> None:
    """Nothing gives way but the body."""


def _no_data(parts: _Parts) -> None:
    parts.drop("data")
    others = [key for key in parts.rest if key not in ("carillon", "thread", "category", "mutable")]
    for key in others:
        del parts.rest[key]
    if others:
        parts.rest["carillon"]["truncated"] = True


def _no_icon(parts: _Parts) -> None:
    if parts.notification.pop("icon", None) is not None:
        parts.rest.setdefault("carillon", {})["truncated"] = True


def _no_conversation(parts: _Parts) -> None:
    parts.drop(*CONVERSATION)


def _short_title(parts: _Parts) -> None:
    parts.notification["title"] = fit(parts.notification["title"], SHORT_NAME)
    parts.drop("sender", "parent", "kind", "why", "count")
    parts.least_body = 0


def _bare(parts: _Parts) -> None:
    parts.drop("event", "channel", "at", "message")
    parts.rest.pop("thread", None)
    parts.rest.pop("category", None)
    kept = {key: value for key, value in parts.notification.items() if key in ("title", "tag", "silent")}
    page = parts.notification.get("navigate")
    if isinstance(page, str):
        kept["navigate"] = _first_page(page)
    parts.notification = kept


_SHRINKS: Final = (_whole, _no_data, _no_icon, _no_conversation, _short_title, _bare)
