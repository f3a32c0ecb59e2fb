"""A chat server's events in a task's arguments are shown by nothing that looks at tasks."""

import io
import json
import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from config.logs import set_up
from config.settings import Settings, get_settings
from worker.app import app
from worker.process.celery_request import QuietRequest, described

SECRET = "my secret alert"


@pytest.fixture(autouse=True)
def _settings(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Celery's configuration is read once a process."""
    monkeypatch.setenv("CARILLON_REDIS_URL", redis_url)
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


def request(args: Any, kwargs: Any) -> QuietRequest:
    headers = {
        "id": "1",
        "task": "carillon.fan_out",
        "argsrepr": f"({SECRET})",
        "kwargsrepr": f"{{'events': '{SECRET}'}}",
    }
    message = SimpleNamespace(
        headers=headers, payload=(args, kwargs, {}), body=b"", content_type="application/json",
        content_encoding="utf-8", delivery_info={}, properties={},
    )  # fmt: skip
    import worker.process.tasks  # noqa: F401 - registers the task

    return QuietRequest(message, app=app, task=app.tasks["carillon.fan_out"])


def test_the_app_s_tasks_use_it() -> None:
    import worker.process.tasks

    assert worker.process.tasks.fan_out.Request == "worker.process.celery_request:QuietRequest"


@pytest.mark.parametrize(
    ("args", "kwargs", "shown"),
    [
        pytest.param(
            [], {"events": [{"alert": SECRET}] * 3}, ("()", "{'events': 3 hidden}"), id="as the contract has it"
        ),
        pytest.param(["urgent", [{"alert": SECRET}]], {}, ("(2 hidden)", "{}"), id="by position"),
        pytest.param([], {"lane": "bulk"}, ("()", "{'lane': 'bulk'}"), id="a wake-up"),
        pytest.param([], {"lane": SECRET, SECRET: 1}, ("()", "{'lane': hidden}"), id="a name or a value of its own"),
        pytest.param(SECRET, SECRET, ("(hidden)", "{hidden}"), id="nonsense"),
    ],
)
def test_arguments_are_described_and_not_shown(args: Any, kwargs: Any, shown: tuple[str, str]) -> None:
    assert described(args, kwargs) == shown
    one = request(args, kwargs)
    assert (one.argsrepr, one.kwargsrepr) == shown
    assert SECRET not in json.dumps([one.info(), one.info(safe=False), one._request_dict["kwargsrepr"]], default=repr)


@pytest.mark.parametrize(
    ("template", "arguments", "said"),
    [
        pytest.param(
            "Received unregistered task of type %s.\nThe full contents of the message body was:\n%s\n%s\n%s\n",
            (KeyError("carillon.bogus"), f"body: {SECRET}", {"kwargsrepr": SECRET}, {}),
            "'carillon.bogus'",
            id="a misspelt task",
        ),
        pytest.param("Received invalid task message: %s\n%s", (ValueError(SECRET), SECRET), "ValueError", id="invalid"),
        pytest.param("Received and deleted unknown message.\n%s", (SECRET,), "unknown message", id="unknown"),
        pytest.param(
            "Can't decode message body: %r [type:%r encoding:%r headers:%s]\n\nbody: %s\n",
            (ValueError(SECRET), "x", "y", SECRET, SECRET),
            "decode message body: ValueError",
            id="no JSON",
        ),
    ],
)
def test_a_message_that_the_consumer_cannot_take_is_logged_without_its_content(
    template: str, arguments: tuple[Any, ...], said: str
) -> None:
    root = logging.getLogger()
    handlers, level, stream = root.handlers[:], root.level, io.StringIO()
    try:
        set_up(Settings(), stream)
        logging.getLogger("celery.worker.consumer.consumer").error(template, *arguments, exc_info=ValueError(SECRET))
    finally:
        root.handlers[:], root.level = handlers, level
    assert said in stream.getvalue() and "not logged" in stream.getvalue()
    assert SECRET not in stream.getvalue()


def test_the_beginnings_are_those_of_celery() -> None:
    from celery.worker.consumer import consumer

    from config.redaction import BODIES

    templates = (
        consumer.UNKNOWN_FORMAT, consumer.UNKNOWN_TASK_ERROR, consumer.INVALID_TASK_ERROR, consumer.MESSAGE_DECODE_ERROR,
    )  # fmt: skip
    assert all(template.startswith(words) for template, words in zip(templates, BODIES, strict=True))
