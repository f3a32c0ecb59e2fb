"""`carillon worker`."""

import os
import warnings
from enum import StrEnum
from typing import Annotated

import typer


class Lane(StrEnum):
    """Which queues a worker takes from."""

    URGENT = "urgent"
    BULK = "bulk"
    ALL = "all"


def worker(
    lane: Annotated[Lane, typer.Option(help="Which queues to take from.")] = Lane.ALL,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Tasks at once; they share the connections.")] = 8,
    name: Annotated[str, typer.Option(help="Name in Flower, one of its own on this host; default: lane and pid.")] = "",
) -> None:
    """Run a worker: expands messages and delivers to devices. Start as many as needed, on as many machines."""
    from celery.exceptions import SecurityWarning

    from config.celeryconfig import LANES
    from worker.cli._engines import tell_part
    from worker.process.consumer import run
    from worker.process.host import disown_orphans

    # Of running as root, where a message could run code. Only JSON is taken here.
    warnings.simplefilter("ignore", SecurityWarning)
    tell_part()
    disown_orphans()
    # The pid stays when the process restarts.
    run(name or f"{lane}-{os.getpid()}", queues=LANES[lane], concurrency=concurrency)
