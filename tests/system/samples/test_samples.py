"""The sample for Android opens what Carillon seals: compiled as the documentation has it, with the cryptography of a JVM."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.processes import PATIENCE, ROOT
from tests.programs import needs
from tests.unit.web.browser import base64url
from worker.core.receiver_keys import checked
from worker.core.sealing import CURVE, hidden, seal
from worker.providers.web.encryption import salts

pytestmark = pytest.mark.slow

SAMPLES = ROOT / "docs" / "samples"
VECTORS = json.loads((ROOT / "tests/unit/core/sealed_vectors.json").read_text())


def test_the_sample_for_android_opens_the_vectors_and_what_is_sealed_for_keys_of_its_own(tmp_path: Path) -> None:
    made = tmp_path / "check.jar"
    sources = [SAMPLES / "SealedPayload.kt", Path(__file__).parent / "Check.kt"]
    # A compiler that runs once needs no long optimisation.
    quick = os.environ | {"JAVA_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}
    subprocess.run([needs("kotlinc"), *sources, "-include-runtime", "-d", made], env=quick, check=True, timeout=240)
    with subprocess.Popen(
        [needs("java"), "-jar", made], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        lines, answers = process.stdin, process.stdout

        def asked(*words: str) -> str:
            lines.write(" ".join(words) + "\n")
            return answers.readline().rstrip("\n")

        p256dh, auth = answers.readline().split()
        keys = checked(p256dh, auth, "device.keys")
        given = [VECTORS[name] for name in ("ua_private", "ua_public", "auth")]
        assert [asked("given", *given, case["d"]) for case in VECTORS["cases"]] == [
            case["plaintext"] for case in VECTORS["cases"]
        ]
        for text, pad, salt in zip(("{}", '{"aps":"ü 👋"}', "x" * 2_853), (0, 510, 0), salts(3), strict=True):
            record = seal(text.encode(), keys, ec.generate_private_key(CURVE), salt, pad)
            assert asked("own", base64url(record)) == text
        assert asked("own", VECTORS["cases"][0]["d"]) == "refused", "that is another device's"
        assert asked("own", base64url(record[:-1])) == asked("own", "AAAA") == "refused"
        assert asked("hidden", "messaging:general") == hidden("messaging:general", keys)
        lines.close()
        assert process.wait(PATIENCE) == 0


def test_the_sample_for_ios_says_that_nobody_here_has_compiled_it() -> None:
    assert "not compiled" in (SAMPLES / "NotificationService.swift").read_text().splitlines()[0]
