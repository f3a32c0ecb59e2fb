"""`carillon version`."""

from importlib.metadata import version

import typer


def version() -> None:
    """Show the version."""
    typer.echo(f"carillon {version('carillon')}")
