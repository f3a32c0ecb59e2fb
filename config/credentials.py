"""Functions of the operator's that give user and password, for passwords that change: one for each URL of the settings."""

import importlib
from collections.abc import Callable
from typing import Final

#: Called from any thread at each new connection; returns the user and the password.
Credentials = Callable[[], tuple[str, str]]
_known: Final[dict[str, Credentials]] = {}


def use(url: str, path: str) -> None:
    """From now on connections of this process to `url` ask the function `module:function`. Raises what importing it does."""
    module, _, name = path.partition(":")
    found: Credentials = getattr(importlib.import_module(module), name)
    _known[url] = found


def known(url: str) -> Credentials | None:
    """The function for this URL; None: its own user and password count."""
    return _known.get(url)
