"""Opens connections one at a time, more slowly after failures. Does not decide whether one is wanted."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from worker.core.backoff import backoff
from worker.sender.causes import ConnectError
from worker.sender.connection import Connection
from worker.sender.timing import Timing

log: Final = logging.getLogger(__name__)


class Opener:
    """Makes at most one attempt at a time. Calls `opened` or `failed` when it ends."""

    def __init__(
        self,
        attempt: Callable[[], Awaitable[Connection]],
        timing: Timing,
        jitter: Callable[[], float],
        *,
        opened: Callable[[Connection], None],
        failed: Callable[[ConnectError], None],
    ) -> None:
        self._attempt = attempt
        self._timing = timing
        self._jitter = jitter
        self._opened = opened
        self._failed = failed
        self._task: asyncio.Task[None] | None = None
        #: Attempts that failed and connections without an answer, in a row.
        self.failures = 0
        #: Connections in a row that were short and had few answers.
        self._brief = 0
        self._not_before = 0.0

    @property
    def busy(self) -> bool:
        """Whether an attempt is in progress or waits for its time."""
        return self._task is not None

    def open(self) -> None:
        """Begins an attempt, after the pause that is due."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._open())

    def ended(self, connection: Connection) -> None:
        """Records a connection that has ended: whether it had answers, and lived long enough.

        A server that asks for calm gets no other one at once, whatever it has answered.
        """
        lived = asyncio.get_running_loop().time() - connection.opened_at
        useful = 0 if connection.core.asked_for_calm else connection.core.answered - connection.core.parting
        self.failures = 0 if useful else self.failures + 1
        self._brief = 0 if lived >= self._timing.short_life or useful >= self._timing.worth else self._brief + 1
        if not useful or lived < self._timing.short_life:
            self._pause(max(1, self.failures, self._brief))

    async def stop(self) -> None:
        """Cancels the attempt in progress."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def _pause(self, step: int) -> None:
        timing = self._timing
        pause = backoff(step, base=timing.backoff, longest=timing.backoff_cap, growth=2, jitter=self._jitter())
        self._not_before = asyncio.get_running_loop().time() + pause

    def _fail(self, error: ConnectError) -> None:
        self._task = None
        self.failures += 1
        self._pause(self.failures)
        self._failed(error)

    async def _open(self) -> None:
        try:
            await asyncio.sleep(self._not_before - asyncio.get_running_loop().time())
            connection = await self._attempt()
        except ConnectError as error:
            self._fail(error)
        except Exception:
            # After any bug the callers that wait must get a response, and the next attempt must follow in time.
            log.exception("connection attempt failed in an unforeseen way")
            self._fail(ConnectError("connect: failed"))
        else:
            self._task = None
            self._opened(connection)
        finally:
            if self._task is asyncio.current_task():
                self._task = None
