"""Names of stream entries. An app's events wait on an inlet, as `carillon:events`, or on a stream of the app's own.

An entry of the inlet goes by its stream id, `1795880095000-3`; one of an app's stream by `<id>@<app>`. Where keys have the tag of
a partition, the partition's number stands behind the id: `<id>~2`, `<id>~2@<app>`. So no two entries of an installation have one
name. No id has an `@` or a `~`. Lists of entries in Redis are separated by line breaks, which no app's name has.
"""

import re
from collections.abc import Iterable
from typing import Final

from producers.events import STREAM

_AT: Final = "@"
_MARK: Final = "~"
_SEPARATOR: Final = "\n"
_COMMAS: Final = re.compile(r"[\d,-]*")


class Names:
    """The streams of one partition, and what their entries are called. `mark`: as of `mark_of`; without tags ''."""

    def __init__(self, inlet: str = STREAM, mark: str = "") -> None:
        self.inlet, self.mark = inlet, mark
        self._own = f"{inlet}:"

    def stream_for(self, app: str) -> str:
        """The stream of an app's own."""
        return self._own + app

    def streams(self, apps: Iterable[str]) -> list[str]:
        """The inlet, and the streams of these apps."""
        return [self.inlet, *map(self.stream_for, apps)]

    def has(self, stream: str) -> bool:
        """Whether it is a stream of this partition."""
        return stream == self.inlet or stream.startswith(self._own)

    def has_entry(self, entry: str) -> bool:
        """Whether the entry is called as those of this partition are."""
        _, tilde, number = entry.partition(_AT)[0].partition(_MARK)
        return tilde + number == self.mark

    def app_of(self, stream: str) -> str | None:
        """The app whose own stream it is; None for the inlet."""
        return stream.removeprefix(self._own) if stream.startswith(self._own) else None

    def entry(self, stream: str, id: str) -> str:
        """What the entry of this id on this stream is called."""
        app = self.app_of(stream)
        return f"{id}{self.mark}" if app is None else f"{id}{self.mark}{_AT}{app}"

    def stream_of(self, entry: str) -> str:
        """The stream that the entry is on."""
        _, at, app = entry.partition(_AT)
        return self.stream_for(app) if at else self.inlet


#: Those of an installation whose keys have no tags.
UNTAGGED: Final = Names()


def mark_of(partition: int) -> str:
    """What stands behind the ids of a tagged partition's entries."""
    return f"{_MARK}{partition}"


def partition_of(entry: str) -> int:
    """The number of the entry's partition."""
    mark = entry.partition(_AT)[0].partition(_MARK)[2]
    return int(mark) if mark else 0


def id_of(entry: str) -> str:
    """The entry's id on its stream."""
    return entry.partition(_AT)[0].partition(_MARK)[0]


def ms_of(entry: str) -> int:
    """The milliseconds in the entry's id: the server's clock, where the producer left the id to the server."""
    return int(entry.partition("-")[0])


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
