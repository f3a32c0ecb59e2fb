"""`python -m worker.simulator [settings.json | -]`: runs a simulator and prints one JSON line when it listens.

One that is given its settings by another program, on its standard input, ends with that program, however that ends.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

from worker.simulator.apns.settings import Settings
from worker.simulator.kinds import read_settings
from worker.simulator.process import run
from worker.simulator.settings import CommonSettings


def main(arguments: list[str]) -> None:
    """Run with the settings of the file named, or of the standard input."""
    if not arguments:
        settings: list[CommonSettings] = [Settings()]
    else:
        if arguments[0] == "-":
            threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
        document = sys.stdin.read() if arguments[0] == "-" else Path(arguments[0]).read_text()
        settings = read_settings(document)
    run(settings, as_json=True)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(sys.argv[1:])
