"""Names of stream entries. An app's events wait on `carillon:events`, the inlet, or on a stream of the app's own.

An entry of the inlet goes by its stream id, `1795880095000-3`; one of an app's stream by `<id>@<app>`. No id has an `@`.
Lists of entries in Redis are separated by line breaks, which no app's name has.
"""

import re
from collections.abc import Iterable
from typing import Final

from producers.events import STREAM, app_stream

_AT: Final = "@"
_PREFIX: Final = STREAM + ":"
_SEPARATOR: Final = "\n"
_COMMAS: Final = re.compile(r"[\d,-]*")


def stream_for(app: str) -> str:
    """The stream of an app's own."""
    return app_stream(app)


def app_of(stream: str) -> str | None:
    """The app whose own stream it is; None for the inlet."""
    return stream.removeprefix(_PREFIX) if stream.startswith(_PREFIX) else None


def entry_name(stream: str, id: str) -> str:
    """What the entry of this id on this stream is called."""
    app = app_of(stream)
    return id if app is None else f"{id}{_AT}{app}"


def stream_of(entry: str) -> str:
    """The stream that the entry is on."""
    _, at, app = entry.partition(_AT)
    return stream_for(app) if at else STREAM


def id_of(entry: str) -> str:
    """The entry's id on its stream."""
    return entry.partition(_AT)[0]


def ms_of(entry: str) -> int:
    """The milliseconds in the entry's id: the server's clock, where the producer left the id to the server."""
    return int(id_of(entry).partition("-")[0])


def id_key(id: str) -> tuple[int, int]:
    """Ids compare by this, whatever their size. An id without a sequence number has 0."""
    ms, _, sequence = id.partition("-")
    return int(ms), int(sequence or 0)


def joined(entries: Iterable[str]) -> str:
    """A list of entries as Redis keeps it."""
    return _SEPARATOR.join(entries)


def entry_of(id: str) -> str:
    """The entry of an expansion, which has its id, or of a second look (`<n>/<entry>`)."""
    number, _, entry = id.partition("/")
    # An entry begins with its stream's id, which has a hyphen; the name of an app behind it may have a slash.
    return entry if entry and "-" not in number else id


def entries_in(listed: str) -> list[str]:
    """The entries of such a list. An earlier release separated ids of the inlet by commas."""
    if not listed:
        return []
    return listed.split("," if _COMMAS.fullmatch(listed) else _SEPARATOR)
