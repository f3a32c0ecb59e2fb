"""`carillon version`."""

from importlib import metadata

import typer


def version() -> None:
    """Show the version."""
    typer.echo(f"carillon {metadata.version('carillon')}")
