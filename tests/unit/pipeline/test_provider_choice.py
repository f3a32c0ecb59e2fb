"""Which provider a registration without a name gets, in an app that has several kinds of them."""

from collections.abc import Iterator, Sequence

import pytest

from producers.events import Device, Subscription, SubscriptionKeys
from tests.unit.kinds.toy.browser import BrowserSettings
from tests.unit.kinds.toy.kind import Toy, ToySettings
from worker.core.model import Environment, Provider
from worker.core.refusal import Refused
from worker.pipeline.provider_choice import choose_provider
from worker.providers import kinds
from worker.providers.apns.settings import ApnsSettings, Key
from worker.providers.fcm.service_account import ServiceAccount
from worker.providers.fcm.settings import FcmSettings
from worker.providers.webhook.settings import WebhookSettings

BROWSER = Device(subscription=Subscription(endpoint="https://p.example/1", keys=SubscriptionKeys(p256dh="B", auth="A")))


def apns(name: str = "apns", environment: Environment = "production") -> Provider:
    return Provider(1, "demo", name, environment, ApnsSettings("io.carillon.demo", Key("T", "K")))


FCM = Provider(5, "demo", "fcm", "production", FcmSettings(ServiceAccount("p", "me@p.example", "k"), "app"))
HOOK = Provider(2, "demo", "hook", "production", WebhookSettings())
#: Made for phones of another make, and serves Apple's where nobody else does.
PHONES = Provider(3, "demo", "phones", "production", ToySettings("box"))
WEB = Provider(4, "demo", "web", "production", BrowserSettings("box"))


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(Toy, "platforms", frozenset(("tizen",)))
    monkeypatch.setattr(Toy, "other_platforms", frozenset(("ios",)))
    kinds.register("tests.unit.kinds.toy.kind")
    kinds.register("tests.unit.kinds.toy.browser")
    yield
    del kinds.KINDS["toy"], kinds.KINDS["browser"]


def chosen(device: Device, *providers: Provider) -> str:
    return choose_provider(device, "demo", {one.name: one for one in providers}).name


@pytest.mark.parametrize(
    ("device", "providers", "name"),
    [
        pytest.param(Device(token="aa", platform="ios"), [apns(), PHONES, HOOK, WEB], "apns", id="made for it"),
        pytest.param(
            Device(token="aa", platform="tizen"), [apns(), PHONES, HOOK, WEB], "phones", id="made for another"
        ),
        pytest.param(Device(token="aa", platform="ios"), [PHONES, HOOK], "phones", id="serves it too"),
        pytest.param(Device(token="aa", platform="ios"), [HOOK, WEB], "hook", id="takes any device"),
        pytest.param(Device(token="aa", platform="fridge"), [HOOK], "hook", id="a platform that no kind knows"),
        pytest.param(BROWSER, [apns(), PHONES, HOOK, WEB], "web", id="a subscription"),
        pytest.param(Device(token="aa"), [apns(), WEB], "apns", id="a token alone"),
        pytest.param(Device(token="aa" * 32), [apns(), FCM, WEB], "apns", id="a token of APNs beside FCM"),
        pytest.param(Device(token="cX:APA91bH"), [apns(), FCM, WEB], "fcm", id="a token of FCM beside APNs"),
        pytest.param(
            Device(token="aa", environment="production"),
            [apns(), PHONES, HOOK],
            "apns",
            id="only Apple has environments",
        ),
        pytest.param(
            Device(token="aa", environment="sandbox"),
            [apns(), apns("box", "sandbox")],
            "box",
            id="the other environment",
        ),
        pytest.param(
            Device(token="aa", environment="production"), [apns("box", "sandbox"), HOOK], "hook", id="as before"
        ),
    ],
)
def test_a_registration_without_a_name_gets_the_only_one_that_fits(
    device: Device, providers: Sequence[Provider], name: str
) -> None:
    assert chosen(device, *providers) == name


@pytest.mark.parametrize(
    ("device", "providers", "says"),
    [
        pytest.param(
            Device(token="aa"),
            [apns(), PHONES],
            "device.provider: app 'demo' has 2 providers, name one; known: apns, phones; device.platform would tell them apart",
            id="a platform would do",
        ),
        pytest.param(
            Device(token="aa"),
            [apns(), apns("other")],
            "device.provider: app 'demo' has 2 providers, name one; known: apns, other",
            id="a platform would not do",
        ),
        pytest.param(
            BROWSER,
            [apns()],
            "device.provider: app 'demo' has 0 providers that take a subscription, name one; known: apns",
            id="nobody takes a subscription",
        ),
        pytest.param(
            Device(token="aa", platform="tizen"),
            [apns()],
            "device.provider: app 'demo' has 0 providers for platform tizen, name one; known: apns",
            id="nobody is for the platform",
        ),
        pytest.param(
            Device(token="aa", platform="tizen", provider="apns"),
            [apns(), PHONES],
            "device.platform: provider 'apns' is for ios, ipados, macos, tvos, visionos, watchos, not tizen",
            id="the one named is not for it",
        ),
    ],
)
def test_what_fits_none_or_several_is_refused_with_their_names(
    device: Device, providers: Sequence[Provider], says: str
) -> None:
    with pytest.raises(Refused) as refused:
        chosen(device, *providers)
    assert str(refused.value) == says
