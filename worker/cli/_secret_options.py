"""Secrets that a command is given: in a file or on standard input. Everybody on the machine can read a command line."""

import sys
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from config.private import world_readable
from worker.cli._faults import refuse
from worker.cli._paths import given_path
from worker.cli._terminal import prose

#: Larger than any password, in bytes.
_LARGEST: Final = 64 * 1024


_UNREADABLE: Final = "(a URL that cannot be read)"


def secret_given(flag: str, word: str | None, file: str | None) -> str | None:
    """The secret of `--flag WORD` or `--flag-file FILE` (`-`: standard input), without the line's end; None for neither."""
    if word is not None and file is not None:
        refuse(f"{flag}: give it or {flag}-file, not both")
    if file is not None:
        return _read(f"{flag}-file", file)
    if word is not None:
        warn(
            f"{flag}: the command line shows it to every user of this machine, and your shell keeps it: use {flag}-file"
        )
    return word


def warn_of_password(flag: str, url: str | None, variable: str) -> None:
    """Warn where a URL on the command line has a password in it. Shows nothing of the URL."""
    if url is not None and "@" in url:
        warn(f"{flag}: the command line shows its password to every user of this machine: put the URL into {variable}")


def warn_of_open_file(path: Path) -> None:
    """Warn where everybody on the machine can read a key."""
    if world_readable(path):
        warn(f"{path}: every user of this machine can read it: chmod 600 {path}")


def without_password(url: str) -> str:
    """The URL as it may be shown, or a word about it where it cannot be read."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return _UNREADABLE
    if "@" in parts.path or (parts.netloc and not host and not parts.netloc.endswith("@")):
        return _UNREADABLE
    socket = dict(parse_qsl(parts.query)).get("host")
    user = f"{parts.username}:…@" if parts.password else f"{parts.username}@" if parts.username else ""
    at = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{user}{at}{f':{port}' if port else ''}{parts.path}{f'?host={socket}' if socket else ''}"


def warn(text: str) -> None:
    prose(f"carillon: warning: {text}", err=True)


def _read(flag: str, file: str) -> str:
    try:
        if file == "-":
            content = sys.stdin.readline(_LARGEST)
        else:
            path = given_path(file)
            warn_of_open_file(path)
            with path.open(encoding="utf-8") as opened:
                content = opened.read(_LARGEST)
    except (OSError, UnicodeDecodeError) as fault:
        refuse(f"{flag}: {file} cannot be read: {getattr(fault, 'strerror', None) or 'it is no text'}")
    return content.rstrip("\r\n")
