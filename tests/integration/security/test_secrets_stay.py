"""Secrets stay out of reprs, log lines and tracebacks, whatever goes wrong around them."""

import io
import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from cryptography.fernet import Fernet
from typer.testing import CliRunner

from config.logs import set_up
from config.settings import Settings, SettingsError, get_settings, load
from producers import events as ev
from producers.__main__ import main
from tests.integration.pipeline.harness import START, Pipeline, message, stamp, token
from tests.integration.pipeline.keys import new_key
from tests.unit.kinds.toy.browser import BrowserClient, BrowserSettings
from worker.cli._commands import app
from worker.cli._preview import Target
from worker.core.attention import Attention
from worker.core.batch import Job
from worker.core.model import Device, Heading, Notification, Provider
from worker.core.ownership import Details, Registration
from worker.core.receiver_keys import checked
from worker.database.device_writes import DeviceWrite
from worker.database.outbox import Outbox
from worker.database.postgres import open_pool
from worker.database.registry import Registry
from worker.database.vault import CredentialError
from worker.embedded import Urls
from worker.providers import kinds
from worker.providers.apns.settings import P12, ApnsSettings, Key
from worker.providers.apns.token import mint

KEY = new_key()
TOKEN = "0f744707bebcf74f9b7c25d48e3358945f6aa01da5ddb387462c7eaf61bb78ad"
P256DH = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
AUTH = "BTBZMqHH6r4Tts7J_aSIgg"
ENDPOINT = "https://push.example.org/wpush/v2/gAAAAABl-Vm"
PASSWORD = "hunter2-and-more"
TEXT = "meet me at the pier at nine"


