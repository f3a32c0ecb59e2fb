"""The style sheet and the script. Their names hold a hash of what is in them, so browsers keep them for good."""

from hashlib import sha256
from importlib.resources import files
from typing import Final, NamedTuple

_FILES: Final = files("worker.dashboard").joinpath("static")
_TYPES: Final = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}


class Asset(NamedTuple):
    content: bytes
    media_type: str


def load() -> tuple[dict[str, str], dict[str, Asset]]:
    """The name to link to for each file, and the asset of each such name."""
    names, assets = {}, {}
    for file in _FILES.iterdir():
        stem, _, ending = file.name.rpartition(".")
        content = file.read_bytes()
        hashed = f"{stem}.{sha256(content).hexdigest()[:12]}.{ending}"
        names[file.name] = hashed
        assets[hashed] = Asset(content, _TYPES[ending])
    return names, assets
