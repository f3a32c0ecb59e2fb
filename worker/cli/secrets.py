"""`carillon secrets`: the keys that encrypt what Carillon stores."""

from worker.cli._groups import group
from worker.cli._options import Json
from worker.cli._session import refuse, say, session
from worker.reports.words import counted

secrets = group("The keys that encrypt stored credentials.")


@secrets.callback()
def _secrets() -> None:
    pass


@secrets.command(epilog="Example: CARILLON_SECRET_KEYS=new,old carillon secrets rotate")
def rotate(as_json: Json = False) -> None:
    """Encrypt every credential again with the first key of CARILLON_SECRET_KEYS. The other keys are not needed then.

    1. Make a key: carillon secret-key. Put it FIRST in CARILLON_SECRET_KEYS, before the old one, and restart the workers.
    2. Run this. It changes all credentials, or none if one cannot be read.
    3. Take the old key out of CARILLON_SECRET_KEYS and restart the workers when it suits you.
    """
    from worker.database.vault import CredentialError

    with session() as runtime:
        try:
            changed = runtime.registry.rotate()
        except CredentialError as fault:
            refuse(fault)
    say({"rotated": changed}, f"{counted(changed, 'credential')} encrypted with the first key", as_json=as_json)
