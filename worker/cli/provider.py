"""`carillon provider`."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from worker.core.model import Provider
    from worker.stores.breaker import Breaker

provider = typer.Typer(
    help="See which providers flow, and stop or start one. What waits meanwhile is kept, until it is too old.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

App = Annotated[str, typer.Option("--app", "-a", help="The app.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document instead of words.")]


@provider.command("list", epilog="Example: carillon provider list --app demo")
def list_(app: App, as_json: Json = False) -> None:
    """Every provider of an app, and whether it flows."""
    with _opened(app) as (providers, breaker):
        states = {name: (one, breaker.stopped(one.id)) for name, one in sorted(providers.items())}
    rows = [
        {
            "name": name,
            "environment": one.environment,
            "flows": stopped is None,
            "reason": stopped and stopped.reason,
            "since": stopped and stopped.since,
            "by_hand": bool(stopped and stopped.manual),
        }
        for name, (one, stopped) in states.items()
    ]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        state = "flows" if row["flows"] else f"{'paused' if row['by_hand'] else 'stopped'}: {row['reason']}"
        typer.echo(f"{row['name']:<24} {row['environment']:<12} {state}")


@provider.command(epilog="Example: carillon provider pause apns --app demo --reason 'new key on Monday'")
def pause(
    name: Annotated[str, typer.Argument(help="The provider.")],
    app: App,
    reason: Annotated[str, typer.Option(help="What `list` shows.")] = "paused",
    as_json: Json = False,
) -> None:
    """Send nothing through a provider until it is resumed."""
    with _opened(app) as (providers, breaker):
        breaker.stop(_named(providers, app, name).id, reason, time.time(), manual=True)
    words = f"{name} is paused. Resume it: carillon provider resume {name} --app {app}"
    typer.echo(json.dumps({"paused": name}) if as_json else words)


@provider.command(epilog="Example: carillon provider resume apns --app demo")
def resume(name: Annotated[str, typer.Argument(help="The provider.")], app: App, as_json: Json = False) -> None:
    """Let a provider flow again, whoever stopped it. What waited goes out within seconds."""
    with _opened(app) as (providers, breaker):
        was_stopped = breaker.resume(_named(providers, app, name).id)
    if as_json:
        typer.echo(json.dumps({"resumed": name, "was_stopped": was_stopped}))
    else:
        typer.echo(f"{name} flows again." if was_stopped else f"{name} was flowing already.")


@contextmanager
def _opened(app: str) -> "Iterator[tuple[dict[str, Provider], Breaker]]":
    """The app's providers by name, and the breaker."""
    from config.settings import get_settings
    from worker.embedded import engines
    from worker.runtime import Runtime
    from worker.stores.breaker import Breaker

    settings = get_settings()
    with engines(settings) as urls:
        runtime = Runtime(settings, urls)
        try:
            if app not in runtime.registry.apps():
                _refuse(f"there is no app {app!r}")
            every = runtime.registry.providers().values()
            yield {one.name: one for one in every if one.app == app}, Breaker(runtime.redis)
        finally:
            runtime.close()


def _named(providers: "dict[str, Provider]", app: str, name: str) -> "Provider":
    if name not in providers:
        _refuse(f"app {app!r} has no provider {name!r}; it has: {', '.join(sorted(providers)) or 'none'}")
    return providers[name]


def _refuse(text: str) -> NoReturn:
    typer.echo(f"carillon: {text}", err=True)
    sys.exit(2)
