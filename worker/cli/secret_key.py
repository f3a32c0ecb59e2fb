"""`carillon secret-key`."""

from worker.cli._options import Json
from worker.cli._terminal import echo, json_text


def secret_key(as_json: Json = False) -> None:
    """Make a key for CARILLON_SECRET_KEYS, which encrypts stored credentials. To rotate, put the new one first."""
    from config.secrets import generate_key

    key = generate_key()
    echo(json_text({"secret_key": key}) if as_json else key)
