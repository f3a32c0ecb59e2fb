"""`carillon dashboard-user`."""

import re
from typing import Annotated, Final

import typer

from worker.cli._faults import refuse
from worker.cli._secret_options import secret_given
from worker.cli._terminal import echo
from worker.cli.dashboard import Role, made_password

EPILOG = "Example: carillon dashboard-user mira --role operator"
_NAME: Final = re.compile(r"[^\s:,]{1,64}")
_SHORTEST: Final = 12


def dashboard_user(
    name: Annotated[str, typer.Argument(help="The user's name, as the audit log has it.")],
    role: Annotated[
        Role,
        typer.Option(help="viewer reads; operator also pauses, resumes, retries and restores; admin also drops."),
    ] = Role.VIEWER,
    password_file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A file with the password; - is standard input. Default: one is made."),
    ] = None,
) -> None:
    """Print a user's entry for CARILLON_DASHBOARD_USERS. It holds a hash; the password itself is kept nowhere."""
    from worker.dashboard.access import hash_password

    if not _NAME.fullmatch(name) or not name.isprintable():
        refuse("NAME: at most 64 characters without blanks, commas and colons")
    password = secret_given("--password", None, password_file)
    if password is None:
        password = made_password()
        echo(f"the password of {name}: {password}", err=True)
    elif len(password) < _SHORTEST:
        refuse(f"--password-file: the password has to have {_SHORTEST} characters or more")
    echo(f"{name}:{role.value}:{hash_password(password)}")
