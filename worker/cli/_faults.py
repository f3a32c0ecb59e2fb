"""How a command ends that fails: a sentence on standard error, an exit code, with `--json` an object too.

Exit codes: 1 an engine is away or something is wrong, 2 the input is wrong and nothing was changed, 130 stopped by Ctrl-C.
"""

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

import typer
from typer.exceptions import TyperException

from worker.cli._interrupt import interrupted
from worker.cli._terminal import echo, json_text, prose, shown

_PREFIX: Final = "carillon: "
#: Libraries of the engines, and what a fault of theirs is about.
_ENGINES: Final = {"psycopg": "Postgres", "psycopg_pool": "Postgres", "redis": "Redis", "kombu": "Redis"}


class CommandFault(TyperException):
    """Ends the command with this sentence and exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def refuse(fault: object) -> NoReturn:
    """Ends the command: the input is wrong, nothing was changed."""
    raise CommandFault(str(fault), 2)


def fail(fault: object) -> NoReturn:
    """Ends the command: an engine is away, or what was checked is not well."""
    raise CommandFault(str(fault), 1)


def check_arguments(arguments: Sequence[str]) -> None:
    """Raises `CommandFault` for an argument that is no text: neither JSON nor an engine can hold it."""
    for number, argument in enumerate(arguments, 1):
        if any(0xD800 <= ord(c) < 0xE000 for c in argument):
            refuse(f"argument {number} is not UTF-8 text: {argument}")


def tell(fault: BaseException, *, as_json: bool) -> int | None:
    """Prints what the fault means for a person; returns the exit code. None: it is a fault of ours, which needs its traceback."""
    if not isinstance(fault, SystemExit) and interrupted(fault):
        return 130
    if isinstance(fault, CommandFault):
        return _report(fault.message, fault.exit_code, as_json=as_json)
    if isinstance(fault, TyperException):
        return _usage(fault, as_json=as_json)
    if isinstance(fault, typer.Abort):
        return _report("stopped", 1, as_json=as_json)
    if isinstance(fault, SystemExit):
        if fault.code is None or isinstance(fault.code, int):
            return fault.code or 0
        return _report(str(fault.code).removeprefix(_PREFIX), 1, as_json=as_json)
    if (text := _sentence(fault)) is not None:
        return _report(text, 1, as_json=as_json)
    return None


def _usage(fault: TyperException, *, as_json: bool) -> int:
    from typer.rich_utils import rich_format_error

    if type(fault).__name__ == "NoArgsIsHelpError":  # its message is the help, unless Rich has printed that already
        echo(fault.message, err=True)
        text = "a command is missing"
    else:
        fault.message = shown(fault.message)
        rich_format_error(fault)  # type: ignore[arg-type] # it takes any that has a message
        text = fault.format_message()
    if as_json:
        _object(text, fault.exit_code)
    return fault.exit_code


def _report(text: str, code: int, *, as_json: bool) -> int:
    with suppress(OSError):  # nobody reads its output
        prose(f"{_PREFIX}{text}", err=True)
    if as_json:
        _object(text, code)
    return code


def _object(text: str, code: int) -> None:
    with suppress(OSError):  # standard output itself may be full, or closed
        echo(json_text({"error": text, "exit_code": code}))


def _sentence(fault: BaseException) -> str | None:
    from config.settings import SettingsError
    from worker.core.errors import UnfitError
    from worker.embedded import EngineError
    from worker.process.host import HostError
    from worker.reports.faults import sentence

    if isinstance(fault, SettingsError | EngineError | HostError | UnfitError):
        return str(fault)
    libraries = (kind.__module__.partition(".")[0] for kind in type(fault).__mro__)
    if (engine := next((_ENGINES[name] for name in libraries if name in _ENGINES), None)) is not None:
        return f"{engine}: {sentence(fault)}"
    if isinstance(fault, OSError):
        return _of_the_system(fault)
    if isinstance(fault, UnicodeError):
        return "what was given is not UTF-8 text"
    return None


def _of_the_system(fault: OSError) -> str:
    from config.settings import get_settings

    try:
        Path.cwd()
    except OSError:
        return "the current directory is not there any more: cd to another one"
    text = f"{fault.filename}: {fault.strerror}" if fault.filename else str(fault.strerror or fault)
    directory = str(get_settings().data_dir.absolute())
    if str(fault.filename).startswith(directory):
        text += (
            f"; the engines live in {directory}, which has to be a directory of yours: CARILLON_DATA_DIR names another"
        )
    return text


def be_printable() -> None:
    """A terminal with another character set shows missing characters spelt out, and the command goes on."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
