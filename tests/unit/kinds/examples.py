"""What the suite of kinds has to know of each: settings that are right and wrong, tokens, and an answer that retires."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, NamedTuple

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption

from tests.integration.pipeline.keys import new_key
from tests.unit.apns.push_certificates import p12, push_certificate
from tests.unit.fcm.key_files import account, pem, rsa_key
from tests.unit.kinds.toy.kind import ToySettings
from worker.core.model import Answer
from worker.providers.apns.settings import P12, ApnsSettings, Key
from worker.providers.fcm.settings import FcmSettings
from worker.providers.web.settings import WebSettings
from worker.providers.web.vapid import new_key_pair
from worker.providers.webhook.settings import WebhookSettings

_SECRET: Final = "a-secret-of-at-least-thirty-two-characters"
_OLDER: Final = "the-secret-before-it-that-is-on-its-way-out"
_PEM: Final = new_key()
_P12: Final = p12(push_certificate(days=36_500), BestAvailableEncryption(b"hunter2"))
_KEY: Final = Key("TEAM123456", "KEY1234567", _PEM)
_ACCOUNT: Final = account()
_REGISTRATION: Final = f"cFoo_bar-baz:APA91b{'x' * 130}"
_WEB: Final = new_key_pair()
_URL: Final = "https://api.example.com/push/hunter2?key=hunter3"


class Example(NamedTuple):
    settings: Any
    #: Settings that can never work, and what is said of them.
    wrong: dict[str, Any]
    #: Tokens as clients write them -> as they are stored.
    tokens: dict[str, str]
    #: None of these is one.
    no_tokens: list[str]
    #: Of `settings`.
    secrets: list[str]
    #: The device is gone.
    gone: Answer
    #: Where a request's payload has the badge.
    badge: Callable[[Any], int] = lambda payload: payload["aps"]["badge"]
    #: Statuses that retire a device without another word.
    retiring: frozenset[int] = frozenset((410,))


EXAMPLES: Final[dict[str, list[Example]]] = {
    "apns": [
        Example(
            ApnsSettings("io.team.App", _KEY),
            wrong={
                "bundle id: 'a b'": ApnsSettings("a b", _KEY),
                "key id: 'short'": ApnsSettings("io.team.App", Key("TEAM123456", "short", _PEM)),
                "team id: 'short'": ApnsSettings("io.team.App", Key("short", "KEY1234567", _PEM)),
                "key: no PEM text": ApnsSettings("io.team.App", Key("TEAM123456", "KEY1234567", "no key")),
                "host: 'https://x'": ApnsSettings("io.team.App", _KEY, host="https://x"),
            },
            tokens={"<AB cd>": "abcd", "AB" * 80: "ab" * 80},
            no_tokens=["abc", "xyz", "<>"],
            secrets=_PEM.splitlines()[1:-1],
            gone=Answer(410, "Unregistered"),
        ),
        Example(
            ApnsSettings("io.team.App", P12(_P12, "hunter2")),
            wrong={"certificate: not a .p12": ApnsSettings("io.team.App", P12(b"nothing"))},
            tokens={},
            no_tokens=[],
            secrets=["hunter2"],
            gone=Answer(410, "ExpiredToken"),
        ),
    ],
    "fcm": [
        Example(
            settings,
            wrong={
                "project_id: 'a/b'": FcmSettings(replace(_ACCOUNT, project="a/b"), "app"),
                "client_email: 'me'": FcmSettings(replace(_ACCOUNT, email="me"), "app"),
                "private_key_id: ''": FcmSettings(replace(_ACCOUNT, key_id=""), "app"),
                "private_key: no PEM text": FcmSettings(replace(_ACCOUNT, key=""), "app"),
                "channel id: belongs": FcmSettings(_ACCOUNT, "app", "messages"),
                "ca: another host": FcmSettings(_ACCOUNT, "app", host="localhost"),
            },
            tokens={f" {_REGISTRATION}\n": _REGISTRATION},
            no_tokens=["ab" * 32, "https://updates.push.services.mozilla.com/wpush/v2/x", 'a"b', ""],
            secrets=pem(rsa_key()).splitlines()[1:-1],
            gone=Answer(404, "UNREGISTERED"),
            badge=lambda payload: int(payload["message"]["android"]["data"]["badge"]),
        )
        for settings in (FcmSettings(_ACCOUNT, "app"), FcmSettings(_ACCOUNT, "system", "messages"))
    ],
    "webhook": [
        Example(
            WebhookSettings(_URL, (_SECRET, _OLDER), "jwt"),
            wrong={
                "url: only https": WebhookSettings("http://api.example.com", (_SECRET,)),
                "url: without a user": WebhookSettings("https://me@api.example.com", (_SECRET,)),
                "secret: 32 to 256": WebhookSettings(_URL, ("short",)),
                "secret: there is none": WebhookSettings(_URL),
            },
            tokens={"Han's phone": "Han's phone"},
            no_tokens=[],
            secrets=[_SECRET, _OLDER, "hunter3"],
            gone=Answer(410, "gone"),
        )
    ],
    "web": [
        Example(
            WebSettings("mailto:push@example.com", _WEB.public, _WEB.private, "https://chat.example.com/c/{channel}"),
            wrong={
                "subject: mailto: and": WebSettings("push@example.com", _WEB.public, _WEB.private),
                "subject: nobody can be reached": WebSettings("mailto:a@mac.local", _WEB.public, _WEB.private),
                "private key: not that of": WebSettings("mailto:push@example.com", new_key_pair().public, _WEB.private),
                "private key: cannot be read": WebSettings("mailto:push@example.com", _WEB.public),
                "page: an https URL": WebSettings("mailto:push@example.com", _WEB.public, _WEB.private, "/c"),
                "page: {channel} and": WebSettings(
                    "mailto:push@example.com", _WEB.public, _WEB.private, "https://a.b/{x}"
                ),
                "host: a simulator needs": WebSettings(
                    "mailto:push@example.com", _WEB.public, _WEB.private, host="localhost"
                ),
            },
            tokens={
                "https://FCM.googleapis.com:443/fcm/send/aB": "https://fcm.googleapis.com/fcm/send/aB",
                "https://wns2-par02p.notify.windows.com/w/?token=a%2b": "https://wns2-par02p.notify.windows.com/w/?token=a%2b",
            },
            no_tokens=["no URL", "https://10.0.0.1/a", "https://fcm.googleapis.com.evil.test/a"],
            secrets=[_WEB.private],
            gone=Answer(410, "Unsubscribed"),
            retiring=frozenset((404, 410)),
            badge=lambda payload: payload["app_badge"],
        )
    ],
    "toy": [
        Example(
            ToySettings("box7", "hunter2"),
            wrong={"box: 'a b'": ToySettings("a b", "hunter2")},
            tokens={" ab ": "AB"},
            no_tokens=[" "],
            secrets=["hunter2"],
            gone=Answer(410),
        )
    ],
}
