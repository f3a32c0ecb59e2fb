"""Sealed payloads octet for octet, with the keys and the salt of RFC 8291's appendix A."""

import json
from base64 import urlsafe_b64decode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.unit.web.browser import Browser, base64url
from worker.core.privacy import with_record
from worker.core.receiver_keys import Keys
from worker.core.sealing import CURVE, LONGEST, OVERHEAD, hidden, salts, seal

VECTORS = json.loads((Path(__file__).parent / "sealed_vectors.json").read_text())
KEYS = Keys(urlsafe_b64decode(VECTORS["ua_public"] + "=="), urlsafe_b64decode(VECTORS["auth"] + "=="))
HIDDEN = "6aa0e89bcd399899"
CASES = [pytest.param(case, id=f"padded by {case['pad']}") for case in VECTORS["cases"]]


def private(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(urlsafe_b64decode(VECTORS[name] + "=="), "big"), CURVE)


@pytest.mark.parametrize("case", CASES)
def test_a_text_is_sealed_octet_for_octet_as_in_the_vectors(case):
    salt = urlsafe_b64decode(VECTORS["salt"] + "==")
    record = seal(case["plaintext"].encode(), KEYS, private("as_private"), salt, pad=case["pad"])
    assert base64url(record) == case["d"]
    assert len(record) == case["sealed_bytes"] == len(case["plaintext"].encode()) + OVERHEAD + case["pad"]


@pytest.mark.parametrize("case", CASES)
def test_the_payload_is_that_of_the_vectors(case):
    outside = '{"aps":{"badge":3,"sound":"default","mutable-content":1,"alert":{"title":"New message"}},"carillon":{"sealed":{}}}'
    assert with_record(outside, "k1", case["d"]) == case["payload"]


@pytest.mark.parametrize("case", CASES)
def test_the_device_opens_it(case):
    record = urlsafe_b64decode(json.loads(case["payload"])["carillon"]["sealed"]["d"] + "==")
    assert Browser(private("ua_private"), KEYS).read(record).decode() == case["plaintext"]


def test_padding_counts_against_the_room_of_a_record():
    with pytest.raises(ValueError, match="at most 3993"):
        seal(b"a" * (LONGEST - 4), KEYS, private("as_private"), bytes(16), pad=5)


def test_salts_are_pieces_of_what_is_random():
    assert list(salts(bytes(range(48)))) == [bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 48))]


def test_a_hidden_name_is_known_to_the_device_alone():
    other = Keys(KEYS.p256dh, bytes(16))
    # echo -n messaging:general | openssl dgst -sha256 -mac HMAC -macopt hexkey:<auth>
    assert hidden("messaging:general", KEYS) == HIDDEN
    assert hidden("messaging:general", other) != HIDDEN
