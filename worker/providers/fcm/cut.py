"""Cuts a neutral payload to FCM's limits, which are smaller than those of APNs, in the order of `core/notification.py`."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any, Final

import msgspec

from worker.core.notification import CONVERSATION, LEAST_BODY, SHORT_NAME
from worker.core.truncation import fit, json_size

Document = dict[str, Any]
#: Octets by which a document is too large; 0 or less if it fits.
Over = Callable[[Document], int]

_encode: Final = msgspec.json.Encoder().encode


def fitted(document: Document, over: Over) -> Document:
    """The document if it fits. Otherwise a copy from which as much is cut as necessary, or all that may be."""
    if over(document) <= 0:
        return document
    kept = deepcopy(document)
    alert = kept["aps"].get("alert")
    if isinstance(alert, str):
        kept["aps"]["alert"] = {"body": alert}
    for shrink, least in _SHRINKS:
        shrink(kept, over)
        _cut_body(kept, over, least)
        if over(kept) <= 0:
            break
    return kept


def _cut_body(document: Document, over: Over, least: int) -> None:
    alert, excess = document["aps"].get("alert"), over(document)
    body = alert.get("body") if isinstance(alert, dict) else None
    if excess > 0 and isinstance(body, str):
        alert["body"] = fit(body, min(json_size(body), max(least, json_size(body) - excess)))


def _whole(document: Document, _over: Over) -> None:
    """Cuts only the body."""


def _no_data(document: Document, _over: Over) -> None:
    _drop(document, "data")


def _no_image(document: Document, _over: Over) -> None:
    sender = _carillon(document).get("sender")
    if isinstance(sender, dict) and sender.pop("image", None) is not None:
        document["carillon"]["truncated"] = True


def _no_conversation(document: Document, _over: Over) -> None:
    _drop(document, *CONVERSATION)


def _no_others(document: Document, over: Over) -> None:
    """The keys that a template or a targeted push put next to `aps`, the largest first."""
    others = sorted((key for key in document if key not in ("aps", "carillon")), key=lambda key: -_size(document[key]))
    for key in others:
        if over(document) <= 0:
            return
        del document[key]


def _short_names(document: Document, _over: Over) -> None:
    alert, sender = document["aps"].get("alert"), _carillon(document).get("sender")
    for texts in (alert, sender):
        for key in ("title", "subtitle", "name"):
            if isinstance(texts, dict) and isinstance(text := texts.get(key), str):
                texts[key] = fit(text, min(json_size(text), SHORT_NAME))


def _no_context(document: Document, _over: Over) -> None:
    _drop(document, "parent", "kind", "why", "count")


def _no_ids(document: Document, _over: Over) -> None:
    document["aps"].pop("thread-id", None)
    _drop(document, "sender", "event", "channel", "at", "message")


#: The cuts in their order, and how many octets of the body stay at each, at least.
_SHRINKS: Final[tuple[tuple[Callable[[Document, Over], None], int], ...]] = (
    (_whole, LEAST_BODY),
    (_no_data, LEAST_BODY),
    (_no_image, LEAST_BODY),
    (_no_conversation, LEAST_BODY),
    (_no_others, LEAST_BODY),
    (_short_names, 0),
    (_no_context, 0),
    (_no_ids, 0),
)


def _carillon(document: Document) -> Document:
    found = document.get("carillon")
    return found if isinstance(found, dict) else {}


def _drop(document: Document, *keys: str) -> None:
    carillon = _carillon(document)
    for key in keys:
        if carillon.pop(key, None) is not None:
            carillon["truncated"] = True


def _size(value: object) -> int:
    return len(_encode(value))
