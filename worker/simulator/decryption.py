"""What a browser or app does with a record that was encrypted for it: RFC 8291 over RFC 8188, of one record."""

import hmac
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

#: Octets before the record: salt, its size, length of the key id, key id.
HEAD: Final = 86
_TAG: Final = 16
_DELIMITER: Final = 2


class Receiver(NamedTuple):
    """Whom records are encrypted for."""

    private: ec.EllipticCurvePrivateKey
    public: bytes
    auth: bytes


class Unreadable(ValueError):
    """The receiver would throw this body away; the text says why."""


def sender_key(body: bytes) -> bytes:
    """The public key with which a body was encrypted."""
    return body[21:HEAD]


def decrypt(body: bytes, receiver: Receiver) -> bytes:
    """The plaintext. Raises `Unreadable`."""
    if len(body) < HEAD + 1 + _TAG:
        raise Unreadable("the body is too short")
    salt, size, length, point = body[:16], int.from_bytes(body[16:20], "big"), body[20], body[21:HEAD]
    if length != 65 or point[0] != 4:
        raise Unreadable("the key id is no uncompressed point")
    if len(body) - HEAD > size:
        raise Unreadable("there is more than one record")
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError as error:
        raise Unreadable("the key id is not on the curve") from error
    secret = receiver.private.exchange(ec.ECDH(), key)
    info = b"WebPush: info\x00" + receiver.public + point + b"\x01"
    material = hmac.digest(hmac.digest(receiver.auth, secret, "sha256"), info, "sha256")
    extracted = hmac.digest(salt, material, "sha256")
    cipher = AESGCM(hmac.digest(extracted, b"Content-Encoding: aes128gcm\x00\x01", "sha256")[:16])
    nonce = hmac.digest(extracted, b"Content-Encoding: nonce\x00\x01", "sha256")[:12]
    try:
        padded = cipher.decrypt(nonce, body[HEAD:], None).rstrip(b"\x00")
    except InvalidTag as error:
        raise Unreadable("the tag does not fit") from error
    if not padded or padded[-1] != _DELIMITER:
        raise Unreadable("the record is not the last one")
    return padded[:-1]
