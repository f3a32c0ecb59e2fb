"""Service accounts for the tests of FCM, as Google hands them out."""

import json
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import rsa

from worker.providers.fcm.service_account import ServiceAccount, read

PROJECT, EMAIL = "team-chat-1f2e3", "firebase-adminsdk-x1y2z@team-chat-1f2e3.iam.gserviceaccount.com"
KEY_ID = "0123456789abcdef0123456789abcdef01234567"


@cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def pem(key: Any, password: bytes | None = None) -> str:
    protection = ser.BestAvailableEncryption(password) if password else ser.NoEncryption()
    found: bytes = key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, protection)
    return found.decode()


def document(**changed: Any) -> dict[str, Any]:
    """A key file's content; what is changed to None is left out."""
    whole = {
        "type": "service_account",
        "project_id": PROJECT,
        "private_key_id": KEY_ID,
        "private_key": pem(rsa_key()),
        "client_email": EMAIL,
        "client_id": "100000000000000000000",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": "https://oauth2.googleapis.com/token",
        "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
        "client_x509_cert_url": "https://www.googleapis.com/robot/v1/metadata/x509/firebase-adminsdk",
        "universe_domain": "googleapis.com",
    }
    return {name: value for name, value in (whole | changed).items() if value is not None}


def key_file(**changed: Any) -> bytes:
    return json.dumps(document(**changed), indent=2).encode()


def account() -> ServiceAccount:
    return read(key_file())
