"""Seals a message for one browser or app: RFC 8291, one record of RFC 8188. What is random comes in as arguments."""

import hmac
from collections.abc import Iterator
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from worker.core.receiver_keys import POINT, Keys

CURVE: Final = ec.SECP256R1()
#: Octets of a salt.
SALT: Final = 16
#: Octets of a body that every push service takes, and of what is in it beside the message.
_BODY: Final = 4_096
OVERHEAD: Final = 103
#: Octets of the longest message.
LONGEST: Final = _BODY - OVERHEAD
#: Octets of a record: more than the one of a body takes. Then how long the sender's key is.
_RECORD: Final = _BODY.to_bytes(4, "big") + bytes((POINT,))
#: After a message, in its last record.
_END: Final = b"\x02"


def salts(octets: bytes) -> Iterator[bytes]:
    """Random octets as salts, each for one message."""
    return (octets[start : start + SALT] for start in range(0, len(octets), SALT))


def seal(message: bytes, keys: Keys, private: ec.EllipticCurvePrivateKey, salt: bytes, pad: int = 0) -> bytes:
    """The record, `OVERHEAD` and `pad` octets longer than the message. The same key pair and salt may not be used twice."""
    if len(message) + pad > LONGEST:
        raise ValueError(f"message: {len(message) + pad} octets, at most {LONGEST} fit into one record")
    public = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    shared = private.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(CURVE, keys.p256dh))
    # HKDF (RFC 5869) by hand: three objects of the library take half as long again.
    information = b"WebPush: info\x00" + keys.p256dh + public
    material = _hmac(_hmac(keys.auth, shared), information + b"\x01")
    extracted = _hmac(salt, material)
    key = _hmac(extracted, b"Content-Encoding: aes128gcm\x00\x01")[:16]
    nonce = _hmac(extracted, b"Content-Encoding: nonce\x00\x01")[:12]
    return salt + _RECORD + public + AESGCM(key).encrypt(nonce, message + _END + bytes(pad), None)


def hidden(name: str, keys: Keys) -> str:
    """A name that only this device and its server know, as 16 hex digits, for what is sent without a seal."""
    return _hmac(keys.auth, name.encode()).hex()[:16]


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")
