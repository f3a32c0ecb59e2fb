"""Loopback ports that stay the same from one start to the next."""

import socket
from pathlib import Path
from typing import Final

from config.private import write_private

HOST: Final = "127.0.0.1"


def remembered(file: Path) -> int:
    """The port in the file if it is free; otherwise a free port, which is written to the file."""
    try:
        port = int(file.read_text())
        _claim(port)
    except (OSError, ValueError):
        port = _claim(0)
        write_private(file, str(port))
    return port


def _claim(port: int) -> int:
    with socket.socket() as probe:
        # As the server does: lingering connections of the last run must not make the port look used.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))
        return int(probe.getsockname()[1])
