"""`carillon version`."""

from importlib import metadata

from worker.cli._terminal import echo


def version() -> None:
    """Show the version."""
    echo(f"carillon {metadata.version('carillon-push-worker')}")
