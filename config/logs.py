"""Sets up logging once for a process: text for people or JSON lines for machines. `config.redaction` keeps secrets out."""

import importlib
import json
import logging
import sys
import time
from collections.abc import Callable
from typing import Any, Final, TextIO

from config.redaction import STANDARD, redact_every_record
from config.settings import Settings, SettingsError

#: Libraries whose INFO lines are of use only to their authors. Celery's two log twice for every task.
_TALKATIVE: Final = (
    "celery.worker.request",
    *("httpx", "httpcore", "hpack", "h2", "kombu", "amqp", "celery.redirected", "tornado.access"),
    *("celery.worker.strategy", "celery.app.trace", "celery.beat"),
)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in STANDARD}


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
            line["traceback"] = record.exc_text or self.formatException(record.exc_info)
        return json.dumps({name: _plain(value) for name, value in line.items()}, ensure_ascii=False)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def set_up(settings: Settings, stream: TextIO | None = None) -> None:
    """Sends every logger's records, redacted, to `stream` (standard error), and replaces earlier handlers.

    Then it calls the operator's `CARILLON_LOG_SETUP`. Raises `SettingsError` if that cannot be imported.
    """
    redact_every_record()
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    # A stopping worker puts back wake-ups that it has just taken, and its log line sounds as if they were lost.
    logging.getLogger("kombu.transport.virtual.base").setLevel(logging.ERROR)
    # It warns of every connection that ended while idle. A caller that gets none logs the cause.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    if settings.log_setup:
        _function(settings.log_setup)()


def _function(path: str) -> Callable[[], object]:
    module, _, name = path.partition(":")
    try:
        found: Callable[[], object] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as fault:
        raise SettingsError(f"CARILLON_LOG_SETUP: {path} cannot be imported: {fault}") from fault
    return found
