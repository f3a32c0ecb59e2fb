"""Figures: medians, ratios, the machine they were taken on, and the JSON line that ends every benchmark."""

import json
import os
import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def medians(found: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in found.items() if values}


def ratios(rates: Mapping[str, float], *, of: str) -> dict[str, float]:
    """How many times each of the others `of` is."""
    return {name: round(rates[of] / rate, 2) for name, rate in rates.items() if name != of and rate}


def machine() -> dict[str, Any]:
    """What a figure depends on; `load` is the load average as the benchmark ends."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "load": [round(value, 1) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None,
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def say(text: str) -> None:
    """Progress, beside the result."""
    print(text, file=sys.stderr, flush=True)


def emit(result: Mapping[str, Any], *, as_json: bool) -> None:
    """The result as one line, or as an indented document for people."""
    print(json.dumps({**result, "machine": machine()}, indent=None if as_json else 2), flush=True)
