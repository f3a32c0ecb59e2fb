"""`carillon beat`."""

import logging
import time
from collections.abc import Callable
from typing import Final

log = logging.getLogger(__name__)

#: What `carillon health --beat` looks for: set by every tick that beat sends.
PULSE: Final = "carillon:beat"
PULSE_SECONDS: Final = 30
_EVERY: Final = 2.0


def beat() -> None:
    """Run beat, which rings for what is due. One is enough; while it is away only retries and lost doorbells wait."""
    from celery import signals

    from config.settings import get_settings
    from worker.app import app, refuse_unusable
    from worker.cli._engines import tell_part
    from worker.embedded import attach_redis

    tell_part(postgres=False)
    refuse_unusable(keys=False)
    signals.after_task_publish.connect(_pulse(attach_redis(get_settings())), weak=False)
    app.start(["--quiet", "beat"])


def _pulse(redis_url: str) -> Callable[..., None]:
    import redis

    from worker.stores.redis import connect

    client = connect(redis_url)
    last = 0.0

    def pulse(**_: object) -> None:
        nonlocal last
        if time.monotonic() - last < _EVERY:
            return
        try:
            client.set(PULSE, 1, ex=PULSE_SECONDS)
            last = time.monotonic()
        except redis.RedisError as fault:
            log.warning("pulse not written", extra={"fault": type(fault).__name__})

    return pulse
