"""Sentry, set up by the code of docs/errors.md in a process of its own, gets errors and no secret."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
TOKEN: Final = "0f744707bebcf74f9b7c25d48e3358945f6aa01da5ddb387462c7eaf61bb78ad"
TEXT: Final = "meet me at the pier at nine"
PASSWORD: Final = "hunter2-and-more"

#: Sends what Sentry would send to standard output. The planted secrets come on standard input: lines of code have none.
PROGRAM: Final = """
import functools, logging, sys, threading
import sentry_sdk
from sentry_sdk.transport import Transport
from config.logs import set_up
from config.settings import Settings

class Printed(Transport):
    def capture_envelope(self, envelope):
        print(envelope.serialize().decode())

sentry_sdk.init = functools.partial(sentry_sdk.init, transport=Printed, release="test")
set_up(Settings(log_setup="my_errors:set_up"))
token, text, password = sys.stdin.read().splitlines()
log = logging.getLogger("worker.pipeline.delivery")

def deliver(notification):
    alert = {"body": text, "url": f"redis://:{password}@host"}
    raise RuntimeError(f"failed for {notification} at {alert['url']}")

log.info("batch delivered", extra={"token": token})
log.error("could not send to %s", token)
try:
    deliver(token)
except RuntimeError:
    log.exception("delivery failed")
thread = threading.Thread(target=deliver, args=(token,))
thread.start()
thread.join()
sentry_sdk.flush()
"""


def test_an_error_of_each_way_arrives_and_no_secret_does(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "errors.md").read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "my_errors.py").write_text(block)
    environment = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "SENTRY_DSN": "https://key@sentry.example.org/1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=f"{TOKEN}\n{TEXT}\n{PASSWORD}", env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.count('"type":"event"') == 3
    for words in (
        "could not send to",
        "delivery failed",
        "batch delivered",
        '"type":"RuntimeError"',
        '"function":"deliver"',
    ):
        assert words in done.stdout
    assert [secret for secret in (TOKEN, TEXT, PASSWORD) if secret in done.stdout] == []
