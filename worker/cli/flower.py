"""`carillon flower`."""

import os
import sys
from typing import Annotated, Final

import typer

_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
#: Flower's own variables that make it ask who is there.
_AUTHENTICATION: Final = ("FLOWER_BASIC_AUTH", "FLOWER_AUTH")


def flower(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 5555,
    address: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Run Flower, where ops watch workers, tasks and queues. Flower's own FLOWER_* variables are heeded."""
    from worker.app import app

    if not any(os.environ.get(name) for name in _AUTHENTICATION):
        if address not in _LOOPBACK:
            sys.exit(
                f"carillon: Flower can stop workers, so on {address} it must ask for a password: "
                "set FLOWER_BASIC_AUTH=user:password"
            )
        # Only this machine reaches it.
        os.environ.setdefault("FLOWER_UNAUTHENTICATED_API", "true")
    app.start(["flower", f"--port={port}", f"--address={address}", "--purge_offline_workers=300", "--logging=warning"])
