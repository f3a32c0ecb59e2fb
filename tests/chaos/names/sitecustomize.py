"""A name server that lies, for the processes of a chaos run: names that an operator allowed lead to where no push may go."""

import socket
from typing import Any

#: The names of `tests/chaos/hostile.py`.
ADDRESSES = {
    "loopback.push.example.org": "127.0.0.1",
    "mapped.push.example.org": "::ffff:127.0.0.1",
    "private.push.example.org": "10.0.0.1",
}
_true = socket.getaddrinfo


def _lie(host: Any, *args: Any, **kwargs: Any) -> Any:
    return _true(ADDRESSES.get(host, host), *args, **kwargs)


socket.getaddrinfo = _lie
