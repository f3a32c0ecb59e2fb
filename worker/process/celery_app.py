"""The Celery app, and what a worker and beat refuse to begin with. `celery -A worker.app` finds it under that path."""

import logging
import os
import sys
from typing import Any, Final

from celery import Celery, signals

from config.celeryconfig import FOREIGN, TICK, celery_config
from config.logs import set_up
from config.secrets import secret_keys
from config.settings import SettingsError, get_settings
from worker.core.errors import UnfitError
from worker.database import postgres
from worker.embedded import attach, attach_redis
from worker.process import host, pulse
from worker.state import redis

log = logging.getLogger(__name__)


def _configuration() -> dict[str, Any]:
    # Asked for when the first setting is read, so that importing this module starts no engine.
    settings = get_settings()
    return celery_config(settings, attach_redis(settings))


# Carillon's own settings name the broker. A chat server's variables of Celery would win over them.
_foreign = [name for name in FOREIGN if os.environ.pop(name, None) is not None]

app = Celery("carillon", set_as_current=False, include=["worker.process.tasks", "worker.process.background"])
app.add_defaults(_configuration)
app.Task.Request = "worker.process.celery_request:QuietRequest"

#: Celery's pools, by their name or their module's, in which the tasks work: neither processes nor green threads.
_POOLS: Final = ("threads", "thread", "solo")
#: Options of Celery's worker for pools of processes: here they end a worker under load, or do nothing.
_OPTIONS: Final = {
    "autoscale": "--autoscale: a worker's threads are as many as --concurrency says; start or stop workers",
    "max_tasks_per_child": "--max-tasks-per-child: carillon worker begins again when its memory is over CARILLON_WORKER_MEMORY",
    "max_memory_per_child": "--max-memory-per-child: carillon worker begins again when its memory is over CARILLON_WORKER_MEMORY",
    "time_limit": "--time-limit: every wait of a task has a bound of its own",
    "soft_time_limit": "--soft-time-limit: every wait of a task has a bound of its own",
}


@signals.setup_logging.connect
def _logs(logfile: str | None = None, **_: object) -> None:
    # The level is that of CARILLON_LOG_LEVEL: Celery's command gives one also where nobody has said any.
    set_up(get_settings(), open(logfile, "a", encoding="utf-8", buffering=1) if logfile else None)  # noqa: SIM115
    if _foreign:
        log.info("variables of another Celery are not used: %s", ", ".join(_foreign))


def refuse_unusable(*, keys: bool = True) -> None:
    """Raises `SettingsError`, `HostError` or `UnfitError` for a lasting fault. An engine that is away is none.

    Without `keys` for a process that opens no credential.
    """
    settings = get_settings()
    host.check_files()
    if keys:
        secret_keys(settings)
        host.check_address_space()
    with redis.connect(attach_redis(settings)) as client:
        redis.await_fit(client, worker=keys)
    if keys:
        postgres.refuse_unfit(attach(settings).postgres)


@signals.worker_init.connect
def _refuse_unusable(sender: Any, **_: object) -> None:
    from worker.process import remote_control  # noqa: PLC0415 beat and Flower have no use for it

    pool = getattr(sender.pool_cls, "__module__", str(sender.pool_cls))
    if pool.rpartition(".")[2] not in _POOLS:
        sys.exit(f"carillon: a worker runs in threads (-P threads), not with the pool {pool}")
    for option, advice in _OPTIONS.items():
        if getattr(sender, option, None) or sender.options.get(option):
            sys.exit(f"carillon: threads do not know {advice}")
    remote_control.obey()
    try:
        refuse_unusable()
    except (SettingsError, host.HostError, UnfitError) as fault:  # the signal would only log it, and the worker go on
        sys.exit(f"carillon: {fault}")


@signals.beat_init.connect
def _give_pulse(**_: object) -> None:
    give = pulse.pulse(attach_redis(get_settings()))
    signals.after_task_publish.connect(give, sender=TICK, weak=False)
