"""`carillon push`: the ways out, to Apple and to webhooks, and trying them out."""

import importlib
import importlib.util
import sys
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from worker.cli._desk import app_named, desk, provider_named, refuse, say, table
from worker.reports import acts

#: Subcommands in modules of their own, imported when they are wanted: name -> module, attribute, its help's end.
_ELSEWHERE: Final = {
    "apn": ("worker.cli._apn", "apn"),
    "webhook": ("worker.cli._webhook", "webhook"),
    "test": ("worker.cli._push_test", "push_test"),
    "device": ("worker.cli.devices", "device"),
    "send": ("worker.cli._push_send", "send"),
}


class _Group(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        there = [name for name, (module, _) in _ELSEWHERE.items() if importlib.util.find_spec(module)]
        return sorted([*super().list_commands(ctx), *there])

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        own = super().get_command(ctx, cmd_name)
        if own is not None or cmd_name not in self.list_commands(ctx):
            return own
        path, attribute = _ELSEWHERE[cmd_name]
        module = importlib.import_module(path)
        found = getattr(module, attribute)
        if not isinstance(found, typer.Typer):
            single = typer.Typer(pretty_exceptions_enable=False, add_completion=False, context_settings=_HELP)
            single.command(cmd_name, epilog=getattr(module, "EPILOG", None))(found)
            found = single
        command = typer.main.get_command(found)
        command.name = cmd_name
        return command


_HELP: Final = {"help_option_names": ["-h", "--help"]}

push = typer.Typer(
    cls=_Group,
    context_settings=_HELP,
    no_args_is_help=True,
    help="Ways to Apple: store credentials, list and remove them, send a test push.",
)

App = Annotated[str | None, typer.Option(help="The app; may be left out where there is only one.")]
Json = Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")]


@push.callback()
def _push() -> None:
    pass


@push.command("list", epilog="Example: carillon push list --app chat --json", context_settings=_HELP)
def list_providers(
    app: Annotated[str | None, typer.Option(help="Only this app's.")] = None, as_json: Json = False
) -> None:
    """List the providers: what each is for, and when a certificate expires. Shows no secret."""
    from datetime import UTC, datetime

    from worker.apns.certificate import CertificateError, load
    from worker.cli._apn import described

    rows = []
    with desk() as runtime:
        only = None if app is None else app_named(runtime, app).name
        for one in runtime.registry.providers().values():
            if only not in (None, one.app):
                continue
            certificate = None
            if one.certificate is not None:
                try:
                    certificate = load(
                        one.certificate, one.certificate_password, now=datetime(1970, 1, 1, tzinfo=UTC), topic=one.topic
                    )
                except CertificateError:
                    certificate = None  # the doctor says what is wrong with it
            rows.append(described(one, certificate))
    table(rows, as_json=as_json, empty="there is no provider yet; make one with: carillon push apn")


@push.command(epilog="Example: carillon push remove apns-sandbox --app chat --yes", context_settings=_HELP)
def remove(
    name: Annotated[str, typer.Argument(help="The provider's name.")],
    app: App = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Remove a provider: its credential and its templates go at once, its devices are skipped from then on.

    They stay registered, and ring again when a provider of that name is stored.
    """
    with desk() as runtime:
        of_app = app_named(runtime, app).name
        provider = provider_named(runtime, of_app, name)
        if not yes:
            if not sys.stdin.isatty():
                refuse("--yes: needed where nobody can be asked")
            devices = runtime.registry.devices_of(provider.id)
            question = f"Remove {name!r} ({provider.topic}, {provider.environment})? {devices:,} devices stop ringing"
            typer.confirm(question, abort=True, err=True)
        runtime.registry.remove_provider(of_app, name)
        acts.tell(runtime.redis, "provider removed", app=of_app, provider=name)
    say({"removed": name, "app": of_app}, f"removed: provider {name!r} of app {of_app!r}", as_json=as_json)
