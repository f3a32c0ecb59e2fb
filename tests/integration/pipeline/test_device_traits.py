"""What an app says of its device beside its token: stored with each registration, and read with the device."""

from typing import Any

from tests.integration.pipeline.harness import Pipeline
from worker.core.model import traits_of
from worker.database.audience import Audience
from worker.database.device_writes import DeviceWrite, unmet, write_devices
from worker.database.devices import Devices
from worker.database.postgres import transaction


def registered(pipeline: Pipeline, at: int, **said: Any) -> None:
    with transaction(pipeline.pool) as db:
        write_devices(db, [DeviceWrite("demo", "ab", "han", at, pipeline.provider.id, **said)])


def test_the_newest_registration_says_all_of_it_in_whatever_order_they_come(pipeline: Pipeline) -> None:
    said = traits_of(["clear", "sealed"], "id", "k2")
    registered(pipeline, 2, traits=said, keys="sealed by us")
    registered(pipeline, 1, traits=traits_of(["edit"], "full", "k1"), keys="older")
    [device] = Audience(pipeline.pool).active([("demo", "han")])["demo"]["han"]
    assert (list(device.accepts), device.privacy, device.opens_sealed) == (["clear", "sealed"], "id", True)
    assert Devices(pipeline.pool).keys([device.id]) == {device.id: ("k2", "sealed by us")}

    registered(pipeline, 3)
    [device] = Audience(pipeline.pool).active([("demo", "han")])["demo"]["han"]
    assert (list(device.accepts), device.privacy, device.opens_sealed) == ([], "", False)
    assert Devices(pipeline.pool).keys([device.id]) == {}


def test_a_write_with_other_keys_at_the_same_time_is_not_in_force(pipeline: Pipeline) -> None:
    registered(pipeline, 1, traits=traits_of([], None, "k1"), keys="one")
    write = DeviceWrite("demo", "ab", "han", 1, pipeline.provider.id, traits=traits_of([], None, "k1"), keys="one")
    with pipeline.pool.connection() as db:
        assert unmet(db, [write]) == [None]
        assert unmet(db, [write._replace(keys="two")]) != [None]
        assert unmet(db, [write._replace(traits=None)]) != [None]
