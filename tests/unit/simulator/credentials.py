"""A sender's credentials, and what the simulator knows of them."""

import time

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from worker.simulator import Key

TEAM, KEY_ID, TOPIC = "TEAM000001", "KEY0000001", "org.example.chat"


def new_pem() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


PEM = new_pem()
KEY = Key(KEY_ID, TEAM, PEM)


def provider_token(*, age: float = 10, pem: str = PEM, kid: str = KEY_ID, iss: str = TEAM, now: float = 0) -> str:
    claims = {"iss": iss, "iat": int((now or time.time()) - age)}
    return jwt.encode(claims, pem, algorithm="ES256", headers={"kid": kid})
