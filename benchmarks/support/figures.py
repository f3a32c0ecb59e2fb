"""Figures: medians, ratios, the machine they were taken on, and the JSON line that ends every benchmark."""

import json
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from worker.embedded.machine import this_machine


def medians(found: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in found.items() if values}


def ratios(rates: Mapping[str, float], *, of: str) -> dict[str, float]:
    """How many times each of the others `of` is."""
    return {name: round(rates[of] / rate, 2) for name, rate in rates.items() if name != of and rate}


def machine() -> dict[str, Any]:
    """What a figure depends on; `load` is the load average as the benchmark ends."""
    found = this_machine()
    return {
        "cpu": found.processor,
        "cores": found.cores,
        "memory_gb": found.memory,
        "python": found.python,
        "system": found.system,
        "postgres": found.postgres,
        "valkey": found.valkey,
        "load": [round(value, 1) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None,
    }


def table() -> str:
    """The machine as a table of Markdown, which is how `docs/benchmarks.md` begins."""
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    rows = [*this_machine().rows(), ("Load average", load)]
    return "\n".join(("| Machine | |", "|---|---|", *(f"| {label} | {value} |" for label, value in rows)))


def say(text: str) -> None:
    """Progress, beside the result."""
    print(text, file=sys.stderr, flush=True)


def emit(result: Mapping[str, Any], *, as_json: bool) -> None:
    """The machine on standard error, and the result as one line, or as an indented document for people."""
    say(table())
    print(json.dumps({**result, "machine": machine()}, indent=None if as_json else 2), flush=True)
