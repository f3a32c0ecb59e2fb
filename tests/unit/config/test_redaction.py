"""Every handler of a process gets its records without secrets, Sentry's too."""

import logging
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.transport import Transport

from config.logs import set_up
from config.redaction import redact_event
from config.settings import Settings, SettingsError, load

TOKEN = "0f744707bebcf74f9b7c25d48e3358945f6aa01da5ddb387462c7eaf61bb78ad"
PEM = "-----BEGIN PRIVATE KEY-----\nMIGTAgEAMBMGByqGSM49\n-----END PRIVATE KEY-----"
JWT = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJURUFNIn0.c2lnbmF0dXJlMTIzNDU2"
PASSWORD = "hunter2-and-more"
P256DH = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
AUTH = "BTBZMqHH6r4Tts7J_aSIgg"
TEXT = "meet me at the pier at nine"
PLANTED = {
    "a device token": TOKEN,
    "a key": PEM,
    "a provider token": JWT,
    "a URL": f"postgresql://carillon:{PASSWORD}@db:5432/x",
    "a subscription": f"{{'keys': {{'p256dh': '{P256DH}', 'auth': '{AUTH}'}}}}",
}
SECRETS = (TOKEN, "MIGTAgEAMBMGByqGSM49", JWT, PASSWORD, P256DH, AUTH, TEXT)
LOGGERS = ["worker.pipeline.delivery", "some.library"]


class Spy(logging.Handler):
    """A handler that somebody adds, with a formatter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.written = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        fault = record.exc_info[1] if record.exc_info else None
        self.written += f"{self.format(record)} {vars(record)} {fault} {fault!r}\n"


@pytest.fixture
def spy() -> Iterator[Spy]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    set_up(Settings())
    spy = Spy()
    root.addHandler(spy)
    yield spy
    root.handlers[:], root.level = handlers, level


class Collected(Transport):
    """Keeps the envelopes that would go to Sentry."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[dict[str, Any]] = []
        self.written = ""

    def capture_envelope(self, envelope: Envelope) -> None:
        self.written += envelope.serialize().decode().replace("\\n", "\n")
        event = envelope.get_event()
        if event is not None:
            self.events.append(dict(event))


@pytest.fixture
def sentry(spy: Spy) -> Iterator[Collected]:
    """Sentry as docs/errors.md sets it up."""
    transport = Collected()
    client = sentry_sdk.Client(
        dsn="https://key@sentry.example.org/1",
        release="test",
        transport=transport,
        integrations=[LoggingIntegration()],
        default_integrations=False,
        auto_enabling_integrations=False,
        include_local_variables=False,
        before_send=redact_event,  # type: ignore[arg-type]  # an Event is a dict
    )
    with sentry_sdk.isolation_scope() as scope:
        scope.set_client(client)
        yield transport


def secrets_in(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text]


def log_everything(name: str) -> None:
    """Logs each planted secret in each place of a record that can have one."""
    log = logging.getLogger(name)
    for what, secret in PLANTED.items():
        log.warning(f"{what} {secret}")  # noqa: G004
        log.error("%s: %s of %d", what, secret, 3)
        log.error("%(what)s: %(secret)r", {"what": what, "secret": secret, "unused": secret})
        log.error("with an object %s", ValueError(secret))
        log.error("too few %s %s", secret)  # noqa: PLE1206
        log.error(what, extra={"field": secret, "fields": [secret, {"deep": secret}]})
        try:
            fails(secret)
        except KeyError:
            log.exception("failed", stack_info=True)


def fails(secret: str) -> None:
    text = TEXT
    try:
        raise ExceptionGroup("several", [ValueError(secret, len(text))])
    except ExceptionGroup as fault:
        raise KeyError(secret) from fault


@pytest.mark.parametrize("name", LOGGERS)
def test_O12_a_handler_that_somebody_adds_gets_no_secret(spy: Spy, name: str) -> None:
    log_everything(name)
    assert len(spy.records) == 7 * len(PLANTED)
    assert secrets_in(spy.written) == []
    assert "[redacted]" in spy.written


