"""One table has every key in Redis."""

import pytest

from config.celeryconfig import KEY_PREFIX
from producers import events, wire
from worker.state import keys


def test_producers_celery_and_workers_mean_the_same_keys() -> None:
    """Producers import nothing of ours, and the configuration stands below the worker."""
    assert keys.PREFIX == KEY_PREFIX
    assert keys.EVENTS() == events.STREAM
    assert keys.APP_EVENTS("demo") == events.app_stream("demo")
    assert keys.PRESSURE() == wire.PRESSURE
    assert keys.ONLINE("demo", "han") == events.online_key("demo", "han")
    assert keys.REPLY("r1") == events.reply_key("r1")


def test_a_key_has_all_parts_of_its_name() -> None:
    assert keys.COOLDOWN_REFUSALS(7) == "carillon:notbefore:device:7:refusals"
    for parts in ((), (7, 8)):
        with pytest.raises(ValueError, match="parts given"):
            keys.COOLDOWN_REFUSALS(*parts)


def test_no_two_families_have_a_key_in_common() -> None:
    """The more special pattern is the one of a key that two match, as `ready:e:groups:<app>` is no lane's."""
    patterns = [family.pattern for family in keys.FAMILIES.values()]
    assert len(patterns) == len(set(patterns))
