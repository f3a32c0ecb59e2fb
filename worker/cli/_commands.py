"""Finds the commands and runs one. Faults that a person can correct end it with a sentence, not a traceback."""

import keyword
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from worker.cli import _groups
from worker.cli._faults import be_printable, check_arguments, tell

HELP = "Push fan-out for chat: every device that should get a push gets it once."
#: The commands by what they are for, in the order in which help shows them.
GROUPS: Final = {
    "Begin": ("up", "first-push", "demo", "simulate", "bench", "doctor", "version"),
    "Apps and providers": ("app", "push", "broadcast", "provider", "template", "secret-key", "secrets"),
    "Chat": ("publish", "why", "log", "tail", "member", "mute", "preferences", "quiet", "user", "devices"),
    "Run": (
        "engines",
        "migrate",
        "worker",
        "beat",
        "flower",
        "metrics",
        "dashboard",
        "dashboard-user",
        "health",
        "incidents",
        "backlog",
        "outbox",
        "dead-letters",
        "audit",
        "import",
        "fleet",
        "partitions",
    ),
}
_OTHER: Final = "More"
_FOLDER: Final = str(Path(__file__).parent)


def names() -> list[str]:
    """Every command's name."""
    modules = (module.name for module in pkgutil.iter_modules([_FOLDER]))
    return sorted(name.rstrip("_").replace("_", "-") for name in modules if not name.startswith("_"))


def group_of(name: str) -> str:
    """The heading under which help shows the command."""
    return next((group for group, commands in GROUPS.items() if name in commands), _OTHER)


def load(name: str) -> Any:
    """The command of that name, as Typer's click object."""
    attribute = name.replace("-", "_")
    if keyword.iskeyword(attribute):
        attribute += "_"
    command = _groups.load(name, f"worker.cli.{attribute}", attribute)
    command.rich_help_panel = group_of(name)
    return command


class _Root(_groups.Group):
    """Imports a command's module when that command, or the list of all, is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        there = names()
        listed = [name for group in GROUPS.values() for name in group if name in there]
        return [*listed, *(name for name in there if name not in listed)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return load(cmd_name) if cmd_name in names() else None

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Of plain help: Rich has the groups as frames."""
        for group in (*GROUPS, _OTHER):
            self.format_some(
                ctx, formatter, group, [name for name in self.list_commands(ctx) if group_of(name) == group]
            )

    def main(self, args: Sequence[str] | None = None, *positional: Any, **named: Any) -> Any:
        arguments = sys.argv[1:] if args is None else list(args)
        as_json = "--json" in arguments
        _groups.fit(self)
        try:
            check_arguments(arguments)
            code = super().main(arguments, *positional, **named | {"standalone_mode": False})
        except BaseException as fault:
            code = tell(fault, as_json=as_json)
            if code is None:
                raise
        sys.exit(code if isinstance(code, int) else 0)


# A rich traceback shows the values of variables: tokens and keys among them.
app = typer.Typer(
    cls=_Root,
    help=HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from worker.cli.version import version

        version()
        raise typer.Exit


@app.callback(epilog="carillon COMMAND -h explains a command. Begin with: carillon up")
def _root(
    _: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def run() -> None:
    """Run the command that the arguments name."""
    be_printable()
    app()
