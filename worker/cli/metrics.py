"""`carillon metrics`."""

import signal
import sys
from typing import Annotated

import typer

from worker.cli._ports import need_port


def metrics(
    serve: Annotated[bool, typer.Option("--serve", help="Serve them over HTTP until it is stopped.")] = False,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 9465,
    address: Annotated[str, typer.Option(help="Address to listen on. Whoever reaches it can read them.")] = "127.0.0.1",
) -> None:
    """Show what the whole system counts, in Prometheus' text form. One process of a system serves it: the dashboard does as well.

    Beside /metrics it serves /healthz, which is 503 while pushes are stopped or lost, /livez and /readyz.
    """
    from config.logs import set_up
    from config.settings import get_settings
    from worker.cli._engines import in_use, tell_part
    from worker.cli._terminal import echo
    from worker.embedded import attach
    from worker.metrics.http import Server
    from worker.metrics.shared import Target, addresses
    from worker.process.host import STOPS, Stop, check_files, disown_orphans, on_stop

    settings = get_settings()
    if not serve:
        with in_use() as urls:
            target = Target(addresses(settings, urls), apps=settings.metrics_apps)
            try:
                sys.stdout.write(target.pages()["/metrics"]().body.decode())
            finally:
                target.close()
        return
    need_port(address, port)
    check_files()
    disown_orphans()
    set_up(settings)
    tell_part()
    target = Target(addresses(settings, attach(settings)), apps=settings.metrics_apps)
    server = Server(target.pages(), address=address, port=port, ports=1).start()
    stop = Stop()
    on_stop(stop.heed, (*STOPS, signal.SIGINT))
    echo(f"the metrics are at {server.url}/metrics")
    while not stop.wait(3_600):
        pass
    server.close()
    target.close()
