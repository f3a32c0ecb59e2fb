"""The keys that encrypt stored credentials: from the settings, or generated once in the data directory of embedded engines."""

import base64
import binascii
import os
from typing import Final

from config.private import check_directory, make_directory, read_private, write_private_once
from config.settings import Settings, SettingsError, variable

FILE: Final = "secret.keys"
ADVICE: Final = "make one with: carillon secret-key"


def generate_key() -> str:
    """A new Fernet key: 32 random bytes in URL-safe base64."""
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


def secret_keys(settings: Settings) -> tuple[str, ...]:
    """The Fernet keys, newest first, or `SettingsError`.

    With an embedded PostgreSQL and no keys in the settings, one key is generated and kept in `data_dir`, readable by its owner
    only. A configured database needs configured keys: a key that is lost with a container makes every credential unreadable.
    """
    if settings.secret_keys is not None:
        return _checked(settings.secret_keys.get_secret_value(), variable("secret_keys"))
    if settings.postgres_url is not None:
        raise SettingsError(f"{variable('secret_keys')}: needed beside {variable('postgres_url')}; {ADVICE}")
    make_directory(settings.data_dir, 0o700)
    check_directory(settings.data_dir)
    file = settings.data_dir / FILE
    if not file.exists():
        write_private_once(file, generate_key() + "\n")
    return _checked(read_private(file), str(file))


def _checked(text: str, source: str) -> tuple[str, ...]:
    keys = tuple(text.replace(",", " ").split())
    if not keys:
        raise SettingsError(f"{source}: holds no key; {ADVICE}")
    for number, key in enumerate(keys, 1):
        try:
            size = len(base64.b64decode(key, altchars=b"-_", validate=True))
        except (binascii.Error, ValueError):
            size = 0
        if size != 32:  # the key itself stays out of the message
            raise SettingsError(f"{source}: key {number} is not a Fernet key; {ADVICE}")
    return keys
