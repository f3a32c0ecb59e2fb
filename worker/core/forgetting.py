"""What is left of documents and ledger accounts when one of their users is forgotten. Pure."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

#: Stands where the id of a forgotten user stood, so that numbers stay right.
FORGOTTEN: Final = "(forgotten)"
#: Parts of an account whose keys are users.
_BY_USER: Final = frozenset({"by", "folding", "passed"})
#: Fields of a document whose texts are no user's id, whatever they say.
_NO_USER: Final = frozenset(
    {"v", "type", "app", "at", "kind", "text", "name", "locale", "platform", "provider", "token"}
)
#: Objects of a document whose `id` is no user's.
_HAS_ID: Final = frozenset({"channel", "message", "call", "activity"})


def without(account: Mapping[str, Any], user: str) -> dict[str, Any]:
    """A ledger entry's account without the user's id. Their device's number stays: it names nothing any more."""
    return {
        part: {key: of for key, of in value.items() if key != user} if part in _BY_USER else _replaced(value, user)
        for part, value in account.items()
    }


def _replaced(value: Any, user: str) -> Any:
    match value:
        case dict():
            return {key: _replaced(of, user) for key, of in value.items()}
        case list():
            return [FORGOTTEN if one == user else _replaced(one, user) for one in value]
        case _:
            return value


def spellings(user: str) -> list[bytes]:
    """How JSON may spell the id: every document that names the user has one of these, but it may stand for something else."""
    return sorted({json.dumps(user, ensure_ascii=escaped).encode() for escaped in (True, False)})


def names(document: bytes, user: str) -> bool:
    """Whether an event's document names the user. Of what is no JSON: whether the id is somewhere in it, in quotes."""
    if not any(spelling in document for spelling in spellings(user)):
        return False
    try:
        found = json.loads(document)
    except (ValueError, RecursionError):
        return True
    return user in _users(found)


def _users(value: Any, inside: str = "event") -> Iterator[str]:
    """Texts that may be a user's id."""
    match value:
        case dict():
            for key, of in value.items():
                if key not in _NO_USER and not (key == "id" and inside in ("event", *_HAS_ID)):
                    yield key
                    yield from _users(of, key)
        case list():
            for one in value:
                yield from _users(one, inside)
        case str():
            yield value


def is_of(event: str, user: str) -> bool:
    """Whether an event's id is that of a digest, a reminder, or a number on an icon of this user alone."""
    form = rf"(?:digest|badge):{re.escape(user)}:\d+|reminder:{re.escape(user)}:[0-9a-f]+:\d+"
    return re.fullmatch(form, event) is not None


def app_of(document: bytes) -> str | None:
    """The app that a document names; None: none, or it is no JSON."""
    try:
        found = json.loads(document)
    except (ValueError, RecursionError):
        return None
    return found.get("app") if isinstance(found, dict) else None
