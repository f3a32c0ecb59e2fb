"""A digest as a phone receives it.

{"aps": {"alert": {"title": ..., "body": ...}, "badge": number, "sound": "default", "thread-id": "carillon:digest",
         "relevance-score": 0.3},
 "carillon": {"kind": "digest", "event": id, "at": ms, "why": "digest",
              "digest": {"messages": 12, "mentions": 3, "channels": [{"id", "name", "messages", "mentions"}], "rest": 1}}}
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from producers.targeting import BADGE_ROOM
from worker.core.digest import Digest
from worker.core.digest_phrases import digest_phrase, digest_title
from worker.core.names import clean_name
from worker.core.notification import HEAD, Rendered
from worker.core.template_language import NAMES
from worker.core.truncation import fit

KIND: Final = "digest"
#: Bytes of a payload at most: less than any kind allows, because others repeat keys and escape texts once more.
LARGEST: Final = 2_500
#: Bytes of a name in the title.
_NAME: Final = 200

_encode: Final = msgspec.json.Encoder().encode
#: What a template may name that a digest says nothing of.
_NOTHING: Final[Mapping[str, Any]] = {name: dict.fromkeys(parts) if parts else "" for name, parts in NAMES.items()}


def event_id(user: str, end: float) -> str:
    """The same for whatever worker sends it."""
    return f"digest:{user}:{int(end)}"


def render(
    digest: Digest, names: Mapping[str, str], event: str, end: float, locale: str | None, limit: int = LARGEST
) -> Rendered:
    """The payload in `limit` octets. `names`: of those channels that may be named; an empty one has none."""
    shown = channels_of(digest, names)
    while True:
        payload = _encode(_payload(digest, names, event, end, locale, shown))
        if len(payload) <= min(limit, LARGEST) - BADGE_ROOM or not shown:
            return Rendered(HEAD, payload[len(HEAD) :])
        shown = shown[:-1]


def context(
    digest: Digest, names: Mapping[str, str], app: str, user: str, event: str, locale: str | None
) -> dict[str, Any]:
    """What a template of this kind may name."""
    shown = channels_of(digest, names)
    text = {"id": event, "text": digest_phrase(digest, locale), "kind": KIND, "count": digest.messages}
    return {
        **_NOTHING,
        "message": {**_NOTHING["message"], **text},
        "digest": {**_numbers(digest, shown), "channels": shown},
        "recipient": {"id": user, "mentioned": digest.mentions > 0},
        "app": {"name": app},
        "event": {"id": event},
        "why": KIND,
    }


def channels_of(digest: Digest, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """The channels that are named, with their counts."""
    return [
        {
            "id": one.channel,
            **({"name": name} if (name := names[one.channel]) else {}),
            "messages": one.messages,
            "mentions": one.mentions,
        }
        for one in digest.named
        if one.channel in names
    ]


def _payload(
    digest: Digest,
    names: Mapping[str, str],
    event: str,
    end: float,
    locale: str | None,
    shown: list[dict[str, Any]],
) -> dict[str, Any]:
    alert = {"title": _title(digest, names, locale), "body": digest_phrase(digest, locale)}
    return {
        "aps": {"alert": alert, "sound": "default", "thread-id": "carillon:digest", "relevance-score": 0.3},
        "carillon": {
            "kind": KIND,
            "event": event,
            "at": int(end * 1000),
            "why": KIND,
            "digest": _numbers(digest, shown),
        },
    }


def _title(digest: Digest, names: Mapping[str, str], locale: str | None) -> str:
    if len(digest.channels) == 1 and (name := clean_name(names.get(digest.channels[0].channel, ""))):
        return fit(name, _NAME)
    return digest_title(locale)


def _numbers(digest: Digest, shown: list[dict[str, Any]]) -> dict[str, Any]:
    """`rest`: channels that are not among those that are named."""
    return {
        "messages": digest.messages,
        **({"more": True} if digest.more else {}),
        "mentions": digest.mentions,
        **({"channels": shown} if shown else {}),
        "rest": len(digest.channels) - len(shown),
    }
