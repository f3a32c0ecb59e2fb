"""`carillon version`."""

from importlib import metadata
from pathlib import Path

from worker.cli._options import Json
from worker.cli._terminal import echo, json_text


def version(as_json: Json = False) -> None:
    """Show the version."""
    try:
        found = metadata.version("carillon-push-worker")
    except metadata.PackageNotFoundError:
        tree = Path(__file__).parents[2]
        text = f"carillon, from the source tree in {tree}, which is not installed"
        echo(json_text({"version": None, "source": str(tree)}) if as_json else text)
        return
    echo(json_text({"version": found}) if as_json else f"carillon {found}")
