"""`carillon dashboard`."""

import secrets
import signal
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from worker.cli._ports import need_port
from worker.cli._terminal import echo

if TYPE_CHECKING:
    from config.settings import Settings
    from worker.dashboard.access import Access

EPILOG = "Example: carillon dashboard   (in a Procfile, as carillon worker, beat and flower)"
#: Of a password that is made for one run.
USER: Final = "carillon"
#: In the environment of a part that `carillon up` runs.
PASSWORD: Final = "_CARILLON_DASHBOARD_PASSWORD"


class Role(StrEnum):
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


def dashboard(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8800,
    address: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    role: Annotated[Role, typer.Option(help="Of the user whose password is made for this run.")] = Role.VIEWER,
) -> None:
    """Run the dashboard: pages that say what is pushed, what is wrong, since when, and what to do.

    CARILLON_DASHBOARD_USERS says who may come in. Without it, and on this machine only, a password is made and printed.
    """
    import uvicorn

    from config.logs import set_up
    from config.settings import get_settings
    from worker.cli._engines import tell_part
    from worker.dashboard.app import make_app
    from worker.dashboard.gate import LOOPBACK, Doors
    from worker.dashboard.stores import Stores
    from worker.embedded import attach
    from worker.metrics.engines import of_carillon
    from worker.metrics.shared import Target, addresses
    from worker.process import exporter
    from worker.process.host import STOPS, check_files, disown_orphans

    check_files()
    disown_orphans()
    settings = get_settings()
    set_up(settings)
    if address not in LOOPBACK and not configured(settings):
        sys.exit(
            f"carillon: on {address} the dashboard needs users that you know: set CARILLON_DASHBOARD_USERS to what"
            " carillon dashboard-user prints, or let a proxy sign them in with CARILLON_DASHBOARD_PROXY_HEADER"
        )
    tell_part()
    need_port(address, port)
    access = _access(settings, role)
    urls = attach(settings)
    stores = Stores(settings, urls)
    exporter.start(
        "dashboard",
        lambda _: of_carillon(urls.redis, urls.postgres),
        more=lambda: Target(addresses(settings, urls), apps=settings.metrics_apps).pages(),
    )
    doors = Doors(
        settings.dashboard_host, settings.dashboard_proxy_header, settings.dashboard_proxies, settings.dashboard_prefix
    )
    server = uvicorn.Server(
        uvicorn.Config(
            make_app(stores, access, doors, leaving=lambda: server.should_exit),
            host=address,
            port=port,
            # It would log queries, which hold ids of users.
            access_log=False,
            log_config=None,
            log_level="warning",
            server_header=False,
            # Who asks is what the connection says.
            proxy_headers=False,
            limit_concurrency=200,
            timeout_graceful_shutdown=3,
        )
    )
    for each in STOPS:
        signal.signal(each, server.handle_exit)
    echo(
        f"the dashboard is at http://{f'[{address}]' if ':' in address else address}:{port}{settings.dashboard_prefix}"
    )
    try:
        server.run()
    finally:
        exporter.stop()
        stores.close()


def configured(settings: "Settings") -> bool:
    """Whether the settings say who may come in."""
    return settings.dashboard_users is not None or bool(settings.dashboard_proxy_header and settings.dashboard_proxies)


def made_password() -> str:
    return secrets.token_urlsafe(18)


def _access(settings: "Settings", role: Role) -> "Access":
    import os

    from config.secrets import secret_keys
    from config.settings import SettingsError
    from worker.dashboard.access import Access, Account, hash_password, parse_users

    signing = None
    if settings.secret_keys is not None or settings.postgres_url is None:
        signing = secret_keys(settings)[0].encode()
    if configured(settings):
        given = settings.dashboard_users.get_secret_value() if settings.dashboard_users else ""
        try:
            return Access(parse_users(given), signing)
        except ValueError as fault:
            raise SettingsError(f"CARILLON_DASHBOARD_USERS: {fault}") from None
    password = os.environ.pop(PASSWORD, "")
    if not password:
        password = made_password()
        echo(f"the dashboard's password, made for this run: user {USER}, password {password}")
    return Access({USER: Account(role.value, hash_password(password))}, signing)
