"""What the demo says while it runs: moving bars on a terminal, plain lines elsewhere. Owns no number."""

import time
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from worker.demo.account import TRIED_AGAIN
from worker.demo.stage import Stage
from worker.demo.watch import Watch

#: Seconds between two lines where there is no terminal.
_LINE_EVERY: Final = 2.0


class Display(Protocol):
    def step(self, text: str) -> None: ...
    def begin(self, running: Stage, *, messages: int, pushes: int) -> None: ...
    def act(self, text: str) -> None: ...
    def progress(self, watch: Watch, published: int) -> None: ...
    def end(self) -> None: ...


def display(console: Console) -> "Lines":
    return Bars(console) if console.is_terminal else Lines(console)


class Lines:
    """One line for each step, and one for the progress every two seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._spoke = 0.0
        self._messages = self._pushes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    def step(self, text: str) -> None:
        clock = Text(f"{time.monotonic() - self._began:5.1f} s  ", style="dim")
        self._console.print(clock + Text(text), soft_wrap=not self._console.is_terminal)

    def begin(self, running: Stage, *, messages: int, pushes: int) -> None:
        self._messages, self._pushes = messages, pushes
        self.step(f"watch the tasks in Flower: {running.crew.flower_url}")

    def act(self, text: str) -> None:
        self.step(text)

    def progress(self, watch: Watch, published: int) -> None:
        if time.monotonic() - self._spoke < _LINE_EVERY:
            return
        self._spoke = time.monotonic()
        self.step(
            f"  published {published:,}  expanded {watch.expanded:,} of {self._messages:,}"
            f"  accepted {watch.accepted:,} of {self._pushes:,}  {_moment(watch)}"
        )

    def end(self) -> None:
        pass


class Bars(Lines):
    """The same on a terminal."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._live: Live | None = None
        self._bars = Progress(
            TextColumn("  {task.description:<10}"),
            BarColumn(44),
            TextColumn("{task.completed:>9,.0f} of {task.total:,.0f}"),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._now = Text()

    def begin(self, running: Stage, *, messages: int, pushes: int) -> None:
        super().begin(running, messages=messages, pushes=pushes)
        self._tasks = {
            name: self._bars.add_task(name, total=total)
            for name, total in (("published", messages), ("expanded", messages), ("accepted", pushes))
        }
        self._live = Live(self._frame(), console=self._console, refresh_per_second=8, transient=True)
        self._live.start()

    def progress(self, watch: Watch, published: int) -> None:
        for name, value in (("published", published), ("expanded", watch.expanded), ("accepted", watch.accepted)):
            self._bars.update(self._tasks[name], completed=value)
        again = sum(n for reason, n in watch.refused.items() if reason in TRIED_AGAIN)
        gone = watch.refused.total() - again
        self._now = Text(f"\n  {_moment(watch)}\n  refused for good {gone:,}  for now {again:,}", style="cyan")
        if self._live is not None:
            self._live.update(self._frame())

    def end(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _frame(self) -> Table:
        frame = Table.grid()
        frame.add_row(self._bars)
        frame.add_row(self._now)
        return frame


def _moment(watch: Watch) -> str:
    latency = watch.latency()
    late = "-" if latency is None else f"{latency * 1000:,.0f} ms" if latency < 2 else f"{latency:,.1f} s"
    return f"{watch.rate():,.0f}/s  open messages {watch.waiting:,}  latency {late}"
