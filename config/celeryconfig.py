"""Celery's configuration as a value made from the settings. Imports no Celery."""

from typing import Any, Final

from config.broker import broker, is_amqp
from config.settings import Settings

URGENT: Final = "carillon.urgent"
BULK: Final = "carillon.bulk"
#: The queue of each `--lane`.
LANES: Final = {"urgent": (URGENT,), "bulk": (BULK,), "all": (URGENT, BULK)}
#: The beginning of every key that Celery has in Redis.
KEY_PREFIX: Final = "carillon:"
TICK: Final = "carillon.tick"
#: The class that gives Celery's connections a password that changes.
_CREDENTIALS: Final = "worker.process.broker_credentials.BrokerCredentials"
TICK_SECONDS: Final = 1.0
#: Variables that override Celery's configuration. If they are set, they are a chat server's, never ours.
FOREIGN: Final = (
    *("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL", "CELERY_RESULT_BACKEND"),
    *("CELERY_CONFIG_MODULE", "CELERY_LOADER", "CELERY_CUSTOM_WORKER_POOL"),
)


def celery_config(settings: Settings, redis_url: str) -> dict[str, Any]:
    """Celery's settings: the broker that the settings name, or else the Redis at `redis_url`.

    JSON only, late acknowledgements, no stored results.

    A lost or doubled wake-up does no harm, so the visibility timeout is short. A worker prefetches few messages. Celery's thread
    pool has no time limits, so each wait of a task has a bound of its own.
    """
    url = settings.broker_url or redis_url
    named = broker(url, settings.broker_queues)
    if asks_for_password(settings, url):
        named["broker_url"] = ";".join(
            f"{one}{'&' if '?' in one else '?'}credential_provider={_CREDENTIALS}"
            for one in named["broker_url"].split(";")
        )
    if not is_amqp(url):
        # A Redis that takes no writes for a while, as it is full, ends no worker.
        named["broker_channel_error_retry"] = True
        named["broker_transport_options"] = _transport(settings) | named.get("broker_transport_options", {})
    return {
        **named,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # Cancelling running tasks when the connection to the broker is lost would resend pushes that Apple has accepted.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "result_backend": None,
        "task_ignore_result": True,
        "task_store_errors_even_if_ignored": False,
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        "event_serializer": "json",
        "task_default_queue": URGENT,
        "task_queues": None,
        "task_create_missing_queues": True,
        "task_acks_late": True,
        "task_acks_on_failure_or_timeout": True,
        "task_reject_on_worker_lost": True,
        "task_track_started": True,
        "worker_prefetch_multiplier": 1,
        "worker_pool": "threads",
        # Eight tasks work at once; the others wait for silent providers: see worker/pipeline/bulkhead.py.
        "worker_concurrency": 64,
        "worker_soft_shutdown_timeout": settings.shutdown_timeout,
        "worker_enable_soft_shutdown_on_idle": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_send_task_events": True,
        "task_send_sent_event": False,
        "enable_utc": True,
        "timezone": "UTC",
        "beat_schedule": _schedule(),
        # The schedule needs no file: due work is in Redis.
        "beat_scheduler": "celery.beat:Scheduler",
        "beat_max_loop_interval": TICK_SECONDS,
    }


def asks_for_password(settings: Settings, url: str) -> bool:
    """Whether a function gives user and password for this URL of the broker."""
    if is_amqp(url):
        return False
    of_broker = settings.broker_credentials if url == settings.broker_url else ""
    return bool(of_broker or (settings.redis_credentials and url == settings.redis_url))


def _transport(settings: Settings) -> dict[str, Any]:
    return {
        "global_keyprefix": KEY_PREFIX,
        "visibility_timeout": settings.visibility_timeout,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 2,
        "socket_timeout": 30,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "retry_on_timeout": True,
    }


def _schedule() -> dict[str, Any]:
    # A tick that waited is useless: the next one does the same work.
    options = {"queue": URGENT, "expires": 5}
    return {TICK: {"task": TICK, "schedule": TICK_SECONDS, "options": options}}
