"""This tree beside another revision of it: both run in turn, and only ratios within a pair count."""

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.support.figures import say
from benchmarks.support.processes import ROOT

#: Processes whose CPU is compared. The simulator is a tool of ours, not a part of what runs in production.
COMPARED: Final = ("worker", "beat", "postgres", "valkey", "publisher")
#: Pairs below which the median has no 95 % interval that is worth the name.
LEAST_PAIRS: Final = 12
#: Seconds that one run of one tree may take.
_PATIENCE: Final = 600


@contextmanager
def worktree(revision: str) -> Iterator[Path]:
    """A checkout of the revision, gone when the block ends. Raises CalledProcessError for one that does not exist."""
    with tempfile.TemporaryDirectory(prefix="carillon-against-") as directory:
        path = Path(directory) / "tree"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(path), revision], check=True)
        # Its first run would pay for that alone.
        subprocess.run([sys.executable, "-m", "compileall", "-q", str(path)], check=False)
        try:
            yield path
        finally:
            subprocess.run([*git, "remove", "--force", str(path)], check=True)


def compare(revision: str, pairs: int, arguments: Sequence[str], workloads: Sequence[str]) -> dict[str, Any]:
    """Ratios of CPU per push, this tree over `revision`, by workload: median, 95 % interval, and each pair's.

    `arguments` go to `benchmarks.pipeline` in both trees. The trees run in turn, and who begins changes from pair to pair.
    """
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in workloads}
    parts: dict[str, dict[str, list[float]]] = {name: {} for name in workloads}
    with worktree(revision) as other:
        for number in range(pairs):
            trees = (ROOT, other) if number % 2 == 0 else (other, ROOT)
            costs = {tree: _costs(tree, arguments, workloads) for tree in trees}
            for name in workloads:
                ours, theirs = costs[ROOT][name], costs[other][name]
                found[name].append((sum(ours.values()), sum(theirs.values())))
                for part in ours.keys() & theirs.keys():
                    if theirs[part]:
                        parts[name].setdefault(part, []).append(ours[part] / theirs[part])
                say(f"pair {number + 1:2} {name:16} {found[name][-1][0]:7.1f} / {found[name][-1][1]:7.1f} µs a push")
    return {
        "against": revision,
        "pairs": pairs,
        "cpu_ratio": {name: ratio_of(pairs_of) for name, pairs_of in found.items()},
        "cpu_us_per_push": {
            name: {"ours": median(o for o, _ in some), "theirs": median(t for _, t in some)}
            for name, some in found.items()
        },
        "cpu_ratio_by_part": {
            name: {part: round(median(some), 3) for part, some in sorted(of_part.items())}
            for name, of_part in parts.items()
        },
    }


def ratio_of(pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """The median of the paired ratios, and its 95 % interval by order statistics, which assumes no distribution."""
    ratios = sorted(ours / theirs for ours, theirs in pairs)
    lower, upper = interval(len(ratios))
    return {
        "median": round(median(ratios), 3),
        "interval_95": [round(ratios[lower], 3), round(ratios[upper], 3)],
        "ratios": [round(ratio, 3) for ratio in ratios],
    }


def interval(n: int) -> tuple[int, int]:
    """Indexes of the sorted values between which the median lies with 95 %: the narrowest symmetric pair that has it."""
    below, cut = 0.0, 0
    while cut < (n - 1) // 2 and 2 * (below + math.comb(n, cut) / 2**n) <= 0.05:
        below += math.comb(n, cut) / 2**n
        cut += 1
    return max(0, cut - 1), n - 1 - max(0, cut - 1)


def _costs(tree: Path, arguments: Sequence[str], workloads: Sequence[str]) -> Mapping[str, Mapping[str, float]]:
    """CPU microseconds a push by workload and part, from one run in that tree."""
    command = [sys.executable, "-m", "benchmarks.pipeline", "--json", "--repeats", "1", *arguments]
    command += ["--variants", "carillon_http2", "--workloads", *workloads]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)}, **pipes) as run:
        try:
            out, said = run.communicate(timeout=_PATIENCE)
        finally:
            run.terminate()  # it stops what it started
    if run.returncode:
        raise RuntimeError(f"{' '.join(command)} failed in {tree}:\n{said[-4000:]}")
    result = json.loads(out.splitlines()[-1])["cpu_us_per_push"]
    return {
        name: {part: cost for part, cost in result[name]["carillon_http2"].items() if part in COMPARED}
        for name in workloads
    }
