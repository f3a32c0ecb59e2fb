"""Where a worker spends its time: py-spy's samples while a run lasts, and the functions that are on top of them."""

import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.support.figures import say

#: 200 samples a second of whoever holds the interpreter, by function, as collapsed stacks.
_OPTIONS: Final = ("--rate", "200", "--gil", "--nonblocking", "--function", "--format", "raw", "--duration", "600")


def _py_spy() -> str | None:
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if beside.exists() else shutil.which("py-spy")


@contextmanager
def profiled(directory: Path | None, name: str, pids: Sequence[int]) -> Iterator[None]:
    """Samples these processes while the block runs; writes `<name>-<n>.txt` (collapsed stacks) and says what is on top."""
    program = _py_spy()
    if directory is None or program is None:
        yield
        return
    directory.mkdir(parents=True, exist_ok=True)
    outputs = [directory / f"{name}-{number}.txt" for number in range(len(pids))]
    samplers = [
        subprocess.Popen(
            [program, "record", "--pid", str(pid), "--output", str(output), *_OPTIONS],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for pid, output in zip(pids, outputs, strict=True)
    ]
    try:
        yield
    finally:
        for sampler in samplers:
            sampler.send_signal(signal.SIGINT)
            sampler.wait(30)
        for output in outputs:
            if output.exists():
                say(f"-- {output.name}\n{top(output)}")


def top(stacks: Path, lines: int = 25) -> str:
    """The functions by their share of the samples: by themselves, and with everything they call."""
    alone: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for line in stacks.read_text().splitlines():
        frames, _, count = line.rpartition(" ")
        names = frames.split(";")
        alone[names[-1]] += int(count)
        for name in set(names):
            whole[name] += int(count)
    total = sum(alone.values()) or 1
    rows = [
        f"{100 * a / total:5.1f} %  {an:60.60}   |  {100 * w / total:5.1f} %  {wn:60.60}"
        for (an, a), (wn, w) in zip(alone.most_common(lines), whole.most_common(lines), strict=False)
    ]
    return f"{total} samples: alone | with what they call\n" + "\n".join(rows)
