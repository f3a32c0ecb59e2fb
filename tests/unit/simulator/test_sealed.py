"""What was sealed is found where each kind of push service has it."""

import json
from typing import Any, NamedTuple

import pytest

from tests.processes import ROOT
from worker.simulator.sealed import DeviceKeys, open_all

VECTORS = json.loads((ROOT / "tests/unit/core/sealed_vectors.json").read_text())
KEYS = {"tok": DeviceKeys(VECTORS["ua_private"], VECTORS["auth"])}
CASE = VECTORS["cases"][1]
SEALED = {"s": "aes128gcm", "k": "k1", "d": CASE["d"]}


class Entry(NamedTuple):
    payload: str | None
    number: int = 7
    token: str = "tok"


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param({"carillon": {"sealed": SEALED}}, id="APNs"),
        pytest.param({"message": {"android": {"data": {"sealed": json.dumps(SEALED)}}}}, id="FCM, for Android"),
        pytest.param({"message": {"apns": {"payload": {"carillon": {"sealed": SEALED}}}}}, id="FCM, for Apple"),
    ],
)
def test_it_is_opened_wherever_it_is(payload: Any) -> None:
    [found] = open_all([Entry(json.dumps(payload)), Entry("{}"), Entry(None), Entry("{}", token="other")], KEYS)
    assert (found.number, found.inside) == (7, json.loads(CASE["plaintext"]))


@pytest.mark.parametrize(
    "sealed", [SEALED | {"s": "x"}, SEALED | {"d": "AAAA"}, SEALED | {"d": "!"}, {"s": "aes128gcm"}]
)
def test_what_cannot_be_read_has_a_fault(sealed: Any) -> None:
    [found] = open_all([Entry(json.dumps({"carillon": {"sealed": sealed}}))], KEYS)
    assert found.inside is None and found.fault
