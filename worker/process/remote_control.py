"""How our workers obey Celery's remote control: `celery -A worker.app control …` and Flower's buttons."""

import os
import signal
from typing import Any, Final

from celery.worker.control import Panel, nok, ok

#: Celery's commands for process pools, and what to do instead. With threads they would end in a traceback or do nothing.
REFUSED: Final = {
    "pool_grow": "a worker's threads are as many as --concurrency says: start another worker",
    "pool_shrink": "a worker's threads are as many as --concurrency says: stop a worker",
    "autoscale": "a worker's threads are as many as --concurrency says: start or stop workers",
    "pool_restart": "threads do not begin again alone: send SIGHUP to the process",
    "time_limit": "threads have no time limits; every wait of a task has a bound of its own",
}


def shutdown(*_: object, **__: object) -> dict[str, str]:
    """Stops as SIGTERM does. Celery's own command ends the consumer in the same way as a fault."""
    os.kill(os.getpid(), signal.SIGTERM)
    return ok("it finishes what is in work and leaves")  # type: ignore[no-any-return]


def _refusing(reason: str) -> Any:
    def refuse(*_: object, **__: object) -> dict[str, str]:
        return nok(reason)  # type: ignore[no-any-return]

    return refuse


def obey() -> None:
    """Replaces Celery's own commands in this process."""
    Panel.data |= {"shutdown": shutdown} | {name: _refusing(reason) for name, reason in REFUSED.items()}
