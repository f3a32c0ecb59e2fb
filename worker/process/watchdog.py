"""Whether this process works, for `/livez` and for systemd, which ends and starts it again where it does not.

systemd asks for signs by two variables (sd_notify(3), sd_watchdog_enabled(3)). Imports nothing slow: see `host.py`.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Final

#: By name: why this process does not work, None where it does.
alive: Final[dict[str, Callable[[], str | None]]] = {}


def faults() -> dict[str, str | None]:
    """What each of `alive` says."""
    return {name: ask() for name, ask in list(alive.items())}


def start() -> None:
    """Gives systemd its signs from now on, as long as nothing in `alive` has a fault. Does nothing where it wants none."""
    place, micros = os.environ.get("NOTIFY_SOCKET", ""), os.environ.get("WATCHDOG_USEC", "")
    meant_for = os.environ.get("WATCHDOG_PID", "")
    if not place or not micros.isdigit() or meant_for not in ("", str(os.getpid())):
        return
    # A name that begins with @ is an abstract one.
    address = f"\0{place[1:]}" if place.startswith("@") else place
    threading.Thread(target=_give, args=(address, int(micros) / 3e6), name="carillon-watchdog", daemon=True).start()


def _give(address: str, pause: float) -> None:
    while True:
        if not any(faults().values()):
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
                client.sendto(b"WATCHDOG=1", address)
        time.sleep(pause)
