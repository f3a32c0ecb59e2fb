"""The command `carillon`. Each module of this folder is a command, imported when it is used.

A module `do_this` holds a function, or a `typer.Typer` of subcommands, of its own name and becomes `carillon do-this`; a constant
`EPILOG` ends its help, `CONTEXT` holds its context settings. A module whose name begins with an underscore is no command.
"""

import gc
import sys
from typing import Final

from worker.carillon_command import INSTALL
from worker.cli._interrupt import interrupted
from worker.process import watchdog
from worker.process.host import is_service, take_signals

#: New objects after which the garbage collector runs. What a start imports stays: with Python's default of 700 a sixth of the
#: CPU of a start goes into looking at it.
YOUNG: Final = 10_000


def main() -> None:
    """The entry point; says what to install where the dependencies are missing."""
    gc.set_threshold(YOUNG)
    if is_service(sys.argv[1:]):
        take_signals()
        watchdog.start()
    try:
        try:
            import typer  # noqa: F401
        except ImportError:
            sys.exit(f"carillon: its dependencies are not installed: {INSTALL}")
        from worker.cli._commands import run

        run()
    except BaseException as fault:
        if not interrupted(fault):
            raise
        sys.exit(130)
