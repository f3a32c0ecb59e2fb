"""The Celery app, and what runs beside its tasks in a worker: `celery -A worker.app worker`."""

from typing import Any

from celery import Celery, signals

from config.celeryconfig import celery_config
from config.logs import set_up
from config.settings import get_settings
from worker.embedded import attach
from worker.leader import Leader
from worker.runtime import close_runtime, get_runtime


def _configuration() -> dict[str, Any]:
    # Asked for when the first setting is read, so that importing this module starts no engine.
    settings = get_settings()
    return celery_config(settings, attach(settings).redis)


app = Celery("carillon", set_as_current=False, include=["worker.tasks"])
app.add_defaults(_configuration)

_leader: Leader | None = None


@signals.setup_logging.connect
def _logs(**_: object) -> None:
    set_up(get_settings())


@signals.worker_ready.connect
def _start_leader(**_: object) -> None:
    global _leader  # noqa: PLW0603 one worker a process, and Celery's signals carry no state
    from worker.tasks import ring_fan_out  # noqa: PLC0415 the tasks need the app to register with

    runtime = get_runtime()
    _leader = Leader(runtime, ring_fan_out)
    _leader.start()


@signals.worker_shutting_down.connect
def stop_leader(**_: object) -> None:
    """Intake takes nothing more in this process; another one may lead."""
    if _leader is not None:
        _leader.stop()


@signals.worker_shutdown.connect
def _close(**_: object) -> None:
    if _leader is not None:
        _leader.join()
    close_runtime()
