"""Celery's broker: how many wake-ups wait there, and whether it answers. It is the journal's Redis, or one of its own."""

import logging
import threading
import time
from collections.abc import Collection
from typing import Any, Final

from amqp.exceptions import AccessRefused, NotAllowed, PreconditionFailed
from kombu.exceptions import OperationalError

from config.broker import is_amqp
from config.celeryconfig import KEY_PREFIX, URGENT
from config.settings import Settings
from worker.core.errors import UnfitError
from worker.process.celery_app import app
from worker.reports.faults import sentence
from worker.state import redis

log = logging.getLogger(__name__)

#: Errors of a broker that is away: of a Redis, and of what Celery raises for any other.
Away: Final = (*redis.Unavailable, OperationalError)
#: Seconds for which a broker that did not answer counts as away: threads must not wait for it one after another.
_AWAY: Final = 1.0
#: Seconds to wait for the connection while another thread uses it.
_TURN: Final = 5.0


def refuse_unfit(settings: Settings, queues: Collection[str]) -> None:
    """Raises `UnfitError` for a broker that cannot be used as it is. One that is away may come back."""
    url = settings.broker_url
    if url is None:
        return
    if not is_amqp(url):
        with redis.connect(url) as client:
            redis.await_fit(client)
        return
    connection = app.connection_for_write()
    try:
        channel = connection.default_channel
        for queue in queues:
            channel.queue_declare(
                queue, durable=True, auto_delete=False, arguments={"x-queue-type": settings.broker_queues}
            )
    except (AccessRefused, NotAllowed) as fault:
        raise UnfitError(f"RabbitMQ refuses the user of CARILLON_BROKER_URL: {_said(fault)}") from None
    except PreconditionFailed as fault:
        advice = "delete that queue (rabbitmqctl delete_queue), or set CARILLON_BROKER_QUEUES to what it is"
        raise UnfitError(f"RabbitMQ has a queue of another kind: {_said(fault)}: {advice}") from None
    except (*connection.connection_errors, *connection.channel_errors, OperationalError) as fault:
        log.warning("the broker does not answer yet: %s", sentence(fault))
    finally:
        connection.collect()


def _said(fault: Exception) -> str:
    return str(getattr(fault, "reply_text", fault)).rstrip(".")


class Broker:
    """One process's use of Celery's broker. `journal`: the Redis that is the broker unless the settings name another one."""

    def __init__(self, settings: Settings, journal: redis.Redis) -> None:
        url = settings.broker_url
        self.apart = url is not None
        self._amqp = _Amqp() if url is not None and is_amqp(url) else None
        self._redis = journal if url is None or self._amqp else redis.connect(url)

    def waiting(self, queue: str) -> int:
        """Messages that wait in the queue. Raises one of `Away`."""
        return int(self._redis.llen(KEY_PREFIX + queue)) if self._amqp is None else self._amqp.waiting(queue)

    def ping(self) -> None:
        """Raises one of `Away` where the broker does not answer."""
        if self._amqp is None:
            self._redis.ping()
        else:
            self._amqp.waiting(URGENT)

    def close(self) -> None:
        """Closes the connections of its own."""
        if self._amqp is not None:
            self._amqp.close()
        elif self.apart:
            self._redis.close()


class _Amqp:
    """One connection to RabbitMQ, which threads use in turn."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: Any = app.connection_for_write()
        self._away_until = 0.0

    def waiting(self, queue: str) -> int:
        """Messages that wait in the queue, 0 if it is not there."""
        if not self._lock.acquire(timeout=_TURN):
            raise OperationalError("the broker does not answer another thread")
        try:
            if time.monotonic() < self._away_until:
                raise OperationalError("the broker did not answer a moment ago")
            return self._declared(queue)
        finally:
            self._lock.release()

    def _declared(self, queue: str) -> int:
        try:
            channel = self._connection.default_channel
            return int(channel.queue_declare(queue, passive=True).message_count)
        except self._connection.channel_errors:
            # The server closes the channel of who asks for a queue that is not there.
            self._renew()
            return 0
        except (*self._connection.connection_errors, OperationalError) as fault:
            self._renew()
            self._away_until = time.monotonic() + _AWAY
            raise OperationalError(str(fault)) from fault

    def _renew(self) -> None:
        # This sends nothing to a server that may not answer.
        self._connection.collect()
        self._connection = app.connection_for_write()

    def close(self) -> None:
        self._connection.release()
