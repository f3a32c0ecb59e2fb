"""Runs a program as an ordinary user if this process is root: PostgreSQL refuses root. Changes no directory's permissions."""

import ctypes
import os
import pwd
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

_PR_SET_SECUREBITS: Final = 28
#: Keeps capabilities when the user changes, and lets access(2) use them for every user.
_NO_SETUID_FIXUP: Final = 1 << 2
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_RAISE: Final = 2
_CAP_DAC_OVERRIDE: Final = 1
_CAPABILITY_VERSION_3: Final = 0x20080522


def ordinary_user() -> pwd.struct_passwd | None:
    """The user to change to: `nobody` if this process is root, otherwise None (no change)."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def reachable(path: Path) -> bool:
    """Whether every user may reach `path`."""
    return all(parent.stat().st_mode & 0o001 for parent in path.resolve().parents)


def becoming(user: pwd.struct_passwd | None, *needed: Path) -> Callable[[], None] | None:
    """What a child does before it executes a program, so that the program runs as `user`; None if nothing has to be done.

    Root's home is often closed to other users, and so is a virtual environment or data directory below it. On Linux the child
    then keeps one capability, CAP_DAC_OVERRIDE, so root's home need not be opened to all users. See capabilities(7), "Ambient
    capability set".
    """
    if user is None:
        return None
    capable = sys.platform == "linux" and not all(reachable(path) for path in needed)
    libc = ctypes.CDLL(None, use_errno=True)

    def become() -> None:
        if capable:
            _must(libc.prctl(_PR_SET_SECUREBITS, _NO_SETUID_FIXUP, 0, 0, 0))
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
        if capable:
            _keep(libc, _CAP_DAC_OVERRIDE)

    return become


def _keep(libc: ctypes.CDLL, capability: int) -> None:
    """Drops every capability except one, and lets the executed program inherit that one."""
    mask = 1 << capability
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    # Two 32-bit halves of effective, permitted, inheritable.
    sets = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)
    _must(libc.capset(header, sets))
    _must(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0))


def _must(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), "PostgreSQL cannot be started as an ordinary user below a closed directory")
