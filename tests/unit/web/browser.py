"""A browser's side: a subscription, and the private key that decrypts what is sent to it."""

import hmac
import os
from base64 import urlsafe_b64encode
from typing import Any, Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from worker.core.receiver_keys import Keys, pack

CURVE: Final = ec.SECP256R1()
GOOGLE: Final = "https://fcm.googleapis.com/fcm/send/abc:def"
MOZILLA: Final = "https://updates.push.services.mozilla.com/wpush/v2/gAAAA"
APPLE: Final = "https://web.push.apple.com/QAbc"
MICROSOFT: Final = "https://wns2-par02p.notify.windows.com/w/?token=BQ%2bYAAAA%3d%3d"


class Browser(NamedTuple):
    private: ec.EllipticCurvePrivateKey
    keys: Keys

    @property
    def packed(self) -> str:
        return pack(self.keys)

    def read(self, body: bytes) -> bytes:
        """The message in a body. Written for these tests, from RFC 8291 alone."""
        salt, record, length, public, text = body[:16], body[16:20], body[20], body[21:86], body[86:]
        assert (int.from_bytes(record, "big"), length) == (4096, 65)
        shared = self.private.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(CURVE, public))
        prk_key = hmac.digest(self.keys.auth, shared, "sha256")
        ikm = hmac.digest(prk_key, b"WebPush: info\0" + self.keys.p256dh + public + b"\1", "sha256")
        prk = hmac.digest(salt, ikm, "sha256")
        key = hmac.digest(prk, b"Content-Encoding: aes128gcm\0\1", "sha256")[:16]
        nonce = hmac.digest(prk, b"Content-Encoding: nonce\0\1", "sha256")[:12]
        padded = AESGCM(key).decrypt(nonce, text, None)
        message = padded.rstrip(b"\0")
        assert message[-1:] == b"\2", "the last record"
        return message[:-1]

    def subscription(self, endpoint: str = GOOGLE) -> dict[str, Any]:
        """As `JSON.stringify` writes it."""
        keys = {"p256dh": base64url(self.keys.p256dh), "auth": base64url(self.keys.auth)}
        return {"endpoint": endpoint, "expirationTime": None, "keys": keys}


def new_browser() -> Browser:
    private = ec.generate_private_key(CURVE)
    return Browser(private, Keys(point(private), os.urandom(16)))


def point(private: ec.EllipticCurvePrivateKey) -> bytes:
    return private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def base64url(octets: bytes) -> str:
    return urlsafe_b64encode(octets).decode().rstrip("=")
