"""Paths of files as people give them."""

import shlex
from pathlib import Path
from urllib.parse import unquote

import typer


def given_path(text: str) -> Path:
    """The file that is meant: a path, or what a file manager makes of one that is dragged into a terminal.

    That is in quotes, with backslashes before blanks, or a `file://` URL. `~` is the home directory. What exists as it is
    written is meant as it is written.
    """
    as_written = _home(text)
    if _exists(as_written):
        return as_written
    word = text.strip()
    try:
        words = shlex.split(word)
    except ValueError:  # a quote without its end
        words = []
    if len(words) == 1:
        [word] = words
    if word.lower().startswith("file://"):
        # The host of it, if any, is this one.
        word = "/" + unquote(word[len("file://") :].partition("/")[2])
    return _home(word)


def existing_path(text: str) -> Path:
    """As `given_path`; ends the command where there is no such file."""
    path = given_path(text)
    if not _exists(path):
        raise typer.BadParameter(f"there is no file {text!r}")
    return path


def _home(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:  # no home, or no such user
        return Path(text)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long, or with a character that no path has
        return False
