"""`carillon app`: the apps of this system and their settings."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec
import typer

from config import zones
from worker.cli._app_settings import with_settings
from worker.cli._asking import Asker
from worker.cli._events import outcomes
from worker.cli._faults import fail
from worker.cli._groups import group
from worker.cli._options import AppName, Json, duration
from worker.cli._session import Row, about, app_named, providers_of, refuse, say, session, table
from worker.core.model import AppSettings, changed, listed
from worker.core.quiet import always_quiet
from worker.database import delete_app
from worker.facts.quiet import DEVICE, check_zone, default_of
from worker.pipeline.forgetting import DeletedApp, delete_app_data, give_work_up, in_use
from worker.process.by_hand import by_hand
from worker.process.host import at_terminal
from worker.process.runtime import Runtime
from worker.providers.base import SettingsError
from worker.providers.kinds import commands, kind_of
from worker.reports.words import window

app = group(
    "Apps: each has its own settings, providers, devices and templates. Running workers see a change within seconds."
)


@app.command(epilog="Example: carillon app create chat --member-cap none")
@with_settings
def create(name: AppName, as_json: Json = False, **given: Any) -> None:
    """Create an app. Settings that are not given have their defaults. Without any it asks, in a terminal, for the usual ones."""
    _check_name(name)
    if not given and not as_json and at_terminal(sys.stdin):
        given = _asked()
    made = _with(AppSettings(name), given)
    with session() as runtime, by_hand(runtime) as hand:
        if not hand.create_app(made):
            refuse(f"app {name!r} is there already; change it with: carillon app set {name}")
    say(
        listed(made),
        f"app {name!r} created; next, its way to Apple or to your own API: {commands(name)}",
        as_json=as_json,
    )


@app.command("set", epilog="Example: carillon app set chat --no-push")
@with_settings
def change(name: AppName, as_json: Json = False, **given: Any) -> None:
    """Change settings of an app. Running workers follow within seconds."""
    if not given:
        refuse("nothing to change; carillon app set --help lists the settings")
    with session() as runtime:
        before = app_named(runtime, name)
        settings = _with(before, given)
        with by_hand(runtime) as hand:
            hand.change_app(before, settings)
        if not settings.keep_recent:
            _forget_recent(runtime, name)
    now = ", ".join(f"{key} {_word(value)}" for key, value in given.items())
    say(listed(settings), f"app {name!r}: {now}", as_json=as_json)


@app.command("list", epilog="Example: carillon app list --json")
def list_apps(as_json: Json = False) -> None:
    """List the apps with their most wanted figures."""
    with session() as runtime:
        apps, providers = runtime.registry.apps(), runtime.registry.providers().values()
    rows: list[Row] = [
        {
            "app": one.name,
            "push": one.push_enabled,
            "providers": ", ".join(p.name for p in providers if p.app == one.name) or None,
            "member_cap": one.member_cap,
            "device_cap": one.device_cap,
        }
        for one in sorted(apps.values(), key=lambda one: one.name)
    ]
    table(rows, as_json=as_json, empty="there is no app yet; make one with: carillon app create NAME")


@app.command(epilog="Example: carillon app show chat")
def show(name: AppName, as_json: Json = False) -> None:
    """Show an app's settings, its providers, its counts and its latest errors."""
    with session() as runtime:
        settings = app_named(runtime, name)
        shown: Row = {
            "settings": listed(settings),
            "providers": [
                {
                    "name": p.name,
                    "kind": p.kind,
                    "bundle_id": kind_of(p).describe(p).get("bundle_id"),
                    "environment": kind_of(p).environment(p),
                    "about": about(p),
                }
                for p in providers_of(runtime, name).values()
            ],
            "counts": dict(sorted(_counts(runtime, name).items())),
            "errors": [
                {"event": one.letter.event_id, "error": one.letter.error}
                for one in runtime.ledger.dead_letters(limit=10, app=name)
            ],
        }
    say(shown, _text(shown), as_json=as_json)


