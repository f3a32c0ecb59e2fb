"""What a measured figure depends on: the machine, Python, and the versions of the embedded engines."""

import os
import platform
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil

from worker.embedded.postgres import binaries
from worker.embedded.valkey import binary


class Machine(NamedTuple):
    """`memory` is in gigabytes (10⁹ octets); an engine that is not installed is "none"."""

    processor: str
    cores: int
    memory: float
    system: str
    python: str
    postgres: str
    valkey: str

    def rows(self) -> list[tuple[str, str]]:
        """Label and value, in the order in which they are shown."""
        return [
            ("Processor", self.processor),
            ("Cores", str(self.cores)),
            ("Memory", f"{self.memory:.1f} GB"),
            ("System", self.system),
            ("Python", self.python),
            ("PostgreSQL", self.postgres),
            ("Valkey", self.valkey),
        ]


def this_machine() -> Machine:
    """The cores are those that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(
        _processor(),
        cores,
        round(psutil.virtual_memory().total / 1e9, 1),
        f"{platform.system()} {platform.release()}",
        platform.python_version(),
        _version(lambda: binaries() / "postgres"),
        _version(binary),
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _version(program: Callable[[], Path]) -> str:
    """The first word of `--version` that is a number: `postgres (PostgreSQL) 18.1`, `Valkey server v=9.1.2 sha=…`."""
    try:
        said = subprocess.run([program(), "--version"], capture_output=True, text=True, check=True, timeout=10).stdout
    except (RuntimeError, OSError, subprocess.SubprocessError):
        return "none"
    words = (word.removeprefix("v=") for word in said.split())
    return next((word for word in words if word[:1].isdigit()), "unknown")
