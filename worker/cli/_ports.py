"""Ports that a command is to listen on."""

import errno
import socket

from worker.cli._faults import fail


def need_port(host: str, port: int, option: str = "--port") -> None:
    """Ends the command if this port cannot be listened on now; 0 is any port."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as fault:
        fail(f"{host}: no address of this machine: {fault.strerror}")
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as fault:
            what = "is in use" if fault.errno == errno.EADDRINUSE else f"cannot be had: {fault.strerror}"
            fail(f"port {port} of {host} {what}; choose another with {option}")