@app.command(epilog="Example: carillon app delete chat --yes")
def delete(
    name: AppName,
    force: Annotated[
        bool, typer.Option("--force", help="Also while messages of it come or wait; these are lost.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    wait: Annotated[float, duration(0, 600, "Seconds to wait until workers have given up what they had of it.")] = 30.0,
    as_json: Json = False,
) -> None:
    """Delete an app with everything that is stored of it: settings, providers, devices, messages, counters, keys in Redis.

    It is refused while messages of it come or wait. If it is interrupted, run it again.
    """
    with session() as runtime:
        known = name in runtime.registry.apps()
        with runtime.pool.connection() as db:
            if not known and not delete_app.is_there(db, name):
                refuse(f"no app {name!r}, and nothing is left of one")
        why = in_use(runtime.keyspace, runtime.pool, name) if known and not force else None
        if why is not None:
            refuse(f"app {name!r} is in use: {why}. Stop publishing for it, or say --force")
        if not yes:
            if not at_terminal(sys.stdin):
                refuse("--yes: needed where nobody can be asked")
            typer.confirm(f"Delete app {name!r} with its devices and everything else?", abort=True, err=True)
        with by_hand(runtime) as hand:
            hand.delete_app(name)
        with runtime.pool.connection() as db:
            providers = delete_app.providers_before(db, name)
        given_up = give_work_up(runtime.keyspace, runtime.pool, name, wait)
        found = delete_app_data(runtime.pool, runtime.keyspace, name, providers)
    say({"app": name, "given_up": given_up, **found._asdict()}, _deleted(name, found), as_json=as_json)
    if not given_up:
        fail("some of its work still waits for a worker: start one, and run the command again")


def _deleted(name: str, found: DeletedApp) -> str:
    lines = [f"app {name!r} is deleted"]
    lines += [f"  {table}: {n:,}" for table, n in found.postgres.items()]
    lines += [f"  {family} (Redis): {n:,}" for family, n in found.redis.items()]
    return "\n".join(lines)


def _text(shown: Row) -> str:
    lines = [f"{key}: {_word(value)}" for key, value in shown["settings"].items()]
    lines += ["", "providers:"]
    lines += [f"  {p['name']}: {p['about']}" for p in shown["providers"]] or ["  none"]
    lines += ["", "counts since the beginning:"]
    lines += [f"  {key}: {value:,}" for key, value in shown["counts"].items()] or ["  nothing happened yet"]
    lines += ["", "latest events that could not be processed:"]
    lines += [f"  {one['event'] or '(no id)'}: {one['error']}" for one in shown["errors"]] or ["  none"]
    return "\n".join(lines)


def _asked() -> dict[str, Any]:
    """What most chats want, if the person at the terminal does: it is no default, so that a script makes what it did before."""
    asker = Asker(interactive=True, bare=True)
    asker.tell("Press Enter for what the guide recommends: docs/presence.md, docs/quieter-phones.md.")
    delay = asker.word(
        "--online-delay",
        None,
        "Seconds until who is at a desktop is notified of what they have not read; never: not at all",
        _number_or_never("--online-delay", 600),
        default="30",
    )
    sound = asker.word(
        "--sound-every",
        None,
        "Seconds in which one channel makes one sound; never: each message makes one",
        _number_or_never("--sound-every", 600),
        default="15",
    )
    given: dict[str, Any] = {} if delay is None else {"online_delay": delay, "present": "active"}
    return given if sound is None else given | {"sound_every": sound}


def _number_or_never(what: str, largest: int) -> Callable[[str], int | None]:
    def check(word: str) -> int | None:
        if word and "never".startswith(word.lower()):
            return None
        if word.isdecimal() and 1 <= int(word) <= largest:
            return int(word)
        raise SettingsError(f"{what}: {word!r} is neither never nor a whole number from 1 to {largest}")

    return check


def _with(app: AppSettings, given: Mapping[str, Any]) -> AppSettings:
    try:
        made = changed(app, **given)
    except msgspec.ValidationError as fault:
        refuse(f"a setting cannot be that: {fault}")
    delay = made.attention.online_delay
    if delay is not None and delay >= made.max_age:
        refuse(f"--online-delay {delay}: has to be below --max-age, which is {made.max_age} s, or nobody is notified")
    if made.attention.fold_every is not None and made.fold_after is None:
        refuse("--fold-every: needs --fold-after, the messages after which a channel is folded")
    if made.attention.quiet and made.attention.quiet_zone is None:
        refuse("--quiet: needs --quiet-zone, a time zone such as Europe/Berlin, or device")
    if made.attention.quiet_zone not in (None, DEVICE):
        with outcomes():
            check_zone(made.attention.quiet_zone, "--quiet-zone")
    default = default_of(made.attention, zones.UTC)
    if default is not None and default.hours is not None and always_quiet(default.hours, time.time()):
        refuse(
            "--quiet: these windows have no end, so nobody without a row ever gets a push; for none at all say --no-push"
        )
    return made


def _check_name(name: str) -> None:
    if not 0 < len(name) <= 255 or ":" in name or not name.isprintable():
        refuse("the app's name has 1 to 255 characters, none of them a colon or a control character")


def _word(value: object) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(_word, value)) or "none"
    if isinstance(value, Mapping) and "from" in value:
        return window(value)
    if isinstance(value, Mapping):
        return " ".join(f"{key or 'any'}={_word(one)}" for key, one in value.items()) or "none"
    return "none" if value is None else "on" if value is True else "off" if value is False else str(value)


def _forget_recent(runtime: Runtime, name: str) -> None:
    import time

    from worker.state import recent

    for of in runtime.keyspace.all_of(name):
        recent.forget(of, name, now=time.time())


def _counts(runtime: Runtime, name: str) -> Counter[str]:
    """Of all of its partitions."""
    return sum((Counter(of.journal.counts(name)) for of in runtime.all_of(name)), Counter[str]())
