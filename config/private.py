"""Directories and files with keys and passwords: only their owner may access them."""

import os
import pwd
import secrets
import stat
from pathlib import Path
from typing import Final

from config.settings import SettingsError, variable

#: The mode bits of group and others for a private file.
_ANY: Final = stat.S_IRWXG | stat.S_IRWXO
_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


def make_directory(directory: Path, mode: int) -> None:
    """Makes it with exactly this mode if it is missing, and missing parents writable for us only, whatever the umask."""
    if directory.is_dir():
        return
    make_directory(directory.parent, 0o755)
    try:
        directory.mkdir(mode=mode)
    except FileExistsError:
        return
    directory.chmod(mode)


def check_directory(directory: Path) -> None:
    """Raises `SettingsError` unless this user owns the directory and nobody else may write to it.

    Who may write to it could put keys of their own there before we make ours.
    """
    found = directory.stat()
    _check_owner(directory, found, f"choose a {variable('data_dir')} of your own")
    if found.st_mode & _WRITE:
        raise SettingsError(
            f"{directory}: others may write there, and it is for keys and passwords: chmod go-w {directory}"
        )


def check_file(file: Path) -> None:
    """Raises `SettingsError` unless this user owns the file and nobody else may read or write it."""
    found = file.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise SettingsError(f"{file}: is no regular file; move it away")
    _check_owner(file, found, "move it away if it is not meant to be there")
    if found.st_mode & _ANY:
        raise SettingsError(
            f"{file}: others can read or write it. If nobody has: chmod 600 {file}. If somebody may have: make a new one"
        )


def _check_owner(path: Path, found: os.stat_result, advice: str) -> None:
    if found.st_uid != os.geteuid():
        raise SettingsError(f"{path}: belongs to {_name(found.st_uid)}, not to {_name(os.geteuid())}: {advice}")


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def read_private(file: Path) -> str:
    """The text of a private file. Raises `SettingsError` as `check_file`, or `FileNotFoundError`."""
    check_file(file)
    return file.read_text(encoding="utf-8")


def write_private(file: Path, text: str) -> None:
    """Replaces a file, atomically, with one that only its owner may read."""
    draft = _draft(file, text)
    draft.replace(file)


def write_private_once(file: Path, text: str) -> None:
    """As `write_private`, but an existing file stays: if two processes write at once, both read the first one's text."""
    draft = _draft(file, text)
    try:
        os.link(draft, file)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _draft(file: Path, text: str) -> Path:
    draft = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
    return draft


def world_readable(file: Path) -> bool:
    """Whether the file's own mode lets every user of this machine read it."""
    return bool(file.stat().st_mode & stat.S_IROTH)
