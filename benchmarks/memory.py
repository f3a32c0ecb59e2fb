"""What a message to a large channel costs a worker in memory, beside a message to a small one.

Each repeat starts two real workers one after the other and lets each expand and deliver a few messages to its channel, every
member of which gets a push. The figure is the difference of their peaks of resident memory.

    python -m benchmarks.memory --json
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Final

import psutil

from benchmarks.support.figures import emit, say
from benchmarks.support.people import Crowd, chat, expected_pushes, set_up
from benchmarks.support.processes import end_on_sigterm
from benchmarks.support.stage import APP, Stage, stage
from benchmarks.support.systems import Layout, running
from worker.core.model import AppSettings

#: Megabytes that the large channel may add.
BAR: Final = 50.0
SMALL: Final = 100
MESSAGES: Final = 2


class Peak:
    """The most resident memory that a process was seen with, in megabytes."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._status = Path(f"/proc/{pid}/status")
        self.megabytes = 0.0

    def look(self) -> None:
        """Where the kernel keeps the peak itself (Linux), the last look is enough."""
        self.megabytes = max(self.megabytes, self._kept() or self._process.memory_info().rss / 1e6)

    def _kept(self) -> float:
        try:
            lines = self._status.read_text().splitlines()
        except OSError:
            return 0.0
        return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM")), 0.0)


def peak(place: Stage, crowd: Crowd, variant: str) -> float:
    """The peak of a fresh worker that delivers messages to the crowd's channel, in megabytes."""
    place.clear()
    with running(place, variant, Layout(1, 8)) as system:
        seen = Peak(system.groups["worker"][0])
        for number in range(MESSAGES):
            events = chat(crowd, 1, run=f"{crowd.name}-{time.monotonic_ns()}-{number}")
            wanted = system.accepted() + expected_pushes(crowd, events)
            system.publish(events)

            def all_accepted(wanted: int = wanted) -> bool:
                seen.look()
                return system.accepted() >= wanted

            system.wait(all_accepted, f"{crowd.members} members")
        system.wait(system.idle, "an idle system")
        seen.look()
    return seen.megabytes


def main() -> None:
    """Measure, and print one object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object, the last line")
    parser.add_argument("--members", type=int, default=100_000, help="of the large channel (%(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="of which the median counts (%(default)s)")
    parser.add_argument("--variant", choices=("carillon_http2", "carillon_null"), default="carillon_http2")
    options = parser.parse_args()
    end_on_sigterm()
    crowds = [Crowd("small", 1, SMALL), Crowd("large", 1, options.members)]
    peaks: dict[str, list[float]] = {crowd.name: [] for crowd in crowds}
    with stage(AppSettings(APP, member_cap=None)) as place:
        for crowd in crowds:
            set_up(place, crowd)
        for _ in range(options.repeats):
            for crowd in crowds:
                peaks[crowd.name].append(peak(place, crowd, options.variant))
                say(f"{crowd.members:8,} members: {peaks[crowd.name][-1]:7.1f} MB")
    added = statistics.median(large - small for small, large in zip(peaks["small"], peaks["large"], strict=True))
    emit(
        {
            "members": {"small": SMALL, "large": options.members},
            "peak_mb": {name: round(statistics.median(found), 1) for name, found in peaks.items()},
            "added_mb": round(added, 1),
            "bar_mb": BAR,
            "met": added < BAR,
        },
        as_json=options.json,
    )


if __name__ == "__main__":
    main()
