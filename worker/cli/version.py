"""`carillon version`."""

from importlib import metadata

from worker.cli._options import Json
from worker.cli._terminal import echo, json_text


def version(as_json: Json = False) -> None:
    """Show the version."""
    found = metadata.version("carillon-push-worker")
    echo(json_text({"version": found}) if as_json else f"carillon {found}")
