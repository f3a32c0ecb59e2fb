"""What ops rely on in Celery's configuration."""

import pytest
from celery.app.defaults import NAMESPACES, flatten

from config.celeryconfig import BULK, LANES, URGENT, celery_config
from config.settings import Settings


@pytest.fixture
def conf() -> dict[str, object]:
    return celery_config(Settings(), "redis://localhost/0")


def test_celery_knows_every_setting(conf: dict[str, object]) -> None:
    assert conf.keys() <= dict(flatten(NAMESPACES)).keys()


def test_only_json_is_taken(conf: dict[str, object]) -> None:
    assert conf["accept_content"] == ["json"]


def test_a_message_is_acknowledged_when_its_work_is_done(conf: dict[str, object]) -> None:
    assert conf["task_acks_late"]
    assert conf["task_reject_on_worker_lost"]


def test_no_result_is_stored(conf: dict[str, object]) -> None:
    assert conf["task_ignore_result"]
    assert conf["result_backend"] is None


def test_a_lane_is_a_queue_and_all_are_both() -> None:
    assert LANES == {"urgent": (URGENT,), "bulk": (BULK,), "all": (URGENT, BULK)}


@pytest.mark.parametrize("timeout", [10, 60, 600])
def test_a_task_ends_before_its_message_is_handed_out_again(timeout: int) -> None:
    conf = celery_config(Settings(visibility_timeout=timeout), "redis://localhost/0")
    # Its thread pool knows none: a limit here would be one that nothing keeps.
    assert "task_time_limit" not in conf


def test_a_worker_takes_few_messages_ahead(conf: dict[str, object]) -> None:
    assert conf["worker_prefetch_multiplier"] == 1


def test_a_tick_that_waited_is_dropped(conf: dict[str, object]) -> None:
    schedule = conf["beat_schedule"]
    assert isinstance(schedule, dict)
    (tick,) = schedule.values()
    assert tick["task"] == "carillon.tick"
    assert tick["options"]["expires"] < 10


def test_a_redis_that_takes_no_writes_ends_no_worker(conf: dict[str, object]) -> None:
    assert conf["broker_channel_error_retry"]
    # A queue of another type at RabbitMQ does: that does not pass.
    assert "broker_channel_error_retry" not in celery_config(
        Settings(broker_url="amqp://localhost"), "redis://localhost/0"
    )
