"""Logs: for people or for machines, and nothing that should stay secret in either."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any, Literal

import pytest

from config.logs import set_up
from config.redaction import redact
from config.settings import Settings

TOKEN = "0123456789abcdef" * 4
JWT = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJURUFNIn0.c2lnbmF0dXJlMTIzNDU2"
PEM = "-----BEGIN PRIVATE KEY-----\nMIGTAgEAMBMGByqGSM49\n-----END PRIVATE KEY-----"
SECRETS = [
    pytest.param(TOKEN, id="a device token"),
    pytest.param(TOKEN.upper(), id="a device token in capitals"),
    pytest.param(TOKEN * 2, id="a longer token"),
    pytest.param(JWT, id="a provider token"),
    pytest.param(PEM, id="a key"),
    pytest.param(PEM[:60], id="the beginning of a key"),
]


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:], logger.level = handlers, level


def written(form: Literal["text", "json"], message: str, **fields: Any) -> str:
    stream = io.StringIO()
    set_up(Settings(log_format=form), stream)
    logging.getLogger("worker.pipeline.delivery").warning(message, extra=fields)
    return stream.getvalue()


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_secret_is_in_no_message_and_no_field(
    root: logging.Logger, form: Literal["text", "json"], secret: str
) -> None:
    shown = written(form, f"sent to {secret} now", what=secret, many=[secret])
    assert secret not in shown
    assert "[redacted]" in shown


def test_a_secret_is_in_no_traceback(root: logging.Logger) -> None:
    for form in ("text", "json"):
        stream = io.StringIO()
        set_up(Settings(log_format=form), stream)
        try:
            raise ValueError(TOKEN)
        except ValueError:
            logging.getLogger("worker").exception("failed")
        assert "ValueError" in stream.getvalue()
        assert TOKEN not in stream.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a81bc81b-dead-4e5d-abff-90865d1e13b1", id="a uuid"),
        pytest.param("da39a3ee5e6b4b0d3255bfef95601890afd80709", id="a commit"),
        pytest.param("http://127.0.0.1:5555/api", id="an address"),
        pytest.param("redis://host:6379/0", id="a URL without a password"),
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_a_password_in_a_url_is_taken_out_and_the_rest_stays() -> None:
    assert redact("postgresql://carillon:hunter2@db:5432/x") == "postgresql://carillon:[redacted]@db:5432/x"


def test_json_is_one_object_a_line_with_the_records_own_fields(root: logging.Logger) -> None:
    (line,) = written("json", "batch delivered", jobs=500, seconds=0.25).splitlines()
    record = json.loads(line)
    assert record.pop("at").endswith("Z")
    assert record == {
        "level": "WARNING",
        "logger": "worker.pipeline.delivery",
        "message": "batch delivered",
        "jobs": 500,
        "seconds": 0.25,
    }


def test_text_ends_with_the_records_own_fields(root: logging.Logger) -> None:
    assert written("text", "batch delivered", jobs=500).endswith(
        "worker.pipeline.delivery  batch delivered  jobs=500\n"
    )


def test_the_message_that_celery_attaches_to_its_records_is_not_shown(root: logging.Logger) -> None:
    stream = io.StringIO()
    set_up(Settings(log_format="json"), stream)
    logging.getLogger("celery.worker").warning("received", extra={"data": {"args": "everything"}})
    assert "everything" not in stream.getvalue()
