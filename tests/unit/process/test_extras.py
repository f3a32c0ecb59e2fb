"""A worker that should export traces, and lacks what that needs, says so before it begins."""

import sys

import pytest

from config.secrets import generate_key
from config.settings import SettingsError, get_settings
from worker.process import celery_app


def test_a_worker_without_opentelemetry_is_refused_only_if_it_should_export(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "worker.process.traces", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    # Nobody is there: a worker that is not refused for the extra comes as far as that.
    monkeypatch.setenv("CARILLON_REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("CARILLON_POSTGRES_URL", "postgresql://127.0.0.1:1/x")
    monkeypatch.setenv("CARILLON_SECRET_KEYS", generate_key())
    monkeypatch.setattr("worker.state.redis.await_fit", reached)
    for share, fault in (("0", Reached), ("0.5", SettingsError)):
        monkeypatch.setenv("CARILLON_TRACES_SAMPLE", share)
        get_settings.cache_clear()
        try:
            with pytest.raises(fault) as caught:
                celery_app.refuse_unusable()
        finally:
            get_settings.cache_clear()
    assert str(caught.value).startswith("CARILLON_TRACES_SAMPLE: opentelemetry")
    assert str(caught.value).endswith("is missing, install Carillon with its extra `traces`")


class Reached(Exception):
    pass


def reached(*_: object, **__: object) -> None:
    raise Reached
