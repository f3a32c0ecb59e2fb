"""`python -m worker.apns.simulator [settings.json | -]`: runs a simulator and prints one JSON line when it listens."""

import sys
from pathlib import Path

import msgspec

from worker.apns.simulator.process import run
from worker.apns.simulator.service import Settings


def main(arguments: list[str]) -> None:
    """Run with the settings of the file named, or of the standard input."""
    if not arguments:
        settings = Settings()
    else:
        document = sys.stdin.read() if arguments[0] == "-" else Path(arguments[0]).read_text()
        settings = msgspec.json.decode(document, type=Settings)
    run(settings, as_json=True)


if __name__ == "__main__":
    main(sys.argv[1:])
