"""The Celery app, and what runs beside its tasks in a worker: `celery -A worker.app worker`."""

from typing import Any

from celery import Celery, signals

from config.celeryconfig import celery_config
from config.logs import set_up
from config.settings import get_settings
from worker.beside import Beside
from worker.embedded import attach
from worker.leader import Leader
from worker.runtime import close_runtime, get_runtime
from worker.ticker import Ticker


def _configuration() -> dict[str, Any]:
    # Asked for when the first setting is read, so that importing this module starts no engine.
    settings = get_settings()
    return celery_config(settings, attach(settings).redis)


app = Celery("carillon", set_as_current=False, include=["worker.tasks"])
app.add_defaults(_configuration)

#: The threads that run beside the tasks.
_beside: list[Beside] = []


@signals.setup_logging.connect
def _logs(**_: object) -> None:
    set_up(get_settings())


@signals.worker_ready.connect
def _start_beside(**_: object) -> None:
    from worker.tasks import ring_fan_out, tick  # noqa: PLC0415 the tasks need the app to register with

    runtime = get_runtime()
    _beside.extend((Leader(runtime, ring_fan_out), Ticker(runtime, tick)))
    for thread in _beside:
        thread.start()


@signals.worker_shutting_down.connect
def stop_beside(**_: object) -> None:
    """Intake takes nothing more in this process; another one may lead."""
    for thread in _beside:
        thread.stop()


@signals.worker_shutdown.connect
def _close(**_: object) -> None:
    stop_beside()
    for thread in _beside:
        thread.join()
    close_runtime()
