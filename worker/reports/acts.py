"""What operators did by hand, for the workers' log: commands have no log of their own."""

import getpass
import logging
import socket
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from worker.state import keys, redis
from worker.state.redis import Redis

log = logging.getLogger(__name__)

#: Acts that are kept while there is no tick, and that one tick logs.
_KEPT: Final = 1_000
_LOGGED: Final = 50
_encode: Final = msgspec.json.Encoder().encode


class Act(msgspec.Struct, frozen=True, omit_defaults=True):
    """`what` is a phrase such as `provider paused`; `by` is user@host; `at` in UNIX seconds."""

    what: str
    by: str
    at: float
    app: str | None = None
    provider: str | None = None
    detail: str | None = None


_decode: Final = msgspec.json.Decoder(Act).decode


def tell(
    client: Redis, what: str, *, app: str | None = None, provider: str | None = None, detail: str | None = None
) -> None:
    """Leaves a line for the log. The act is done: a Redis that is away changes nothing about it."""
    act = Act(what, _who(), time.time(), app, provider, detail)
    with suppress(redis.Error), client.pipeline() as pipe:
        pipe.rpush(keys.ACTS(), _encode(act))
        pipe.ltrim(keys.ACTS(), -_KEPT, -1)
        pipe.execute()


def log_acts(client: Redis) -> int:
    """Logs operators' acts since the last call; returns how many lines."""
    documents: Any = client.lpop(keys.ACTS(), _LOGGED) or ()
    for document in documents:
        try:
            act = _decode(document)
        except msgspec.MsgspecError:  # of another release
            continue
        fields = {"app": act.app, "provider": act.provider, "detail": act.detail}
        at = datetime.fromtimestamp(act.at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        known = {name: value for name, value in fields.items() if value is not None}
        log.warning("by hand: %s", act.what, extra={"by": act.by, "done": at} | known)
    return len(documents)


def _who() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a user id without a name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
