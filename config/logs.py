"""Sets up logging once for a process: text for people or JSON lines for machines, without secrets."""

import json
import logging
import re
import sys
import time
from typing import Any, Final, TextIO

from config.settings import Settings

REDACTED: Final = "[redacted]"
#: The parts of a browser's subscription, by their names in JSON or in a `repr`.
_SUBSCRIPTION: Final = re.compile(r"""((?:endpoint|p256dh|auth)\\?["']?\s*[:=]\s*\\?["'])[^"'\\]+""")
#: What is removed from every log line: PEM blocks, JWTs, credentials in URLs, device tokens (64 hex digits or more, or
#: Firebase's), and what reaches a browser: the address at its push service, and its key (87 characters, the first is always B).
_SECRETS: Final = (
    (re.compile(r"-----BEGIN [^-]+-----.*?(?:-----END [^-]+-----|\Z)", re.DOTALL), REDACTED),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), REDACTED),
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s@/]+@", re.IGNORECASE), rf"\1{REDACTED}@"),
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
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
#: Libraries whose INFO lines are of use only to their authors. Celery's two log twice for every task.
_TALKATIVE: Final = (
    "celery.worker.request",
    *("httpx", "httpcore", "hpack", "h2", "kombu", "amqp", "celery.redirected", "tornado.access"),
    *("celery.worker.strategy", "celery.app.trace", "celery.beat"),
)
#: The loggers whose own fields are shown. Celery attaches a task's whole message to its records.
_OURS: Final = ("worker", "config", "producers", "benchmarks")


def redact(text: str) -> str:
    """The text without anything that looks like a device token, a subscription, JWT, PEM block or password in a URL."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def without_subscription(text: str) -> str:
    """A document without what reaches a browser."""
    return _SUBSCRIPTION.sub(rf"\1{REDACTED}", text)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    if record.name.partition(".")[0] not in _OURS:
        return {}
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _one_line(value: Any) -> str:
    """A value that may come from a document, with line breaks and terminal control characters escaped."""
    text = str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class TextFormatter(logging.Formatter):
    """`12:03:04.123 INFO    worker.pipeline.delivery  batch delivered  jobs=500`, and a traceback below."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s  %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        pairs = "".join(f"  {name}={_one_line(value)}" for name, value in _fields(record).items())
        return super().formatMessage(record) + pairs

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


#: The beginnings of records in which Celery's consumer shows the whole body of a message that it cannot read.
_BODIES: Final = (
    "Received and deleted unknown message",
    "Received unregistered task",
    "Received invalid task message",
    "Can't decode message body",
)


def without_body(record: logging.LogRecord) -> bool:
    """A filter that keeps the cause in such a record and removes the message, which may hold texts and tokens."""
    beginning = next((words for words in _BODIES if str(record.msg).startswith(words)), None)
    if beginning is not None:
        fault = record.args[0] if isinstance(record.args, tuple) and record.args else None
        cause = f": {type(fault).__name__}" if isinstance(fault, Exception) and not isinstance(fault, KeyError) else ""
        name = f": {fault}"[:200] if isinstance(fault, KeyError) else ""
        record.msg, record.args = f"{beginning}{cause}{name}; it is thrown away, and its content is not logged", ()
        record.exc_info = record.exc_text = None
    return True


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `at` (RFC 3339, UTC), `level`, `logger`, `message`, and the record's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "at": f"{at}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(_fields(record))
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps({name: _plain(value) for name, value in line.items()}, ensure_ascii=False)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float) else redact(str(value))


def set_up(settings: Settings, stream: TextIO | None = None) -> None:
    """Sends every logger's records to `stream` (standard error), and replaces earlier handlers."""
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    logging.getLogger("celery.worker.consumer.consumer").addFilter(without_body)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    # A stopping worker puts back wake-ups that it has just taken, and its log line sounds as if they were lost.
    logging.getLogger("kombu.transport.virtual.base").setLevel(logging.ERROR)
    # It warns of every connection that ended while idle. A caller that gets none logs the cause.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