@pytest.fixture(params=["text", "json"])
def log(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """What a process with our logging would have written."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    set_up(Settings(log_format=request.param), stream)
    yield stream
    root.handlers[:], root.level = before, level


def secrets_in(text: str) -> list[str]:
    lines = [line for line in KEY.splitlines() if "PRIVATE" not in line]
    return [secret for secret in (TOKEN, PASSWORD, TEXT, ENDPOINT, P256DH, AUTH, *lines) if secret in text]


SUBSCRIPTION = ev.Subscription(endpoint=ENDPOINT, keys=ev.SubscriptionKeys(p256dh=P256DH, auth=AUTH))
DEVICE_KEYS = ev.DeviceKeys(id="k1", scheme="aes128gcm", p256dh=P256DH, auth=AUTH)
PROVIDER = Provider(1, "demo", "apns", "production", ApnsSettings("t", Key("T", "K", KEY)))
VALUES: list[Any] = [
    pytest.param(PROVIDER, id="provider"),
    pytest.param(
        Provider(1, "demo", "c", "production", ApnsSettings("t", P12(KEY.encode(), PASSWORD))),
        id="provider with a certificate",
    ),
    pytest.param(Urls(f"redis://:{PASSWORD}@h/0", f"postgresql://u:{PASSWORD}@h/d"), id="urls"),
    pytest.param(
        load({"CARILLON_REDIS_URL": f"redis://:{PASSWORD}@h", "CARILLON_SECRET_KEYS": PASSWORD}), id="settings"
    ),
    pytest.param(SUBSCRIPTION, id="subscription"),
    pytest.param(SUBSCRIPTION.keys, id="its keys"),
    pytest.param(DEVICE_KEYS, id="keys of a device"),
    pytest.param(ev.Device(token=TOKEN, keys=DEVICE_KEYS), id="device of an event with keys"),
    pytest.param(checked(P256DH, AUTH, "device.keys"), id="keys that were checked"),
    pytest.param(ev.Device(token=TOKEN, platform="ios"), id="device of an event"),
    pytest.param(
        ev.DeviceRegistered(
            id="e", app="demo", at=START, user="han", device=ev.Device(subscription=SUBSCRIPTION, platform="web")
        ),
        id="registration",
    ),
    pytest.param(ev.DeviceToken(subscription=SUBSCRIPTION), id="browser of an event"),
    pytest.param(Device(1, "han", 1, ENDPOINT, None, 0, "web", AUTH), id="device"),
    pytest.param(Job(0, 1, "han", ENDPOINT, 0, platform="web", secret=AUTH), id="job"),
    pytest.param(
        DeviceWrite("demo", ENDPOINT, "han", 0, details=Details(secret=AUTH, keys=AUTH)), id="write of a device"
    ),
    pytest.param(
        Registration("han", 1, 0, active=True, details=Details(secret=AUTH, keys=AUTH)), id="registration of a device"
    ),
    pytest.param(Target(1, "han", 1, ENDPOINT, None, "web", AUTH), id="recipient of a test push"),
    pytest.param(Registry(open_pool, [Fernet.generate_key().decode()], kinds), id="registry"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("value", VALUES)
def test_a_value_that_holds_a_secret_does_not_show_it(value: object) -> None:
    assert secrets_in(f"{value!r} {value}") == []


LINES = [
    pytest.param("token %s", TOKEN, id="a device token"),
    pytest.param("token %s", TOKEN.upper(), id="a device token in capitals"),
    pytest.param("key %s", KEY, id="a key"),
    pytest.param("token %s", "fXyz12_-abc:APA91bH" + "x-_9" * 34, id="a token of Firebase's"),
    pytest.param("to %s", "https://fcm.googleapis.com/fcm/send/dGhpcw:APA91", id="an endpoint of Chrome's"),
    pytest.param("to %s", "https://updates.push.services.mozilla.com/wpush/v2/gAAAAABl", id="of Firefox's"),
    pytest.param("to %s", "https://wns2-par02p.notify.windows.com/w/?token=BQYAAAC%2bF", id="of Edge's"),
    pytest.param("to %s", "https://web.push.apple.com/QGuQyavXutnMH", id="of Safari's"),
    pytest.param("key %s", P256DH, id="a browser's key"),
    pytest.param('{"endpoint": "%s"}', "https://up.example.org/UP?id=1", id="an endpoint of anybody's, in JSON"),
    pytest.param('{\\"auth\\":\\"%s\\"}', "BTBZMqHH6r4Tts7J_aSIgg", id="a browser's secret, in JSON in JSON"),
    pytest.param("keys={'auth': '%s'}", "BTBZMqHH6r4Tts7J_aSIgg", id="a browser's secret, in a repr"),
    pytest.param("url %s", f"rediss://user:{PASSWORD}@host:6379/0", id="a URL with a password"),
    pytest.param("url %s", f"postgresql://user:{PASSWORD}@host/db?sslmode=verify-full", id="a database's URL"),
    pytest.param("authorization %s", "bearer " + mint("TEAM123456", "KEY1234567", KEY, 1_800_000_000), id="a JWT"),
]


@pytest.mark.parametrize(("line", "secret"), LINES)
def test_what_looks_like_a_secret_is_cut_from_any_logger(log: io.StringIO, line: str, secret: str) -> None:
    logging.getLogger("some.library").error(line, secret)
    logging.getLogger("worker.x").error("ours", extra={"field": line % secret})
    written = log.getvalue()
    assert "[redacted]" in written
    assert secret not in written.replace("\\n", "\n")
    assert secrets_in(written) == []


def test_a_traceback_through_all_of_them_shows_none(log: io.StringIO) -> None:
    def fails(provider: Provider, notification: Notification) -> None:
        raise RuntimeError(f"failed with {provider!r} for {notification.token} on rediss://u:{PASSWORD}@h")

    try:
        fails(PROVIDER, Notification(TOKEN, "id", b"{}", Heading("t")))
    except RuntimeError:
        logging.getLogger("worker.pipeline.delivery").exception("delivery failed")
    assert "Traceback" in log.getvalue()
    assert secrets_in(log.getvalue()) == []


def refused_by_postgres() -> None:
    with psycopg.connect(f"postgresql://u:{PASSWORD}@127.0.0.1:1/d", connect_timeout=1):
        pass


def refused_outbox() -> None:
    Outbox(f"postgresql://u:{PASSWORD}@127.0.0.1:1/d").state(0)


def damaged_key() -> None:
    mint("T", "K", KEY.replace("A", "!"), 0)


@pytest.mark.parametrize("fails", [refused_by_postgres, refused_outbox, damaged_key])
def test_a_fault_of_a_library_tells_no_secret(fails: Callable[[], None], log: io.StringIO) -> None:
    with pytest.raises(Exception) as caught:
        fails()
    whole = "".join(traceback.format_exception(caught.value))
    logging.getLogger("worker.x").error("failed", exc_info=caught.value)
    assert secrets_in(whole + log.getvalue()) == []


def test_a_credential_that_cannot_be_decrypted_is_not_shown(
    postgres_url: str, redis_url: str, log: io.StringIO
) -> None:
    pipeline = Pipeline(postgres_url, redis_url)
    other = Registry(pipeline.pool, [Fernet.generate_key().decode()], kinds)
    try:
        other.providers()
    except CredentialError as fault:
        logging.getLogger("worker.x").exception("failed", exc_info=fault)
    pipeline.close()
    assert "CARILLON_SECRET_KEYS" in log.getvalue()
    assert "gAAAA" not in log.getvalue()


def test_a_whole_pipeline_logs_no_token_and_no_text(postgres_url: str, redis_url: str, log: io.StringIO) -> None:
    logging.getLogger().setLevel("DEBUG")
    pipeline = Pipeline(postgres_url, redis_url)
    pipeline.member("general", "leia", "han")
    pipeline.publish(message(text=TEXT), b"{" + TEXT.encode(), message(id="e2", text=TEXT))
    assert len(pipeline.run()) == 2
    pipeline.close()
    written = log.getvalue()
    assert secrets_in(written) == []
    assert token("han") not in written


def test_nor_does_one_with_browsers_whatever_is_wrong_with_them(
    postgres_url: str, redis_url: str, log: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    logging.getLogger().setLevel("DEBUG")
    kinds.register("tests.unit.kinds.toy.browser")
    pipeline = Pipeline(postgres_url, redis_url)
    try:
        client = BrowserClient(pipeline.registry.device_secrets.unseal)
        pipeline.clients["browser"] = client
        pipeline.registry.save_provider(Provider(0, "demo", "web", "production", BrowserSettings("box", PASSWORD)))
        pipeline.publish(ev.MemberAdded(**stamp(), channel=ev.ChannelId(id="general"), users=["leia", "han"]))
        good = ev.encode(ev.DeviceRegistered(**stamp(), user="han", device=ev.Device(subscription=SUBSCRIPTION)))
        # Too short a key, a field too many, no key at all, a provider of another kind, half of a document.
        short = AUTH.encode()[:-1]
        pipeline.publish(good, good.replace(AUTH.encode(), short), good.replace(b'"keys"', b'"x":1,"keys":1,"keys"'))
        pipeline.publish(
            good.replace(b'"auth"', b'"ruth"'), good[:-40], good.replace(b'"device":{', b'"device":{"provider":"apns",')
        )
        pipeline.publish(message())
        pipeline.run()
        assert len(client.arrived) == 1
        client._unseal = failing
        pipeline.publish(message(id="e2"))
        pipeline.run()
        errors = [letter.letter.error for letter in pipeline.ledger.dead_letters()]
    finally:
        pipeline.close()
        del kinds.KINDS["browser"]
    assert len(errors) >= 4
    assert "batch cannot be delivered" in log.getvalue() and "Traceback" in log.getvalue()
    written = "".join((log.getvalue(), *errors, *capsys.readouterr()))
    assert secrets_in(written) == []
    assert short.decode() not in written


def test_nor_does_one_that_seals_whatever_is_wrong_with_the_keys(
    postgres_url: str, redis_url: str, log: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    logging.getLogger().setLevel("DEBUG")
    pipeline = Pipeline(postgres_url, redis_url)
    pipeline.save_app(attention=Attention(privacy="sealed"))
    pipeline.publish(ev.MemberAdded(**stamp(), channel=ev.ChannelId(id="general"), users=["leia", "han"]))
    device = ev.Device(token=TOKEN, accepts=["sealed"], keys=DEVICE_KEYS)
    good = ev.encode(ev.DeviceRegistered(**stamp(), user="han", device=device))
    # Too short a secret, no point on the curve, a field too many, half of a document.
    short, off = AUTH.encode()[:-1], P256DH.encode()[:-9] + b"AAAAAAAAA"
    pipeline.publish(good, good.replace(AUTH.encode(), short), good.replace(P256DH.encode(), off))
    pipeline.publish(good.replace(b'"auth"', b'"ruth"'), good[:-40])
    pipeline.publish(message(text=TEXT))
    [sent] = pipeline.run()
    assert TEXT not in sent.payload.decode()
    pipeline.apps.device_secrets.unseal = failing  # type: ignore[method-assign]
    pipeline.delivery = pipeline.new_delivery()
    pipeline.publish(message(id="e2", text=TEXT))
    pipeline.run()
    errors = [letter.letter.error for letter in pipeline.ledger.dead_letters()]
    pipeline.close()
    assert len(errors) == 4
    assert "batch cannot be delivered" in log.getvalue() and "Traceback" in log.getvalue()
    written = "".join((log.getvalue(), *errors, *capsys.readouterr()))
    assert secrets_in(written) == []
    assert short.decode() not in written and off.decode() not in written


def failing(sealed: str) -> str | None:
    raise RuntimeError(f"cannot open {{'endpoint': '{ENDPOINT}', 'keys': {{'p256dh': '{P256DH}', 'auth': '{AUTH}'}}}}")


SECRET = "Sup3rS3cretWord"
BAD_URLS = [
    *(("REDIS", f"redis://:{SECRET}/xyz@127.0.0.1:1/0"), ("REDIS", f"redis://u:{SECRET}#x@127.0.0.1:1/0")),
    *(("REDIS", f"redis://u:x%{SECRET}@127.0.0.1:1/zero"), ("REDIS", f"redis://u:{SECRET}@127.0.0.1:70000/0")),
    *(("REDIS", f"http://u:{SECRET}@127.0.0.1/0"), ("POSTGRES", f"postgresql://u:x%{SECRET}@127.0.0.1:1/x")),
    *(
        ("POSTGRES", f"postgresql://u:x@{SECRET}@127.0.0.1:1/x"),
        ("POSTGRES", f"postgresql://u:{SECRET}/@127.0.0.1:1/x"),
    ),
    *(
        ("POSTGRES", f"postgresql://u:{SECRET}@127.0.0.1:1/x?bogus={SECRET}"),
        ("OUTBOX", f"postgresql://u:{SECRET}?@h/x"),
    ),
]
COMMANDS = [
    *(
        ["health"],
        ["doctor"],
        ["migrate"],
        ["app", "list"],
        ["beat"],
        ["flower"],
        ["outbox", "status"],
        ["dead-letters"],
    ),
    ["publish", "--app", "a", "--channel", "c", "--sender", "s", "--text", "t"],
]


@pytest.mark.parametrize(("which", "url"), BAD_URLS)
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_prints_a_part_of_a_url_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, command: list[str], which: str, url: str
) -> None:
    for name, value in {"REDIS": "redis://127.0.0.1:1", "POSTGRES": "postgresql://127.0.0.1:1/x", which: url}.items():
        monkeypatch.setenv(f"CARILLON_{name}_URL", value)
    monkeypatch.setenv("CARILLON_SECRET_KEYS", Fernet.generate_key().decode())
    get_settings.cache_clear()
    try:
        done = CliRunner().invoke(app, command)
    finally:
        get_settings.cache_clear()
    assert done.exit_code != 0
    trace = "".join(traceback.format_exception(done.exception)) if done.exception else ""
    assert SECRET not in done.output + trace
    assert isinstance(done.exception, SettingsError | SystemExit)


@pytest.mark.parametrize(("which", "url"), [one for one in BAD_URLS if one[0] == "REDIS"])
def test_nor_does_the_producers_command(capsys: pytest.CaptureFixture[str], which: str, url: str) -> None:
    one = ["--app", "a", "--channel", "c", "--sender", "s", "--text", "t", "--timeout", "0.1"]
    assert main(["publish", "--redis-url", url, *one]) != 0
    assert SECRET not in "".join(capsys.readouterr())
