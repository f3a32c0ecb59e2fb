"""`carillon provider`."""

import time
from typing import Annotated

import typer

from worker.cli._desk import app_named, desk, provider_named, providers_of, say

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
    with desk() as runtime:
        breaker, known = runtime.breaker, providers_of(runtime, app_named(runtime, app).name)
        states = {name: (one, breaker.stopped(one.id)) for name, one in sorted(known.items())}
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
    words = []
    for row in rows:
        state = "flows" if row["flows"] else f"{'paused' if row['by_hand'] else 'stopped'}: {row['reason']}"
        words.append(f"{row['name']:<24} {row['environment']:<12} {state}")
    say(rows, "\n".join(words), as_json=as_json)


@provider.command(epilog="Example: carillon provider pause apns --app demo --reason 'new key on Monday'")
def pause(
    name: Annotated[str, typer.Argument(help="The provider.")],
    app: App,
    reason: Annotated[str, typer.Option(help="What `list` shows.")] = "paused",
    as_json: Json = False,
) -> None:
    """Send nothing through a provider until it is resumed."""
    with desk() as runtime:
        chosen = provider_named(runtime, app_named(runtime, app).name, name)
        runtime.breaker.stop(chosen.id, reason, time.time(), manual=True)
    words = f"{name} is paused. Resume it: carillon provider resume {name} --app {app}"
    say({"paused": name}, words, as_json=as_json)


@provider.command(epilog="Example: carillon provider resume apns --app demo")
def resume(name: Annotated[str, typer.Argument(help="The provider.")], app: App, as_json: Json = False) -> None:
    """Let a provider flow again, whoever stopped it. What waited goes out within seconds."""
    with desk() as runtime:
        chosen = provider_named(runtime, app_named(runtime, app).name, name)
        was_stopped = runtime.breaker.resume(chosen.id, by_hand=True)
        runtime.journal.wake(chosen.id)
    words = f"{name} flows again." if was_stopped else f"{name} was flowing already."
    say({"resumed": name, "was_stopped": was_stopped}, words, as_json=as_json)
