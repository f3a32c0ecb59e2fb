"""`carillon up`: the whole system on this machine, for development."""

import os
import shlex
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer

from worker.cli.dashboard import PASSWORD, USER
from worker.process.host import STOPS, Stop, on_stop

DEFAULT_PORT: Final = 5555
DASHBOARD_PORT: Final = 8800
METRICS_PORT: Final = 9465
#: Seconds for every part to come up before those that have not are named.
PATIENCE: Final = 60.0
_COLOURS: Final = {
    "urgent": "cyan",
    "bulk": "blue",
    "beat": "magenta",
    "flower": "yellow",
    "dashboard": "bright_blue",
    "simulate": "white",
    "carillon": "green",
}


def up(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Flower's port; by default 5555 or a free one.")] = 0,
    dashboard_port: Annotated[
        int, typer.Option(min=0, max=65535, help="The dashboard's port; by default 8800 or a free one.")
    ] = 0,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Tasks at once in each worker.")] = 8,
    simulator: Annotated[
        bool | None,
        typer.Option(
            "--simulator/--no-simulator",
            help="Run the simulators, and an app that pushes to them. Default: on embedded engines without an app.",
        ),
    ] = None,
) -> None:
    """Run the whole system for development: engines, migrations, workers, beat, Flower and the dashboard. Ctrl-C ends all of it.

    Engines are embedded unless CARILLON_REDIS_URL and CARILLON_POSTGRES_URL name others. Their data is in the nearest directory
    .carillon upwards from here, which is made here where there is none. A part that dies is started again.
    """
    from config.settings import get_settings
    from worker.cli import dashboard, flower
    from worker.cli._engines import tell
    from worker.cli._ports import need_port
    from worker.cli.migrate import prepared
    from worker.embedded import engines
    from worker.process.supervisor import Child, stop_all

    for wished in (port, dashboard_port):
        if wished:
            need_port("127.0.0.1", wished)
    stop = _stop_on_signals()
    settings = get_settings()
    ports = _Ports(
        port or _free_port(DEFAULT_PORT), dashboard_port or _free_port(DASHBOARD_PORT), _free_port(METRICS_PORT)
    )
    commands = _commands(ports, concurrency)
    say = _printer()
    with _alone(settings), engines(settings) as urls:
        tell(settings)
        for version in prepared(urls, settings):
            say("carillon", f"migration {version} applied")
        made = _Made(
            None if flower.configured() else flower.credentials(),
            None if dashboard.configured(settings) else dashboard.made_password(),
        )
        environ = _environ(settings, made)
        base = (sys.executable, "-P", "-m", "worker.cli._child")
        own, apps = _simulated(settings, urls, simulator)
        if own is not None:
            commands["simulate"] = own.command()
        page = None if own is None else _page(own, settings, urls)
        own_port = {"dashboard": {"CARILLON_METRICS_PORT": str(ports.metrics)}}
        children = [
            Child(name, [*base, *command], environ | own_port.get(name, {}), say) for name, command in commands.items()
        ]
        try:
            for child in children:
                child.start()
            shown = _shown(settings, urls)
            steps = next_steps(own, apps, settings)
            _tend(children, stop, lambda: _announce(say, shown, ports, made, own, page, steps))
        finally:
            say("carillon", "stopping")
            if page is not None:
                page.close()
            stop_all(children, settings.shutdown_timeout + 10)
    say("carillon", "stopped, nothing is left running")


class _Ports(NamedTuple):
    flower: int
    dashboard: int
    #: On which the dashboard's process exports the shared state.
    metrics: int


class _Made(NamedTuple):
    """What was made for this run, where the environment has none: Flower's user:password, and the dashboard's password."""

    flower: str | None
    dashboard: str | None


def _environ(settings: Any, made: _Made) -> dict[str, str]:
    """Of the parts: the same directory from whatever place, and lines as they are written."""
    environ = os.environ | {"CARILLON_DATA_DIR": str(settings.data_dir.absolute()), "PYTHONUNBUFFERED": "1"}
    if made.flower is not None:
        environ["FLOWER_BASIC_AUTH"] = made.flower
    if made.dashboard is not None:
        environ[PASSWORD] = made.dashboard
    root = str(Path(__file__).parents[2])
    environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return environ


@contextmanager
def _alone(settings: Any) -> Iterator[None]:
    """Ends the command where another `up` runs the same embedded engines: its workers would be doubled."""
    from worker.cli._faults import fail
    from worker.embedded.home import Home
    from worker.embedded.locks import FileLock

    if not settings.embedded:
        yield
        return
    home = Home.at(settings.data_dir)
    home.create()
    lock = FileLock(home.root / "up.lock")
    if not lock.try_exclusive():
        fail(
            f"carillon up runs already in {home.root}, and commands from here use it. More workers: carillon worker."
            " A second system: carillon up in a directory elsewhere"
        )
    try:
        yield
    finally:
        lock.release()


def _simulated(settings: Any, urls: Any, asked: bool | None) -> tuple[Any, bool]:
    """The simulators that are to run, with their app and providers made, or None; and whether there is an app."""
    from worker.cli import _own_simulator as own
    from worker.process.runtime import Runtime

    runtime = Runtime(settings, urls)
    try:
        found = None
        if asked or (asked is None and settings.embedded and own.wanted(runtime.registry)):
            found = own.prepared(settings.data_dir)
            found.connect(runtime)
        return found, bool(runtime.registry.apps())
    finally:
        runtime.close()


