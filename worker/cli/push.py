"""`carillon push`: the ways out, to Apple and to webhooks, and trying them out."""

import sys
from typing import Annotated, Any, Final

import typer

from worker.cli._groups import Group, group, load
from worker.cli._options import App, Json, OnlyApp, ProviderName
from worker.cli._session import about, app_named, provider_named, refuse, say, session, table
from worker.process.by_hand import by_hand, changes
from worker.process.host import at_terminal
from worker.reports.words import counted

#: Subcommands in modules of their own, imported when they are wanted: name -> module, attribute, its help's end.
_ELSEWHERE: Final = {
    "test": ("worker.cli._push_test", "push_test"),
    "device": ("worker.cli.devices", "device"),
    "send": ("worker.cli._push_send", "send"),
    "scheduled": ("worker.cli._scheduled", "scheduled"),
    "cancel": ("worker.cli._cancel", "cancel"),
}


#: Keys of the list as JSON, whatever kinds there are; what else a kind has to say follows.
_COLUMNS: Final = ("kind", "bundle_id", "environment", "key_id", "team_id", "expires", "host")


class _Push(Group):
    def list_commands(self, ctx: Any) -> list[str]:
        return sorted([*super().list_commands(ctx), *_elsewhere()])

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        own = super().get_command(ctx, cmd_name)
        if own is not None or cmd_name not in (elsewhere := _elsewhere()):
            return own
        return load(cmd_name, *elsewhere[cmd_name])


def _elsewhere() -> dict[str, tuple[str, str]]:
    """The module of a command that stores a provider is named for the command."""
    from worker.providers.kinds import KINDS

    stores = (kind.words.command for kind in KINDS.values())
    return _ELSEWHERE | {command: (f"worker.cli._{command}", command) for command in stores}


push = group("Ways out, to Apple and to webhooks: store credentials, list and remove them, send a push.", cls=_Push)


@push.callback()
def _push() -> None:
    pass


@push.command("list", epilog="Example: carillon push list --app chat --json")
def list_providers(app: OnlyApp = None, as_json: Json = False) -> None:
    """List the providers: what each is for, and when a certificate expires. --json has the rest. Shows no secret."""
    from worker.providers.kinds import commands, kind_of

    with session() as runtime:
        only = None if app is None else app_named(runtime, app).name
        found = [one for one in runtime.registry.providers().values() if only in (None, one.app)]
        described = [kind_of(one).describe(one) for one in found]
        words = {one.id: kind_of(one).about(one) for one in found}
    if as_json:
        columns = dict.fromkeys([*_COLUMNS, *(name for each in described for name in each)])
    else:
        columns = dict.fromkeys(("kind", "for", "expires", "host"))
        described = [each | {"for": words[one.id]} for one, each in zip(found, described, strict=True)]
    rows = [
        {"app": one.app, "name": one.name} | {column: each.get(column) for column in columns}
        for one, each in zip(found, described, strict=True)
    ]
    table(rows, as_json=as_json, empty=f"there is no provider yet; make one with: {commands()}")


@push.command(epilog="Example: carillon push remove apns-sandbox --app chat --yes")
def remove(
    name: ProviderName,
    app: App = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Remove a provider: its credential and templates are deleted at once, and its devices are skipped from then on.

    The devices stay registered, and get pushes again when a provider of that name is stored.
    """
    from worker.providers.kinds import kind_of

    with session() as runtime:
        of_app = app_named(runtime, app).name
        provider = provider_named(runtime, of_app, name)
        if not yes:
            if not at_terminal(sys.stdin):
                refuse("--yes: needed where nobody can be asked")
            devices = runtime.registry.devices_of(provider.id)
            question = f"Remove {name!r} ({about(provider)})? {counted(devices, 'device')} would get no more pushes"
            typer.confirm(question, abort=True, err=True)
        with by_hand(runtime) as hand:
            hand.runtime.registry.remove_provider(of_app, name)
            was = kind_of(provider).describe(provider)
            hand.record("provider removed", app=of_app, provider=name, detail=changes(was, {}))
    say({"removed": name, "app": of_app}, f"removed: provider {name!r} of app {of_app!r}", as_json=as_json)
