"""Run a program as an ordinary user when we are root, since PostgreSQL refuses root. Changes no permission of any directory."""

import ctypes
import os
import pwd
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

_PR_SET_KEEPCAPS: Final = 8
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_RAISE: Final = 2
_CAP_DAC_OVERRIDE: Final = 1
_CAPABILITY_VERSION_3: Final = 0x20080522


def ordinary_user() -> pwd.struct_passwd | None:
    """Whom to become: nobody if we are root, None (stay who we are) otherwise."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def reachable(path: Path) -> bool:
    """Whether a stranger may walk down to `path`."""
    return all(parent.stat().st_mode & 0o001 for parent in path.resolve().parents)


def becoming(user: pwd.struct_passwd | None, *needed: Path) -> Callable[[], None] | None:
    """What a child does before it executes a program, so that it runs as `user`; None when nothing is to be done.

    Root's home is often closed to others, and a virtual environment or data directory below it with it. On Linux the child
    then keeps the one capability of passing closed doors, instead of root's home being opened for everybody. See
    capabilities(7), "Ambient capability set".
    """
    if user is None:
        return None
    capable = sys.platform == "linux" and not all(reachable(path) for path in needed)
    libc = ctypes.CDLL(None, use_errno=True)

    def become() -> None:
        if capable:
            libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
        if capable:
            _keep(libc, _CAP_DAC_OVERRIDE)

    return become


def _keep(libc: ctypes.CDLL, capability: int) -> None:
    mask = 1 << capability
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    # Two 32-bit halves of effective, permitted, inheritable.
    sets = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)
    libc.capset(header, sets)
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0)
