"""Finds the commands and runs one. Faults that a person can mend end it with a sentence, not a traceback."""

import importlib
import pkgutil
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from worker.cli import __path__ as _here

HELP = "Push fan-out for chat: every device that should ring, rings, once."


def names() -> list[str]:
    """Every command's name."""
    modules = (module.name for module in pkgutil.iter_modules(_here))
    return sorted(name.replace("_", "-") for name in modules if not name.startswith("_"))


def load(name: str) -> Any:
    """The command of that name, as Typer's click object."""
    attribute = name.replace("-", "_")
    module = importlib.import_module(f"worker.cli.{attribute}")
    found = getattr(module, attribute)
    if not isinstance(found, typer.Typer):
        single = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
        context = getattr(module, "CONTEXT", None)
        single.command(name, epilog=getattr(module, "EPILOG", None), context_settings=context)(found)
        found = single
    command = typer.main.get_command(found)
    command.name = name
    return command


class _Lazy(TyperGroup):
    """Imports a command's module when that command, or the list of all, is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return names()

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return load(cmd_name) if cmd_name in names() else None


# A rich traceback shows the values of variables: tokens and keys among them.
app = typer.Typer(cls=_Lazy, help=HELP, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def _root() -> None:
    pass


def run() -> None:
    """Run the command that the arguments name."""
    try:
        app()
    except Exception as fault:
        if _for_a_person(fault):
            sys.exit(f"carillon: {fault}")
        raise


def _for_a_person(fault: Exception) -> bool:
    from config.settings import SettingsError
    from worker.embedded import EngineError
    from worker.stores.redis import UnfitError

    return isinstance(fault, SettingsError | EngineError | UnfitError)
