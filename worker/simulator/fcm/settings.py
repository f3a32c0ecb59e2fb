"""What an FCM simulator is."""

import json
from pathlib import Path
from typing import Self

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from worker.simulator.script import Script
from worker.simulator.settings import CommonSettings


class Account(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A service account that the token endpoint knows."""

    client_email: str
    key_id: str
    #: The public key, or the private one of the account's file, in PEM. Only the public part is kept.
    pem: str
    #: The only project that it may send for; None: any.
    project: str | None = None

    def __post_init__(self) -> None:
        public = public_key(self.pem).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        msgspec.structs.force_setattr(self, "pem", public.decode())

    @classmethod
    def read(cls, path: str) -> Self:
        """From the JSON file of a service account. Raises ValueError, or OSError."""
        document = json.loads(Path(path).read_text())
        try:
            names = ("client_email", "private_key_id", "private_key", "project_id")
            return cls(*[document[name] for name in names])
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} is not the file of a service account: it has no {error}") from error


def public_key(pem: str) -> rsa.RSAPublicKey:
    """The public key of a private or public RSA key in PEM. Raises ValueError."""
    octets = pem.encode()
    public = load_pem_private_key(octets, None).public_key() if "PRIVATE KEY" in pem else load_pem_public_key(octets)
    if not isinstance(public, rsa.RSAPublicKey):
        raise ValueError("the key is not an RSA key")  # noqa: TRY004 - what every unusable key raises
    return public


class FcmSettings(CommonSettings, frozen=True, kw_only=True, tag="fcm"):
    """What is Google's beside `CommonSettings`."""

    #: Accounts whose assertions are valid; empty: every well-formed assertion is.
    accounts: tuple[Account, ...] = ()
    #: Access tokens that are good without the token endpoint; and seconds that those of the endpoint live.
    bearers: tuple[str, ...] = ()
    token_life: int = 3600
    #: `expires_in` is a text, as Google's own library has seen it.
    life_as_text: bool = False
    #: How the token endpoint answers; `token` of a rule is the account's e-mail address.
    oauth: Script = Script()
    #: Messages that a project may send in a minute, and a device get in a minute and in an hour; None: any number.
    project_minute: int | None = None
    device_minute: int | None = None
    device_hour: int | None = None
    #: Of the documents of a sender that is known, every n-th is judged whole; of the others only the token is read.
    check_every: int = 1
    idle: float | None = 180.0
    most_pings: int | None = 2
    most_refused: int | None = 0
    protocols: tuple[str, ...] = ("h2", "http/1.1")
