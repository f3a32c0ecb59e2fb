"""Which form a token is stored in, and where it is looked for when nobody names its provider."""

import pytest

from producers.events import Device
from worker.core.model import Provider
from worker.core.refusal import Refused
from worker.providers.apns.settings import ApnsSettings, Key
from worker.providers.kinds import registration, token_forms
from worker.providers.webhook.settings import WebhookSettings

APNS = Provider(1, "demo", "apns", "production", ApnsSettings("io.carillon.demo", Key("T", "K")))
HOOK = Provider(2, "demo", "hook", "production", WebhookSettings())
UUID = "3F2504E0-4F89-11D3-9A0C-0305E82C3301"


@pytest.mark.parametrize(
    ("token", "stored"),
    [
        pytest.param("<AB cd>", "abcd", id="as old clients print it"),
        pytest.param("AB" * 80, "ab" * 80, id="any even length"),
    ],
)
def test_a_token_of_APNs_is_stored_in_one_form(token: str, stored: str) -> None:
    assert registration(Device(token=token), APNS) == (stored, "")


@pytest.mark.parametrize("token", ["abc", "xyz", "<>", UUID])
def test_what_is_no_token_of_APNs_is_refused(token: str) -> None:
    with pytest.raises(Refused, match=r"device\.token: an APNs device token is an even number of hex digits"):
        registration(Device(token=token), APNS)


@pytest.mark.parametrize("token", [UUID, "Han's phone", "ABCD"])
def test_A2_any_string_is_a_device_of_a_webhook_and_stays_as_it_is(token: str) -> None:
    assert registration(Device(token=token), HOOK) == (token, "")


@pytest.mark.parametrize(
    ("token", "providers", "forms"),
    [
        pytest.param("ABCD", [APNS], ["abcd"], id="only APNs"),
        pytest.param("ABCD", [HOOK], ["ABCD"], id="only webhooks"),
        pytest.param("ABCD", [APNS, HOOK], ["ABCD", "abcd"], id="both: either form"),
        pytest.param("abcd", [APNS, HOOK], ["abcd"], id="both forms are the same"),
        pytest.param(UUID, [APNS, HOOK], [UUID], id="only a webhook can have it"),
        pytest.param(UUID, [], [UUID], id="the providers are gone, the devices are not"),
    ],
)
def test_A2_an_unregistration_finds_the_device_in_every_form(
    token: str, providers: list[Provider], forms: list[str]
) -> None:
    assert sorted(token_forms(token, {one.name: one for one in providers})) == forms
