"""Senders of others, for a Python of their own that has them: `PYTHON foreign.py NAME` with a JSON object on standard input.

Imports nothing of Carillon's. Each sends for the seconds that it is given, and prints `{"count", "seconds", "cpu"}`, the last
line. `firebase_admin` is `send_each` as Google's documentation has it; `pywebpush` encrypts and signs, and sends nothing.
"""
# ruff: noqa: PLC0415 - each imports only its own library

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

#: Sends some, and returns how many.
Send = Callable[[], int]


def firebase_admin(task: dict[str, Any]) -> Send:
    """Batches of 500, which is the most that `send_each` takes, after one that opens connections and gets an access token."""
    import firebase_admin as library
    from firebase_admin import credentials, messaging

    os.environ["REQUESTS_CA_BUNDLE"] = task["ca_path"]
    service = messaging._MessagingService  # noqa: SLF001 - it has no setting for another host
    service.FCM_URL = task["url"] + "/v1/projects/{0}/messages:send"
    account = task["account"] | {"type": "service_account", "token_uri": task["url"] + "/token"}
    app = library.initialize_app(credentials.Certificate(account))
    data = task["data"]

    def batch() -> int:
        messages = [
            messaging.Message(data=data, token=token, android=messaging.AndroidConfig(priority="high", ttl=3600))
            for token in task["tokens"]
        ]
        answers = messaging.send_each(messages, app=app).responses
        refused = [answer.exception for answer in answers if not answer.success]
        if refused:
            raise RuntimeError(f"{len(refused)} of {len(answers)} were refused: {refused[0]}")
        return len(answers)

    batch()
    return batch


def pywebpush(task: dict[str, Any]) -> Send:
    """`WebPusher.encode` and `Vapid.sign`, which `webpush` does for each message before it sends it."""
    from py_vapid import Vapid02
    from pywebpush import WebPusher

    vapid = Vapid02.from_string(task["private_key"])
    content = task["content"].encode()
    subscriptions = task["subscriptions"]

    def batch() -> int:
        for subscription in subscriptions:
            body = WebPusher(subscription).encode(content, content_encoding="aes128gcm")["body"]
            headers = vapid.sign({"sub": "mailto:push@example.com", "aud": "https://fcm.googleapis.com"})
            assert len(body) > len(content)
            assert headers["Authorization"]
        return len(subscriptions)

    batch()
    return batch


def main() -> None:
    task = json.loads(sys.stdin.read())
    batch = {"firebase_admin": firebase_admin, "pywebpush": pywebpush}[sys.argv[1]](task)
    count, cpu, began = 0, time.process_time(), time.perf_counter()
    while time.perf_counter() - began < task["seconds"]:
        count += batch()
    seconds, used = time.perf_counter() - began, time.process_time() - cpu
    print(json.dumps({"count": count, "seconds": seconds, "cpu": used}))


if __name__ == "__main__":
    main()
