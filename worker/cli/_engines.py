"""The engines that a command works with. It joins embedded ones that `carillon up` runs, and starts none."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from config.settings import Settings, get_settings, variable
from worker.cli._terminal import echo, prose
from worker.embedded import COMING, Urls, joined, nobody, running


@contextmanager
def in_use() -> Iterator[Urls]:
    """Where the engines are. Names the directory of embedded ones; `EngineError` if nobody runs them."""
    settings = get_settings()
    with joined(settings) as urls:
        tell(settings)
        yield urls


def tell(settings: Settings) -> None:
    """Says once, on standard error, which data directory a command uses."""
    if settings.embedded:
        _tell(settings.data_dir.absolute())


def tell_part(*, postgres: bool = True) -> None:
    """The same for a part of the system, unless its data directory is set; also says if it waits for its engines.

    `postgres`: whether the part needs one.
    """
    settings = get_settings()
    if not settings.embedded or not (postgres or settings.redis_url is None):
        return
    if not os.environ.get(variable("data_dir")):
        tell(settings)
    if running(settings.data_dir) is None:
        prose(f"carillon: {nobody(settings.data_dir)}; waiting {COMING:.0f} s for that", err=True)


@cache
def _tell(directory: Path) -> None:
    echo(f"carillon: the system in {directory}", err=True)
