"""`carillon version`."""

from importlib import metadata
from pathlib import Path

from worker.cli._terminal import echo


def version() -> None:
    """Show the version."""
    try:
        echo(f"carillon {metadata.version('carillon-push-worker')}")
    except metadata.PackageNotFoundError:
        echo(f"carillon, from the source tree in {Path(__file__).parents[2]}, which is not installed")