def _page(own: Any, settings: Any, urls: Any) -> Any:
    """The example page for Web Push, being served on a port that stays the same."""
    from worker.demo.page import Page
    from worker.demo.page_chat import PageChat
    from worker.embedded.ports import remembered

    return Page(PageChat(settings, urls), remembered(own.directory / "page.port"))


def next_steps(own: Any, apps: bool, settings: Any) -> list[str]:
    """What to do next, and lines of a shell to paste."""
    from worker.cli import _own_simulator as names

    if own is None and not apps:
        return ["Next, in another terminal:", "  carillon app create chat", "  carillon push apn --app chat"]
    if own is None:
        return ["Next, in another terminal: carillon doctor says what is missing"]
    same = "" if settings.embedded else ", with the same CARILLON_ variables"
    return [
        f"Next, your first push, to an iPhone that is simulated. In another terminal{same}:",
        *_to_the_command(settings),
        *(f"  {step}" for step in names.steps("hello")),
        "or all of it at once, with what an iPhone, an Android phone and a browser get: carillon first-push",
    ]


def _to_the_command(settings: Any) -> list[str]:
    """What a new terminal needs before it knows `carillon` and finds this system."""
    from config.settings import HOME

    home = settings.data_dir.absolute()
    found = home.name == HOME
    lines = [
        f"  cd {shlex.quote(str(home.parent))}" if found else f"  export CARILLON_DATA_DIR={shlex.quote(str(home))}"
    ]
    here = Path(sys.executable).parent
    if sys.prefix != sys.base_prefix:
        lines.append(f"  . {shlex.quote(str(here / 'activate'))}")
    return lines


def _commands(ports: _Ports, concurrency: int) -> dict[str, list[str]]:
    return {
        "urgent": ["worker", "--lane", "urgent", "--concurrency", str(concurrency)],
        "bulk": ["worker", "--lane", "bulk", "--concurrency", str(concurrency)],
        "beat": ["beat"],
        "flower": ["flower", "--port", str(ports.flower)],
        "dashboard": ["dashboard", "--port", str(ports.dashboard), "--role", "admin"],
    }


def _stop_on_signals() -> Stop:
    stop = Stop()
    on_stop(stop.heed, (*STOPS, signal.SIGINT))
    return stop


def _tend(children: list[Any], stop: Stop, announce: Any) -> None:
    """Until `stop`: keep the children alive; once every part has given a sign of life, announce it."""
    ready = threading.Thread(target=announce, daemon=True)
    ready.start()
    while not stop.wait(0.2):
        for child in children:
            child.tend()


def _shown(settings: Any, urls: Any) -> Any:
    """The addresses as they are printed: of engines that somebody configured without their passwords."""
    from worker.cli._secret_options import without_password
    from worker.embedded import Urls

    return Urls(
        urls.redis if settings.redis_url is None else without_password(urls.redis),
        urls.postgres if settings.postgres_url is None else without_password(urls.postgres),
    )


def _announce(say: Any, urls: Any, ports: _Ports, made: _Made, own: Any, page: Any, steps: list[str]) -> None:
    from worker.cli._checks import Plan, examine

    plan = Plan(
        lanes=["urgent", "bulk"],
        beat=True,
        engines=True,
        flower=f"http://127.0.0.1:{ports.flower}",
        dashboard=f"http://127.0.0.1:{ports.dashboard}",
    )
    began = time.monotonic()
    while faults := [*_deaf(own), *(finding for finding in examine(plan, timeout=5) if not finding.well)]:
        if time.monotonic() - began > PATIENCE:
            for finding in faults:
                say("carillon", f"{finding.part}: {finding.text}")
            began = time.monotonic()
        time.sleep(0.5)
    say("carillon", "everything is up")
    user, _, password = (made.flower or "").partition(":")
    known = f"user {user}, password {password}" if made.flower else "with the password that you set"
    say("carillon", f"Flower    http://127.0.0.1:{ports.flower}  {known}")
    known = f"user {USER}, password {made.dashboard}" if made.dashboard else "for the users that you set"
    say("carillon", f"Dashboard http://127.0.0.1:{ports.dashboard}  {known}")
    say("carillon", f"Metrics   http://127.0.0.1:{ports.metrics}/metrics  for Prometheus")
    say("carillon", f"Redis     {urls.redis}")
    say("carillon", f"Postgres  {urls.postgres}")
    if own is not None:
        for name, of_kind in zip(("APNs", "FCM", "Web Push"), own.ports.values(), strict=True):
            say("carillon", f"{name:<8}  https://127.0.0.1:{of_kind}  a simulator")
        say("carillon", f"CA        {own.directory / 'ca.pem'}  that of the simulators")
    if page is not None:
        say("carillon", f"Page      {page.url}  notifies the browser that opens it")
    say("carillon", "Ctrl-C ends all of it")
    say("", "\n".join(["", *steps, ""]))


def _deaf(own: Any) -> list[Any]:
    """The simulator, while it does not answer."""
    from worker.cli._checks import Finding

    if own is None:
        return []
    try:
        own.control("apns").counts()
    except (OSError, ValueError) as fault:
        return [Finding("simulator", False, f"does not answer: {fault}")]
    return []


def _printer() -> Any:
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False)

    def say(name: str, line: str) -> None:
        # Without a name the lines are for pasting.
        label = (f"{name:<8} ", _COLOURS.get(name, "")) if name else ("", "")
        console.print(Text.assemble(label, line))

    return say


def _free_port(wished: int) -> int:
    for port in (wished, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise SystemExit("carillon: no free port")
