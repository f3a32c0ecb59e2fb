"""`carillon secret-key`."""

import typer


def secret_key() -> None:
    """Make a key for CARILLON_SECRET_KEYS, which encrypts stored credentials. To rotate, put the new one first."""
    from config.secrets import generate_key

    typer.echo(generate_key())
