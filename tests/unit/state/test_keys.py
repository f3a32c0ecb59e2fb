"""One table has every key in Redis."""

import re
from pathlib import Path
from typing import Final

import pytest

from config.celeryconfig import KEY_PREFIX
from producers import events, wire
from producers.partitions import LAYOUT_KEY
from worker.state import keys


def test_producers_celery_and_workers_mean_the_same_keys() -> None:
    """Producers import nothing of ours, and the configuration stands below the worker."""
    assert keys.PREFIX == KEY_PREFIX
    assert keys.EVENTS() == events.STREAM
    assert keys.APP_EVENTS("demo") == events.app_stream("demo")
    assert keys.PRESSURE() == wire.PRESSURE
    assert keys.LAYOUT() == LAYOUT_KEY
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


WORKER: Final = Path(keys.__file__).parents[1]
SOURCES: Final = {path: path.read_text() for path in WORKER.rglob("*.py")}


def test_without_a_tag_names_are_as_they_were() -> None:
    of = keys.Keys(keys.PREFIX, "partition")
    assert (of.OPEN(), of.APP_EVENTS("demo"), of.mark) == ("carillon:open", "carillon:events:demo", "")


def test_a_tagged_key_has_its_partition_s_prefix_and_its_parts_are_found_again() -> None:
    of = keys.Keys("carillon:{p1.42}:", "partition", "~1")
    assert of.APP_EVENTS("a:b") == "carillon:{p1.42}:events:a:b"
    assert of.COOLDOWN_REFUSALS.parts(of.COOLDOWN_REFUSALS("7@a:b")) == ("7@a:b",)
    assert of.OPEN is of.OPEN


@pytest.mark.parametrize(
    ("scope", "name"),
    [("partition", "WORKERS"), ("partition", "ONLINE"), ("fleet", "OPEN"), ("fleet", "READ"), ("partition", "NOTHING")],
)
def test_keys_of_another_scope_are_none_of_these(scope: keys.Scope, name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        getattr(keys.Keys(keys.PREFIX, scope), name)


def test_only_what_producers_write_has_a_name_without_a_partition_or_the_fleet() -> None:
    """`keys.ONLINE` is a key; `keys.OPEN` is one in some partition: `partition.keys.OPEN`."""
    for path, text in SOURCES.items():
        bare = set(re.findall(r"(?<![\w.])keys\.([A-Z_]+)\(", text))
        # Such a name may also be that of a local variable with the keys of a partition.
        if bare and re.search(r"from worker\.state import [^\n]*\bkeys\b", text):
            scopes = {name: keys.FAMILIES[name].scope for name in bare}
            assert set(scopes.values()) == {"producers"}, (path, scopes)


def test_every_family_that_is_asked_of_a_partition_or_the_fleet_is_one_of_its() -> None:
    for path, text in SOURCES.items():
        for owner, name in re.findall(r"(\w+)\._?keys\.([A-Z_]+)", text):
            scope = "fleet" if "fleet" in owner else None if owner == "self" else "partition"
            family = keys.FAMILIES[name]
            assert family.scope == scope or (scope is None and family.scope != "producers"), (path, owner, name)
