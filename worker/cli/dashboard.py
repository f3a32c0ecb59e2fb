"""`carillon dashboard`."""

import signal
import sys
from typing import Annotated, Final

import typer

from worker.cli._ports import need_port

_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


def dashboard(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8800,
    address: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Run the dashboard: pages that say what is pushed, what is wrong, since when, and what to do."""
    import uvicorn

    from config.logs import set_up
    from config.settings import get_settings
    from worker.cli._engines import tell_part
    from worker.cli._terminal import echo
    from worker.dashboard.app import make_app
    from worker.dashboard.stores import Stores
    from worker.embedded import attach
    from worker.process.host import STOPS, check_files, disown_orphans

    check_files()
    disown_orphans()
    settings = get_settings()
    set_up(settings)
    if address not in _LOOPBACK:
        sys.exit("carillon: the dashboard listens on this machine only")
    tell_part()
    need_port(address, port)
    stores = Stores(settings, attach(settings))
    server = uvicorn.Server(
        uvicorn.Config(
            make_app(stores),
            host=address,
            port=port,
            access_log=False,
            log_config=None,
            log_level="warning",
            server_header=False,
        )
    )
    for each in STOPS:
        signal.signal(each, server.handle_exit)
    echo(f"the dashboard is at http://{address}:{port}")
    try:
        server.run()
    finally:
        stores.close()
