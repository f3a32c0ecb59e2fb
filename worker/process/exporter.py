"""The HTTP server of this process: its own metrics, and what probes ask. Off unless `CARILLON_METRICS_PORT` names a port."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from config.settings import Settings, get_settings
from worker.metrics.engines import Engines
from worker.metrics.figures import Figures
from worker.metrics.http import NoPortError, Page, Server
from worker.process import watchdog

log = logging.getLogger(__name__)

#: Seconds without a sign of life after which a part of a process counts as stuck.
STILL: Final = 60.0


class _Current:
    """This process's server and engines."""

    lock = threading.Lock()
    server: Server | None = None
    engines: Engines | None = None


def start(
    part: str,
    engines: Callable[[Settings], Engines],
    *,
    figures: Callable[[], Figures | None] = lambda: None,
    more: Callable[[], Mapping[str, Page]] = dict,
) -> str | None:
    """Serves until `stop`, on the first free port; returns the URL. None where no port is named or this process serves already.

    `part` of the system this process is. `more` pages, by path. No free port is logged, and the process works without.
    """
    settings = get_settings()
    with _Current.lock:
        if _Current.engines is None:
            _Current.engines = engines(settings)
        asked = _Current.engines
        if not settings.metrics_port or _Current.server is not None:
            return None
        # prometheus-client takes a twentieth of a second to import.
        from worker.metrics import pages  # noqa: PLC0415
        from worker.metrics.own import Own, registry  # noqa: PLC0415

        served = {
            "/metrics": pages.metrics(registry(Own(part, asked, figures))),
            "/livez": pages.checks(lambda: {"process": None} | watchdog.faults()),
            "/readyz": pages.checks(asked.faults),
        }
        served |= more()
        try:
            server = Server(served, address=settings.metrics_address, port=settings.metrics_port).start()
        except NoPortError as fault:
            log.error("no metrics of this process: %s", fault)
            return None
        _Current.server = server
        log.info("serves metrics and probes", extra={"part": part, "url": server.url})
        return server.url


def stop() -> None:
    """Frees the port; a later `start` serves again."""
    with _Current.lock:
        server, _Current.server = _Current.server, None
    if server is not None:
        server.close()


def moving(name: str, moved_at: Callable[[], float]) -> None:
    """Lets `/livez` and systemd's watchdog fail if something has not moved for long though the engines answer.

    `moved_at` is of the monotonic clock.
    """

    def fault() -> str | None:
        still = time.monotonic() - moved_at()
        if still < STILL or (_Current.engines is not None and any(_Current.engines.faults().values())):
            return None
        return f"has not moved for {still:.0f} s"

    watchdog.alive[name] = fault
