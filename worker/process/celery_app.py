"""The Celery app, and the checks before a worker or beat starts. `celery -A worker.app` finds it under that path."""

import logging
import os
import sys
from contextlib import suppress
from typing import Any, Final

from celery import Celery, signals

from config.broker import CLUSTER, is_cluster
from config.celeryconfig import FOREIGN, TICK, celery_config
from config.logs import set_up
from config.secrets import secret_keys
from config.settings import SettingsError, get_settings
from worker.core.errors import UnfitError
from worker.database import kept_layout, postgres
from worker.embedded import attach, attach_redis
from worker.metrics.engines import of_carillon
from worker.process import exporter, extras, host, pulse
from worker.state import layout, redis

log = logging.getLogger(__name__)


def _configuration() -> dict[str, Any]:
    # Celery calls it when it reads the first setting, so importing this module starts no engine.
    settings = get_settings()
    return celery_config(settings, attach_redis(settings))


# Carillon's settings name the broker. A chat server's variables for its own Celery would override them.
_foreign = [name for name in FOREIGN if os.environ.pop(name, None) is not None]

app = Celery("carillon", set_as_current=False, include=["worker.process.tasks", "worker.process.background"])
app.add_defaults(_configuration)
app.Task.Request = "worker.process.celery_request:QuietRequest"

#: Names and modules of the Celery pools that tasks can run in: no processes and no green threads.
_POOLS: Final = ("threads", "thread", "solo")
#: Options of Celery's worker for process pools. With threads they stop a worker under load, or have no effect.
_OPTIONS: Final = {
    "autoscale": "--autoscale: a worker's threads are as many as --concurrency says; start or stop workers",
    "max_tasks_per_child": "--max-tasks-per-child: carillon worker begins again when its memory is over CARILLON_WORKER_MEMORY",
    "max_memory_per_child": "--max-memory-per-child: carillon worker begins again when its memory is over CARILLON_WORKER_MEMORY",
    "time_limit": "--time-limit: every wait of a task has a bound of its own",
    "soft_time_limit": "--soft-time-limit: every wait of a task has a bound of its own",
}


@signals.setup_logging.connect
def _logs(logfile: str | None = None, **_: object) -> None:
    # CARILLON_LOG_LEVEL decides: Celery's command passes a level even if nobody gave one.
    stream = open(logfile, "a", encoding="utf-8", buffering=1) if logfile else None  # noqa: SIM115
    try:
        set_up(get_settings(), stream)
    except SettingsError as fault:  # Celery would only log an exception of a signal handler
        sys.exit(f"carillon: {fault}")
    if _foreign:
        log.info("variables of another Celery are not used: %s", ", ".join(_foreign))


def refuse_unusable(*, keys: bool = True) -> None:
    """Raises `SettingsError`, `HostError` or `UnfitError` for a lasting fault. An engine that is down is not one.

    `keys` is False for a process that decrypts no credential.
    """
    settings = get_settings()
    if settings.broker_url is None and settings.redis_url is not None and is_cluster(settings.redis_url):
        raise SettingsError(
            f"CARILLON_BROKER_URL is needed, because CARILLON_REDIS_URL is that of a cluster: {CLUSTER}"
        )
    host.check_files()
    if keys:
        secret_keys(settings)
        if settings.traces_sample:
            extras.traces()
        host.fit_address_space()
    with redis.connect(attach_redis(settings)) as client:
        redis.await_fit(client, worker=keys)
        if keys:
            # The users of beat and of Flower may write none, and neither needs one.
            with suppress(redis.Error):  # it is away
                kept = kept_layout.try_read_at(attach(settings).postgres)
                layout.refuse_closed(layout.agree(client, settings.partitions, kept))
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
    except (
        SettingsError,
        host.HostError,
        UnfitError,
    ) as fault:  # Celery would only log an exception of a signal handler, and the worker would go on
        sys.exit(f"carillon: {fault}")


@signals.beat_init.connect
def _give_pulse(**_: object) -> None:
    give = pulse.Pulse(attach_redis(get_settings()))
    signals.after_task_publish.connect(give, sender=TICK, weak=False)
    exporter.moving("beat", lambda: give.ticked_at)
    exporter.start("beat", lambda settings: of_carillon(attach_redis(settings), None))
