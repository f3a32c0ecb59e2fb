"""docs/webhooks.md: what it tells receivers to run is run."""

import hashlib
import hmac
import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from worker.providers.webhook.request import signature

TEXT = (Path(__file__).parents[3] / "docs" / "webhooks.md").read_text()
BODY = '{"recipients": [], "who": "ä"}'.encode()
CASES = [
    pytest.param("right", 0, True, id="the secret"),
    pytest.param("older", 0, True, id="the one before"),
    pytest.param("wrong", 0, False, id="another"),
    pytest.param("right", -600, False, id="an old request"),
]


def code(language):
    [found] = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    return found


def request(age):
    now = int(time.time()) + age
    return {
        "Carillon-Timestamp": str(now),
        "Carillon-Signature": f"v1={signature('right', now, BODY)},v1={signature('older', now, BODY)}",
    }


@pytest.mark.parametrize(("secret", "age", "well"), CASES)
def test_the_check_in_python(secret, age, well):
    names: dict[str, Any] = {}
    exec(code("python"), names)
    assert names["verified"](secret, request(age), BODY) == well


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.parametrize(("secret", "age", "well"), CASES)
def test_the_check_in_node(secret, age, well):
    headers = {name.lower(): value for name, value in request(age).items()}
    asked = f"verified({json.dumps(secret)}, {json.dumps(headers)}, Buffer.from({BODY.hex()!r}, 'hex'))"
    script = f"{code('js')}\nconsole.log({asked})"
    done = subprocess.run(["node", "-e", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == str(well).lower()


def test_the_signature_is_over_timestamp_dot_body():
    expected = hmac.new(b"s", b"12." + BODY, hashlib.sha256).hexdigest()
    assert signature("s", 12, BODY) == expected
