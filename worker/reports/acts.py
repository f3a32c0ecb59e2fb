"""What people did: a row of the audit log, and a line of the workers' log, because commands have no log of their own.

`worker/process/by_hand.py` records an act together with what it changes.
"""

import logging
import os
import pwd
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, Literal, NamedTuple

import msgspec

from config.redaction import redact
from worker.database import audit
from worker.database.postgres import Connection
from worker.reports.words import instant
from worker.state import redis
from worker.state.partition import Fleet

log = logging.getLogger(__name__)

#: The acts. Rows outlive a release, so a name stays.
Name = Literal[
    "app created",
    "app changed",
    "app deleted",
    "provider stored",
    "provider removed",
    "provider paused",
    "provider resumed",
    "provider probed",
    "everything paused",
    "everything resumed",
    "condition taken",
    "template stored",
    "template removed",
    "device added",
    "device deleted",
    "devices restored",
    "members added",
    "members removed",
    "mutes added",
    "mutes removed",
    "preferences set",
    "quiet time set",
    "user forgotten",
    "push sent",
    "push tested",
    "push cancelled",
    "broadcast channel created",
    "broadcast channel deleted",
    "events published",
    "events imported",
    "dead letters retried",
    "dead letters dropped",
    "secrets rotated",
    "database taken over",
    "database migrated",
    "partitions changed",
]

#: Acts that are kept while there is no tick, and that one tick logs.
_KEPT: Final = 1_000
_LOGGED: Final = 50
#: Characters of one text in a row, and parts of one list or object.
_LONGEST: Final = 300
_PARTS: Final = 50
_encode: Final = msgspec.json.Encoder().encode


class By(NamedTuple):
    """Who acts, and the host that they act from."""

    who: str
    host: str


class Act(NamedTuple):
    """An act as it is recorded: without secrets, and bounded."""

    name: Name
    by: By
    app: str | None
    provider: str | None
    target: str | None
    detail: dict[str, Any]
    note: str | None


class _Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """An act on its way to the workers' log. `what` is the act; `by` is user@host; `at` in UNIX seconds."""

    what: str
    by: str
    at: float
    app: str | None = None
    provider: str | None = None
    detail: str | None = None
    target: str | None = None


_decode: Final = msgspec.json.Decoder(_Line).decode


def this_user() -> By:
    """The user of the operating system, whatever the environment says, and this host."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a user id without a name, as in a container
        user = f"uid {os.getuid()}"
    if os.getuid() == 0 and (caller := os.environ.get("SUDO_USER")):
        user = f"{caller} as {user}"
    return By(user, socket.gethostname())


def made(
    name: Name,
    *,
    by: By | None = None,
    app: str | None = None,
    provider: str | None = None,
    target: str | None = None,
    detail: Mapping[str, Any] | None = None,
    note: str | None = None,
) -> Act:
    """An act of `by`, or of whoever runs this process. It is about a provider, or another target, or neither.

    What looks like a secret is cut out of every text.
    """
    bounded: dict[str, Any] = {key: _bounded(value) for key, value in (detail or {}).items()}
    return Act(name, by or this_user(), _text(app), _text(provider), _text(target), bounded, _text(note))


def record(db: Connection, act: Act) -> None:
    """Adds the act to the audit log, in the caller's transaction if there is one."""
    target = act.target if act.provider is None else act.provider
    audit.add(
        db, act.name, who=act.by.who, host=act.by.host, app=act.app, target=target, detail=act.detail, note=act.note
    )


def tell(fleet: Fleet, act: Act) -> None:
    """Leaves a line for the log. The act is done: a Redis that is away changes nothing about it."""
    detail = act.note or in_words(act.detail) or None
    by = f"{act.by.who}@{act.by.host}"
    line = _Line(act.name, by, time.time(), act.app, act.provider, detail, act.target)
    with suppress(redis.Error), fleet.redis.pipeline() as pipe:
        pipe.rpush(fleet.keys.ACTS(), _encode(line))
        pipe.ltrim(fleet.keys.ACTS(), -_KEPT, -1)
        pipe.execute()


def log_acts(fleet: Fleet) -> int:
    """Logs operators' acts since the last call; returns how many lines."""
    documents: Any = fleet.redis.lpop(fleet.keys.ACTS(), _LOGGED) or ()
    for document in documents:
        try:
            act = _decode(document)
        except msgspec.MsgspecError:  # of another release
            continue
        fields = {"app": act.app, "provider": act.provider, "target": act.target, "detail": act.detail}
        at = instant(act.at, to="seconds")
        known = {name: value for name, value in fields.items() if value is not None}
        log.warning("by hand: %s", act.what, extra={"by": act.by, "done": at} | known)
    return len(documents)


def in_words(detail: Mapping[str, Any]) -> str:
    """The detail of an act as a sentence's end: `max_age 3600 -> 60, devices 12`."""
    before, after = detail.get("before") or {}, detail.get("after") or {}
    words = [
        f"{key} {_word(before[key])} -> {_word(after.get(key))}" if key in before else f"{key} {_word(after[key])}"
        for key in dict.fromkeys((*before, *after))
    ]
    words += [f"{key} {_word(value)}" for key, value in detail.items() if key not in ("before", "after")]
    return ", ".join(words)


def _word(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{key} {_word(one)}" for key, one in value.items())
    if isinstance(value, list):
        return " ".join(map(_word, value)) or "none"
    return "none" if value is None else "on" if value is True else "off" if value is False else str(value)


def _text(value: str | None) -> str | None:
    if value is None:
        return None
    clean = redact(value).replace("\0", "")
    return clean if len(clean) <= _LONGEST else f"{clean[:_LONGEST]}…"


def _bounded(value: Any) -> Any:
    """The value as JSON may have it, with texts and lists cut."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): _bounded(one) for key, one in list(value.items())[:_PARTS]}
    if isinstance(value, list | tuple | set | frozenset):
        every = list(value)
        return [*map(_bounded, every[:_PARTS]), *([f"and {len(every) - _PARTS:,} more"] if len(every) > _PARTS else [])]
    return _text(str(value))
