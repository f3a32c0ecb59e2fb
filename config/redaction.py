"""Removes secrets from texts, from log records, and from the events of an error tracker."""

import logging
import re
import traceback
from collections.abc import Mapping
from typing import Any, Final

REDACTED: Final = "[redacted]"
#: The parts of a browser's subscription, by their names in JSON or in a `repr`.
_SUBSCRIPTION: Final = re.compile(r"""((?:endpoint|p256dh|auth)\\?["']?\s*[:=]\s*\\?["'])[^"'\\]+""")
#: What is removed from every text: PEM blocks, JWTs, credentials in URLs, device tokens (64 hex digits or more, or
#: Firebase's), and what reaches a browser: the address at its push service, and its key (87 characters, the first is always B).
_SECRETS: Final = (
    (re.compile(r"-----BEGIN [^-]+-----.*?(?:-----END [^-]+-----|\Z)", re.DOTALL), REDACTED),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), REDACTED),
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s@/]+@", re.IGNORECASE), rf"\1{REDACTED}@"),
    (re.compile(r"([?&](?:ssl|sentinel)_password=)[^&\s\"'<>\\]+", re.IGNORECASE), rf"\1{REDACTED}"),
    (re.compile(r"(?<![0-9A-Za-z])[0-9a-fA-F]{64,}(?![0-9A-Za-z])"), REDACTED),
    (re.compile(r"(?<![\w-])[\w-]{8,}:APA91[\w-]{20,}"), REDACTED),
    (
        re.compile(
            r"(https://(?:[\w.-]+\.)?(?:googleapis\.com/(?:fcm/send|wp)|push\.services\.mozilla\.com|push\.apple\.com"
            r"|notify\.windows\.com)(?::\d+)?/)[^\s\"'<>\\]+",
            re.IGNORECASE,
        ),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"(?<![\w-])B[\w-]{86}=?(?![\w-])"), REDACTED),
    (_SUBSCRIPTION, rf"\1{REDACTED}"),
)
#: Attributes of every record; all others come from `extra`.
STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
#: The loggers whose own fields are shown. Celery attaches a task's whole message to its records.
_OURS: Final = ("worker", "config", "producers", "benchmarks")
#: The logger of Celery that shows the whole body of a message that it cannot read, and the beginnings of these records.
_CONSUMER: Final = "celery.worker.consumer.consumer"
BODIES: Final = (
    "Received and deleted unknown message",
    "Received unregistered task",
    "Received invalid task message",
    "Can't decode message body",
)


def redact(text: str) -> str:
    """The text without anything that looks like a device token, a subscription, JWT, PEM block or password in a URL."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def without_subscription(text: str) -> str:
    """A document without what reaches a browser."""
    return _SUBSCRIPTION.sub(rf"\1{REDACTED}", text)


def redact_event(event: dict[str, Any], _hint: object = None) -> dict[str, Any]:
    """For Sentry's `before_send`: the event with every text redacted, and without the local variables of its frames."""
    redacted: dict[str, Any] = _redacted(event)
    return redacted


def redact_every_record() -> None:
    """From now on each record of this process is redacted when it is made, so that every handler gets it without secrets."""
    if logging.Logger.makeRecord is not _make_record:
        # A record factory would not see `extra`, and the filters of a logger not the records of loggers below it.
        logging.Logger.makeRecord = _make_record  # type: ignore[assignment, method-assign]


_make: Final = logging.Logger.makeRecord


def _make_record(logger: logging.Logger, *args: Any, **kwargs: Any) -> logging.LogRecord:
    record = _make(logger, *args, **kwargs)
    _without_body(record)
    _without_foreign_fields(record)
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001 - arguments that do not fit; a handler would print all of them
        message, record.args = str(record.msg), ()
    fields = {name: value for name, value in vars(record).items() if name not in STANDARD}
    # One look at everything: nearly no record has a secret.
    values = " ".join(map(str, fields.values()))
    if _has_secret(f"{message} {record.msg!r} {record.args!r} {values} {fields!r} {record.stack_info}"):
        _redact(record, message, fields)
    _redact_exception(record)
    return record


def _without_body(record: logging.LogRecord) -> None:
    """Keeps the cause in a record of `BODIES` and removes the message, which may hold texts and tokens."""
    beginning = next((words for words in BODIES if str(record.msg).startswith(words)), None)
    if record.name == _CONSUMER and beginning is not None:
        fault = record.args[0] if isinstance(record.args, tuple) and record.args else None
        cause = f": {type(fault).__name__}" if isinstance(fault, Exception) and not isinstance(fault, KeyError) else ""
        name = f": {fault}"[:200] if isinstance(fault, KeyError) else ""
        record.msg, record.args = f"{beginning}{cause}{name}; it is thrown away, and its content is not logged", ()
        record.exc_info = record.exc_text = None


def _without_foreign_fields(record: logging.LogRecord) -> None:
    """Removes the fields of other libraries' records: they may hold anything."""
    if record.name.partition(".")[0] not in _OURS:
        for name in vars(record).keys() - STANDARD:
            delattr(record, name)


def _redact(record: logging.LogRecord, message: str, fields: Mapping[str, object]) -> None:
    record.msg, record.args = redact(message), ()
    for name, value in fields.items():
        if _has_secret(f"{value} {value!r}"):
            setattr(record, name, redact(str(value)))
    if record.stack_info:
        record.stack_info = redact(record.stack_info)


def _has_secret(text: str) -> bool:
    return redact(text) != text


def _redact_exception(record: logging.LogRecord) -> None:
    """Where an exception shows a secret, handlers get its redacted traceback, and an exception of the same name."""
    fault = record.exc_info[1] if record.exc_info else None
    if fault is None:
        return
    shown = "".join(traceback.format_exception(fault)).rstrip("\n")
    clean = redact(shown)
    if clean != shown or any(_has_secret(repr(one)) for one in _chain(fault)):
        record.exc_text = clean
        record.exc_info = _exc_info(_stand_in(fault))


def _exc_info(fault: BaseException) -> tuple[type[BaseException], BaseException, Any]:
    return type(fault), fault, fault.__traceback__


def _chain(fault: BaseException) -> list[BaseException]:
    """The exception, and those that it was raised from or during."""
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [fault]
    while waiting:
        one = waiting.pop()
        if one is not None and one not in found:
            found.append(one)
            waiting += [one.__cause__, one.__context__]
            waiting += one.exceptions if isinstance(one, BaseExceptionGroup) else ()
    return found


def _stand_in(fault: BaseException) -> BaseException:
    chain = _chain(fault)
    stand_ins = {id(one): _renamed(one) for one in chain}
    for one in chain:
        stand_in = stand_ins[id(one)]
        stand_in.__cause__ = stand_ins.get(id(one.__cause__))
        stand_in.__context__ = stand_ins.get(id(one.__context__))
        stand_in.__suppress_context__ = one.__suppress_context__
        stand_in.__traceback__ = one.__traceback__
    return stand_ins[id(fault)]


def _renamed(fault: BaseException) -> BaseException:
    """An exception of the same name with a redacted text, and nothing else of the other one."""
    kind = type(fault)
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    made: BaseException = type(kind.__name__, (Exception,), names)(redact(str(fault)))
    return made


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {_redacted(name): _redacted(one) for name, one in value.items() if name != "vars"}
    if isinstance(value, list | tuple):
        return [_redacted(one) for one in value]
    return value
