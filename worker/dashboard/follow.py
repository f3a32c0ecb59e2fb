"""The followed push log: rows as server-sent events, as they come. One thread reads for all who follow."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

from starlette.responses import PlainTextResponse, Response, StreamingResponse

from worker.dashboard.frame import Frame
from worker.dashboard.page import Ask
from worker.dashboard.pages import log
from worker.database.postgres import Unavailable
from worker.database.push_log import Place
from worker.reports import push_log
from worker.reports.push_log import Following, Line, TooMuchError

#: Streams at once.
MOST: Final = 20
#: Seconds after which a stream ends; the browser opens the next one where it ended.
LASTS: Final = 600.0
#: Rows a second; the others are counted.
ROWS: Final = 20
#: Seconds without a row after which a comment is sent, or proxies would end the stream.
QUIET: Final = 15.0
_COMMENT: Final = ":\n\n"
#: Reads a second. Who is behind by more goes on from now.
_READS: Final = 5


class _Second(NamedTuple):
    """What came in a second: the rows that are shown, how many there are beside them, and whether some were not even counted."""

    lines: list[Line]
    more: int
    behind: bool
    place: Place


class Follow:
    """`leaving` says that the process ends: streams then end too."""

    def __init__(self, frame: Frame, leaving: Callable[[], bool]) -> None:
        self._frame, self._leaving = frame, leaving
        self._thread = ThreadPoolExecutor(1, "follow")
        self._open = 0

    def answer(self, ask: Ask) -> Response:
        """A stream of what the query chooses, from `after` on, or from now. Raises `Invalid`."""
        chosen, after = log.filter_of(ask), log.place(ask, "after")
        if self._open >= MOST:
            return PlainTextResponse(f"{MOST} follow the log already\n", 503, headers={"Retry-After": "60"})
        self._open += 1
        begin = None if after is None else push_log.place_of(after)
        return _Stream(self._events(Following(ask.stores.pool, chosen), begin), self._left)

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _left(self) -> None:
        self._open -= 1

    async def _events(self, following: Following, place: Place | None) -> AsyncIterator[str]:
        clock = asyncio.get_running_loop().time
        yield "retry: 5000\n\n"
        ends, said, full = clock() + LASTS, clock(), False
        while clock() < ends and not self._leaving():
            begun = clock()
            reading = asyncio.get_running_loop().run_in_executor(self._thread, _second, following, place)
            while not (await asyncio.wait({reading}, timeout=QUIET))[0]:
                yield _COMMENT
            try:
                second = reading.result()
            except Unavailable:
                return
            place = second.place
            if second.lines or second.behind or full:
                yield self._event(second)
                said, full = clock(), second.more > 0 or second.behind
            elif clock() - said >= QUIET:
                yield _COMMENT
                said = clock()
            await asyncio.sleep(max(0.0, min(begun + 1, ends) - clock()))

    def _event(self, second: _Second) -> str:
        more = "Some are left out" if second.behind else ""
        if second.more:
            more = f"+ {'more than ' if second.behind else ''}{second.more:,} more a second"
        rows = self._frame.log_rows([(line, push_log.reason_in_words(line)) for line in reversed(second.lines)])
        return f"id: {push_log.text_of(second.place)}\ndata: {json.dumps({'rows': rows, 'more': more})}\n\n"


class _Stream(StreamingResponse):
    """Calls `left` when it has ended, however that was."""

    def __init__(self, events: AsyncIterator[str], left: Callable[[], None]) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        self._left = left

    async def __call__(self, *connection: Any) -> None:
        try:
            await super().__call__(*connection)
        finally:
            self._left()


def _second(following: Following, place: Place | None) -> _Second:
    if place is None:
        place = following.now()
    lines: list[Line] = []
    behind = True
    try:
        for _ in range(_READS):
            some, last, now = following.step(place)
            lines += some
            if last is None:
                behind, place = False, following.later(place, now)
                break
            place = last
    except TooMuchError:
        pass
    if behind:
        place = following.now()
    return _Second(push_log.complete(following.pool, lines[-ROWS:]), len(lines[:-ROWS]), behind, place)
