"""RFC 8291: its example octet for octet, and messages that a reader written from the RFC alone decrypts."""

from base64 import urlsafe_b64decode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.web.browser import CURVE, base64url, new_browser, point
from worker.core.receiver_keys import Keys
from worker.core.sealing import LONGEST, OVERHEAD, seal
from worker.providers.web.encryption import encrypt, salts

#: RFC 8291, section 5 and appendix A.
EXAMPLE = {
    "message": "When I grow up, I want to be a watermelon",
    "sender_private": "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw",
    "sender_public": "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8",
    "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
    "auth": "BTBZMqHH6r4Tts7J_aSIgg",
    "salt": "DGv6ra1nlYgDCS1FRnbzlw",
    "body": "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl"
    "7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN",
}
BROWSER = new_browser()
SALT = bytes(range(16))


def octets(name):
    return urlsafe_b64decode(EXAMPLE[name] + "==")


def test_the_example_of_the_rfc_comes_out_octet_for_octet():
    private = ec.derive_private_key(int.from_bytes(octets("sender_private"), "big"), CURVE)
    assert base64url(point(private)) == EXAMPLE["sender_public"]
    keys = Keys(octets("p256dh"), octets("auth"))
    body = seal(EXAMPLE["message"].encode(), keys, private, octets("salt"))
    assert base64url(body) == EXAMPLE["body"]


@settings(deadline=None)
@given(st.binary(max_size=LONGEST))
def test_every_message_comes_out_as_it_went_in(message):
    body = encrypt(message, BROWSER.keys, SALT)
    assert len(body) == len(message) + OVERHEAD
    assert BROWSER.read(body) == message


def test_the_longest_message_makes_the_longest_body_that_services_take():
    assert len(encrypt(b"a" * LONGEST, BROWSER.keys, SALT)) == 4_096
    with pytest.raises(ValueError, match="at most 3993"):
        encrypt(b"a" * (LONGEST + 1), BROWSER.keys, SALT)


def test_no_two_messages_have_a_key_pair_or_a_salt_in_common():
    bodies = [encrypt(b"the same", BROWSER.keys, salt) for salt in salts(50)]
    assert len({body[:16] for body in bodies}) == len({body[21:86] for body in bodies}) == 50