def test_its_exceptions_keep_their_names_and_places(spy: Spy) -> None:
    try:
        fails(TOKEN)
    except KeyError:
        logging.getLogger("worker").exception("failed")
    (record,) = spy.records
    kind, fault, at = record.exc_info or (None, None, None)
    assert kind is not None and fault is not None and at is not None
    assert kind.__name__ == "KeyError"
    assert type(fault.__cause__).__name__ == "ExceptionGroup"
    assert at.tb_frame.f_code.co_name == "test_its_exceptions_keep_their_names_and_places"
    assert all(words in spy.written for words in ("in fails", "The above exception was the direct cause"))


def test_a_record_without_a_secret_is_left_as_it_was_made(spy: Spy) -> None:
    fault = ValueError("bad")
    logging.getLogger("worker").error("%s of %d", "part", 3, exc_info=fault, extra={"jobs": 500, "of": ["a"]})
    (record,) = spy.records
    assert (record.msg, record.args) == ("%s of %d", ("part", 3))
    assert record.exc_info is not None and record.exc_info[1] is fault
    assert (vars(record)["jobs"], vars(record)["of"]) == (500, ["a"])


class Odd:
    """Shows something else in a message than in a list."""

    def __init__(self, text: str = "", shown: str = "") -> None:
        self.text, self.shown = text, shown

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.shown


@pytest.mark.parametrize("value", [Odd(text=TOKEN), Odd(shown=TOKEN), [Odd(shown=TOKEN)]], ids=["str", "repr", "list"])
def test_a_value_is_redacted_if_any_form_of_it_shows_a_secret(spy: Spy, value: object) -> None:
    logging.getLogger("worker").error("failed", extra={"value": value})
    logging.getLogger("worker").error("failed %s", value)
    logging.getLogger("worker").error(value)
    written = "".join(f"{record.getMessage()} {vars(record)} {vars(record).get('value')}" for record in spy.records)
    assert secrets_in(spy.written + written) == []


def test_fields_of_other_libraries_are_removed(spy: Spy) -> None:
    logging.getLogger("celery.worker").error("received", extra={"data": {"args": TEXT}})
    assert secrets_in(spy.written) == []


@pytest.mark.parametrize("name", LOGGERS)
def test_no_envelope_of_sentry_has_a_secret(sentry: Collected, name: str) -> None:
    log_everything(name)
    assert len(sentry.events) == 6 * len(PLANTED)
    assert secrets_in(sentry.written) == []
    assert "KeyError" in sentry.written and "fails" in sentry.written


def test_nor_has_one_of_an_exception_that_nobody_logged(sentry: Collected) -> None:
    for secret in PLANTED.values():
        try:
            fails(secret)
        except KeyError as fault:
            sentry_sdk.capture_exception(fault)
    assert len(sentry.events) == len(PLANTED)
    assert secrets_in(sentry.written) == []


def test_an_event_loses_the_local_variables_of_its_frames() -> None:
    frame = {"function": "send", "vars": {"text": TEXT}}
    event = {"exception": {"values": [{"stacktrace": {"frames": [frame]}}]}, TOKEN: (TOKEN, 1, None)}
    clean = redact_event(event)
    assert clean == {
        "exception": {"values": [{"stacktrace": {"frames": [{"function": "send"}]}}]},
        "[redacted]": ["[redacted]", 1, None],
    }


def test_a_function_of_the_operator_s_is_called_once_the_log_is_set_up(
    spy: Spy, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, calls = ModuleType("my_errors"), list[int]()
    vars(module)["set_up"] = lambda: calls.append(len(logging.getLogger().handlers))
    monkeypatch.setitem(sys.modules, "my_errors", module)
    set_up(Settings(log_setup="my_errors:set_up"))
    assert calls == [1]


@pytest.mark.parametrize("path", ["nowhere_at_all:set_up", "config.logs:no_such_function"])
def test_one_that_is_not_there_is_named(spy: Spy, path: str) -> None:
    with pytest.raises(SettingsError, match=f"CARILLON_LOG_SETUP: {path}"):
        set_up(Settings(log_setup=path))


@pytest.mark.parametrize("value", ["my_errors", "my errors:f", "a:b:c", ":f", "os.system('x'):y"])
def test_what_names_no_function_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match="CARILLON_LOG_SETUP: module:function is needed"):
        load({"CARILLON_LOG_SETUP": value})
