"""The browser's object as it is, and refusals that name the field."""

from base64 import b64encode, urlsafe_b64encode

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from producers.events import Device, Subscription, SubscriptionKeys
from tests.unit.web.browser import GOOGLE, base64url, new_browser
from worker.core.receiver_keys import checked, pack, unpack
from worker.core.refusal import Refused
from worker.providers.web.kind import KIND

BROWSER = new_browser()
POINT, AUTH = BROWSER.keys


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(base64url, id="as browsers do"),
        pytest.param(lambda octets: urlsafe_b64encode(octets).decode(), id="padded"),
        pytest.param(lambda octets: b64encode(octets).decode(), id="in standard base64"),
        pytest.param(lambda octets: b64encode(octets).decode().rstrip("="), id="in standard base64 without padding"),
    ],
)
def test_keys_are_read_in_every_form_of_base64(written):
    keys = checked(written(POINT), written(AUTH), "device.subscription.keys")
    assert keys == BROWSER.keys
    assert unpack(pack(keys)) == keys


@pytest.mark.parametrize(
    ("p256dh", "auth", "words"),
    [
        pytest.param("", base64url(AUTH), r"keys\.p256dh: not base64url", id="no key"),
        pytest.param("B…", base64url(AUTH), r"keys\.p256dh: not base64url", id="a cut key"),
        pytest.param("A" * 85, base64url(AUTH), r"keys\.p256dh: not base64url", id="a digit too many"),
        pytest.param(base64url(POINT[:64]), base64url(AUTH), r"keys\.p256dh: 64 octets.* 65", id="a short key"),
        pytest.param(base64url(b"\4" + b"\1" * 64), base64url(AUTH), r"keys\.p256dh: not an", id="not on the curve"),
        pytest.param(base64url(b"\3" + POINT[1:]), base64url(AUTH), r"keys\.p256dh: not an", id="another first octet"),
        pytest.param(
            base64url(BROWSER.private.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)),
            base64url(AUTH), r"keys\.p256dh: 33 octets", id="a compressed point",
        ),
        pytest.param(base64url(POINT), base64url(AUTH[:15]), r"keys\.auth: 15 octets.* 16", id="a short secret"),
        pytest.param(base64url(POINT), "not base64!", r"keys\.auth: not base64url", id="a secret of signs"),
    ],
)  # fmt: skip
def test_a_key_that_is_none_is_refused_by_its_field(p256dh, auth, words):
    with pytest.raises(Refused, match=rf"^device\.subscription\.{words}") as refused:
        checked(p256dh, auth, "device.subscription.keys")
    assert not [secret for secret in (p256dh, auth) if secret and secret in str(refused.value)]


def test_a_registration_is_the_endpoint_and_the_packed_keys():
    token, secret = KIND.registration(device())
    assert token == GOOGLE
    assert unpack(secret) == BROWSER.keys


def test_a_registration_without_a_subscription_or_with_a_cut_endpoint_names_its_field():
    with pytest.raises(Refused, match=r"^device\.subscription: required"):
        KIND.registration(Device(token=GOOGLE))
    with pytest.raises(Refused, match=r"^device\.subscription\.endpoint: is cut off"):
        KIND.registration(device("https://fcm.googleapis.com/fcm/send/abc…"))


def test_keys_are_never_shown():
    assert base64url(AUTH) not in repr(BROWSER.keys)
    assert repr(BROWSER.keys) == "Keys()"


def device(endpoint=GOOGLE):
    keys = SubscriptionKeys(p256dh=base64url(POINT), auth=base64url(AUTH))
    return Device(subscription=Subscription(endpoint=endpoint, keys=keys))
