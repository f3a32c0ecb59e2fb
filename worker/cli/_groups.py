"""Commands that have subcommands."""

import importlib
import shutil
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Final

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

#: More characters than any first sentence has.
_WHOLE: Final = 1_000
#: Columns from which help is in frames.
WIDE: Final = 80


class Group(TyperGroup):
    """Asks back about a mistyped subcommand. Its subcommands may be in modules that are imported when they are wanted."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Of plain help."""
        self.format_some(ctx, formatter, "Commands", self.list_commands(ctx))

    def format_some(self, ctx: Any, formatter: Any, heading: str, names: Sequence[str]) -> None:
        """The commands of these names, each with the whole first sentence of its help."""
        if names:
            with formatter.section(heading):
                commands: list[Any] = [self.get_command(ctx, name) for name in names]
                formatter.write_dl([(one.name, one.get_short_help_str(_WHOLE)) for one in commands])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        self.suggest_commands = False  # Typer's own knows only imported commands
        try:
            return super().resolve_command(ctx, args)
        except TyperException as fault:
            close = get_close_matches(args[0], self.list_commands(ctx), n=2)
            fault.message += f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
            raise


def group(text: str, *, cls: type[Group] = Group, bare: bool = False) -> typer.Typer:
    """A command of subcommands. `bare`: it does something without one too."""
    # A rich traceback would show the values of variables: tokens and keys among them.
    return typer.Typer(
        cls=cls,
        help=text,
        no_args_is_help=not bare,
        invoke_without_command=bare,
        pretty_exceptions_enable=False,
        add_completion=False,
    )


def load(name: str, path: str, attribute: str) -> Any:
    """The command of a module, as Typer's click object: a function, or a `typer.Typer` of subcommands."""
    module = importlib.import_module(path)
    found = getattr(module, attribute)
    if not isinstance(found, typer.Typer):
        single = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
        context = getattr(module, "CONTEXT", None)
        single.command(name, epilog=getattr(module, "EPILOG", None), context_settings=context)(found)
        found = single
    command = typer.main.get_command(found)
    command.name = name
    fit(command)
    return command


def fit(command: Any) -> None:
    """In a narrow terminal help is plain text: Rich's tables would cut the names of options."""
    if shutil.get_terminal_size().columns >= WIDE:
        return
    command.rich_markup_mode = None
    for each in getattr(command, "commands", {}).values():
        fit(each)
