"""The steps of a call that depends on the partitions: what is asked first, where each event goes, and when it is asked again.

Touches no socket: a flow yields commands and pauses, and is sent the answers. Both publishers carry flows out.
"""

from collections.abc import Callable, Generator, Sequence
from datetime import datetime
from time import monotonic
from typing import Any, Final, TypeVar

import msgspec

from producers import wire
from producers.errors import BackPressureError, PublishError
from producers.partitions import UNTAGGED, Layout, LayoutError, parsed
from producers.patience import AwayError, Patience
from producers.routing import Place, next_part, places

#: Seconds for which one look at the pressure is good, and apps that one publisher remembers it of.
LOOK: Final = 1.0
_APPS: Final = 10_000
#: Seconds for which a layout is good, and for which none is asked for again where that is not allowed.
KNOWN: Final = 2.0
_NOT_ALLOWED: Final = 60.0
_CLOSED: Final = AwayError("the partitions are being changed")
_NONE: Final = AwayError("this cluster has no partitions yet: run carillon migrate, or start a worker")

#: Seconds to wait.
Pause = float
_T = TypeVar("_T")
Flow = Generator[wire.Command | Pause, Any, _T]


class _App(msgspec.Struct):
    app: str


_decode_app: Final = msgspec.json.Decoder(_App).decode


class Routes:
    """What one publisher knows of the partitions and of their pressure. `own`: each app's events go to its own stream.

    `seconds` is how long a call waits while the partitions are being changed, `replicas` how many are to have an event.
    `tagged`: on a cluster, whose partitions have tags always; without a layout nothing is published there.
    """

    def __init__(
        self,
        max_backlog: int,
        *,
        own: bool,
        seconds: float,
        replicas: int = 0,
        tagged: bool = False,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._max_backlog, self._own, self._seconds, self._clock = max_backlog, own, seconds, clock
        self._replicas, self._tagged = wire.checked_replicas(replicas), tagged
        self._layout, self._known_until = UNTAGGED, float("-inf")
        #: Partition and app -> when its pressure there is to be looked at again.
        self._next: dict[tuple[int, str], float] = {}

    def append(self, written: Sequence[bytes]) -> Flow[list[str]]:
        """Puts the documents on their streams, in order in each partition; returns their entry ids, in their order.

        The documents of one partition are all written, or none. Raises `PublishError`, whose `accepted` has the ids of the
        leading ones that were.
        """
        apps = [_decode_app(document).app for document in written]
        ids: dict[int, str] = {}
        layout: Layout | None = None
        refused_by: Layout | None = None
        found: Sequence[Place] = ()
        left: Sequence[int] = range(len(apps))
        try:
            while left:
                if self._shut() is not None or self._clock() >= self._known_until:
                    yield from self._open_layout()
                if layout is None or layout is not self._layout:
                    layout = self._layout
                    found = places(layout, apps, written)
                part = next_part(layout, found, left)
                try:
                    entries = yield from self._append(layout, [found[at] for at in part], [written[at] for at in part])
                except wire.ClosedError:
                    # This publisher knew the layout of before; its events are refused until it has read the new one.
                    if refused_by == layout:
                        raise
                    refused_by = layout
                    yield from self._learn()
                    continue
                if len(part) == len(apps):
                    return entries
                ids.update(zip(part, entries, strict=True))
                left = [at for at in left if at not in ids]
        except PublishError as fault:
            fault.accepted = tuple(_leading(ids))
            raise
        return _leading(ids)

    def _append(self, layout: Layout, found: Sequence[Place], written: Sequence[bytes]) -> Flow[list[str]]:
        """Of one partition."""
        now, partition = self._clock(), found[0].partition
        apps = dict.fromkeys(one.app for one in found)
        due = [app for app in apps if now >= self._next.get((partition, app), 0.0)]
        if due:
            key = layout.pressure(found[0].app, found[0].channel)
            self._allow(partition, due, (yield wire.pressure(key, due)))
        stream = {one: layout.stream(one.app, self._own, channel=one.channel) for one in set(found)}
        command = wire.append([stream[one] for one in found], written, self._replicas)
        return wire.entries((yield command))

    def mark_read_where_shown(
        self, app: str, user: str, channel: str, until: datetime, thread: str | None = None
    ) -> Flow[Any]:
        """Marks what the user has read; returns None where no notification of it may be shown."""
        layout = yield from self._open_layout()
        answer: Any = None
        for command in wire.mark_read_where_shown(app, user, channel, until, thread, layout.shown(app, channel)):
            answer = yield command
        return answer[-1] if isinstance(answer, list) else answer

    def _open_layout(self) -> Flow[Layout]:
        """The layout, asked for where it may have changed. Waits while it is closed."""
        if self._clock() >= self._known_until:
            yield from self._learn()
        if self._shut() is not None:
            patience = Patience(self._seconds, self._clock)
            while (why := self._shut()) is not None:
                yield patience.pause(why)
                yield from self._learn()
        return self._layout

    def _shut(self) -> AwayError | None:
        """Why nothing may be published by this layout."""
        if self._tagged and not self._layout.tags:
            return _NONE
        return _CLOSED if self._layout.closed else None

    def _learn(self) -> Flow[None]:
        before, seconds = self._layout, KNOWN
        try:
            self._layout = parsed((yield wire.ASK_LAYOUT))
        except wire.NotAllowedError:
            # A Redis user of a release that knew no partitions. Where there are some, the streams of before are closed.
            self._layout, seconds = UNTAGGED, _NOT_ALLOWED
        except LayoutError as fault:
            raise PublishError(str(fault)) from None
        self._known_until = self._clock() + seconds
        if self._layout != before:
            self._next.clear()

    def _allow(self, partition: int, apps: Sequence[str], answer: Any) -> None:
        """Of apps in one partition. Raises `BackPressureError` where there is too much."""
        percent, *waiting = (int(field or 0) for field in answer)
        if percent >= wire.FULL:
            raise BackPressureError(
                f"Redis has filled {percent} % of its maxmemory: see that workers keep up, or give it more"
            )
        for app, unread in zip(apps, waiting, strict=True):
            if app not in wire.RESERVED and unread >= self._max_backlog:
                raise BackPressureError(
                    f"{unread:,} events of {app!r} wait unread already: see that workers run and keep up, and publish again later"
                )
        if len(self._next) > _APPS:
            self._next.clear()
        self._next |= dict.fromkeys(((partition, app) for app in apps), self._clock() + LOOK)


def _leading(ids: dict[int, str]) -> list[str]:
    """The ids up to the first document that has none."""
    found: list[str] = []
    while (id := ids.get(len(found))) is not None:
        found.append(id)
    return found
