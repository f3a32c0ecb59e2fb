"""`carillon secret-key`."""

from worker.cli._terminal import echo


def secret_key() -> None:
    """Make a key for CARILLON_SECRET_KEYS, which encrypts stored credentials. To rotate, put the new one first."""
    from config.secrets import generate_key

    echo(generate_key())
