"""What leaves for each kind of provider in each mode of privacy, and that the app behind it can open what is sealed."""

import json
from base64 import urlsafe_b64decode
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from producers import events as ev
from tests.unit.fcm.key_files import account
from tests.unit.fcm.schema import check
from tests.unit.kinds.examples import EXAMPLES
from tests.unit.web.browser import new_browser
from worker.core.attention import Attention
from worker.core.batch import Batch, Job, Sending
from worker.core.batch_run import BatchRun, begin
from worker.core.model import AppSettings, Device, Provider, traits_of
from worker.core.privacy import strictest
from worker.core.template_form import TemplateForm
from worker.core.templates import Template, Templates
from worker.pipeline.expansion.disclose import Asked, disclose
from worker.pipeline.rendering import Message, Variant, sendings
from worker.pipeline.steps.seal_payloads import SealPayloads
from worker.providers.fcm.settings import FcmSettings
from worker.providers.kinds import KINDS, kind_of

HAN = new_browser()
TEXT, NAMES = ["meet me at the pier", "pier 9"], ["Leia", "General"]
EVENT = ev.MessageNew(
    id="evt-1",
    app="demo",
    at=datetime(2026, 11, 21, 20, 0, tzinfo=UTC),
    channel=ev.Channel(id="channel-1", name="General"),
    message=ev.Message(id="message-1", text=TEXT[0], data={"place": TEXT[1]}),
    sender=ev.Sender(id="user-leia", name="Leia"),
)


def provider(kind: str, **settings: Any) -> Provider:
    made = FcmSettings(account(), **settings) if settings else EXAMPLES[kind][0].settings
    return Provider(1, "demo", kind, "production", made)


class Keys:
    """The keys of all devices."""

    def keys(self, devices: Any) -> dict[int, tuple[str, str]]:
        return dict.fromkeys(devices, ("k1", HAN.packed))


def left(
    to: Provider, mode: Any, *, platform: str = "", text: str = TEXT[0], template: str | None = None
) -> tuple[Any, Sending]:
    """The body that a kind sends, as JSON, and what it was made of."""
    event = replace(EVENT, message=replace(EVENT.message, text=text))
    device = Device(7, "han", 1, "tok:1", None, 0, platform, traits=traits_of(["sealed"], None, "k1"))
    shown = disclose(Asked(strictest(mode), {}), {"han": [device]}, lambda _: to, sealed_only=False).disclosures
    variant = Variant("message") if 7 not in shown else Variant("message", disclosure=shown[7])
    form: TemplateForm = kind_of(to).template
    templates = {} if template is None else {1: Templates({("", ""): Template.parse(template, form)})}
    made = sendings(Message("1-0", event, None, 3600), {variant: [device]}, templates, alive=lambda: None)
    [(sending, *_)] = made.groups
    batch = Batch("demo", 1, "urgent", [sending], [Job(0, 7, "han", "tok:1", 0, platform=platform)])
    run: BatchRun = begin("b", batch, [3], b"")
    run.app = AppSettings("demo", attention=Attention(privacy=mode))
    SealPayloads(Keys(), lambda packed: packed)(run)  # type: ignore[arg-type]
    [request] = kind_of(to).render(to, *run.renderable([0]))
    return json.loads(request.payload), sending


def opened(sealed: Any) -> Any:
    assert (sealed["s"], sealed["k"]) == ("aes128gcm", "k1")
    return json.loads(HAN.read(urlsafe_b64decode(sealed["d"] + "==")))


@pytest.mark.parametrize("mode", ["sender", "id", "sealed"])
@pytest.mark.parametrize("kind", ["apns", "fcm"])
def test_a_push_service_reads_nothing_that_the_mode_keeps_from_it(kind: str, mode: str) -> None:
    body = json.dumps(left(provider(kind), mode)[0])
    ids = ["message-1", "channel-1", "user-leia", "evt-1"]
    hidden = {"sender": TEXT, "id": TEXT + NAMES, "sealed": TEXT + NAMES + ids}[mode]
    assert not [word for word in hidden if word in body]


@pytest.mark.parametrize("mode", ["sender", "id", "sealed"])
def test_a_webhook_gets_everything_and_the_mode(mode: str) -> None:
    to = provider("webhook")
    kind = kind_of(to)
    _, sending = left(to, mode)
    [recipient] = kind.render(to, [sending], [Job(0, 7, "han", "tok:1", 0)], [None])
    assert all(word in recipient.payload.decode() for word in TEXT + NAMES)
    assert recipient.privacy == mode  # type: ignore[attr-defined]


def test_a_browser_gets_everything_in_mode_sealed_for_no_one_else_reads_it() -> None:
    to = provider("web")
    assert all(word in json.dumps(left(to, "sealed")[0]) for word in TEXT + NAMES)
    assert not [word for word in TEXT + NAMES if word in json.dumps(left(to, "id")[0])]


@pytest.mark.parametrize("display", ["app", "system"])
def test_an_android_app_gets_the_seal_as_one_string_and_opens_it(display: Any) -> None:
    to = provider("fcm", display=display, channel_id="chat" if display == "system" else None)
    message = left(to, "sealed", platform="android")[0]["message"]
    check("SendMessageRequest", {"message": message})
    android = message["android"]
    assert android["priority"] == "HIGH" and "notification" not in android, "its own code has to open it"
    assert android["data"].keys() == {"id", "badge", "collapse_id", "sound", "title", "sealed"}
    inside = opened(json.loads(android["data"]["sealed"]))
    assert inside["aps"]["alert"] == {"title": "Leia", "subtitle": "General", "body": TEXT[0]}
    assert inside["carillon"]["message"] == "message-1"


@pytest.mark.parametrize("platform", ["", "android", "ios"])
def test_the_longest_text_is_cut_for_each_platform_so_that_its_seal_stays_whole(platform: str) -> None:
    message = left(provider("fcm"), "sealed", platform=platform, text="ü" * 9_000)[0]["message"]
    found = []
    if platform != "ios":
        found.append(opened(json.loads(message["android"]["data"]["sealed"])))
    if platform != "android":
        found.append(opened(message["apns"]["payload"]["carillon"]["sealed"]))
    for inside in found:
        assert inside["aps"]["alert"]["body"].endswith("…")
        assert len(json.dumps(inside, ensure_ascii=False).encode()) > 2_400


OWN = '{"data": {"text": "{{ message.text }}", "name": "{{ sender.name }}"}}'


@pytest.mark.parametrize("mode", ["id", "sealed"])
def test_a_template_in_the_json_of_its_kind_gives_way_to_the_default_payload(mode: str) -> None:
    body = left(provider("fcm"), mode, platform="android", template=OWN)[0]
    assert not [word for word in TEXT + NAMES if word in json.dumps(body)]
    assert body["message"]["android"]["data"]["title"] == "1 new message"


def test_and_is_rendered_without_the_text_in_mode_sender() -> None:
    data = left(provider("fcm"), "sender", platform="android", template=OWN)[0]["message"]["data"]
    assert (data["name"], data["text"]) == ("Leia", "1 new message")


def test_every_kind_says_who_is_between_us_and_the_app() -> None:
    found = {name: (kind.between, kind.sealed_limit) for name, kind in KINDS.items()}
    assert found == {
        "apns": ("service", 4_096),
        "fcm": ("service", 3_700),
        "webhook": ("nobody", 4_096),
        "web": ("sealed", 4_096),
    }
