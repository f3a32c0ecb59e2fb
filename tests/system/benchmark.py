"""A benchmark as a command, for the tests beside this file."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.processes import PATIENCE

ROOT = Path(__file__).parents[2]


def last_line(*arguments: str) -> dict[str, Any]:
    """What `python -m ARGUMENTS --json` says last."""
    command = [sys.executable, "-m", *arguments, "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            out, said = child.communicate(timeout=PATIENCE)
        finally:
            child.terminate()  # it stops what it started
    assert child.returncode == 0, said
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found
