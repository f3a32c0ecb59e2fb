"""What an app says of its device beside its token: stored with each registration, and read with the device."""

from typing import Any

import pytest

from producers import events as ev
from tests.integration.pipeline.harness import Pipeline, stamp
from worker.core.model import Device
from worker.database.audience import Audience
from worker.database.device_writes import unmet
from worker.database.devices import Devices
from worker.pipeline.registrations import read_call

P256DH = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
AUTH = "BTBZMqHH6r4Tts7J_aSIgg"


def keys(**others: str) -> ev.DeviceKeys:
    return ev.DeviceKeys(**({"id": "k1", "scheme": "aes128gcm", "p256dh": P256DH, "auth": AUTH} | others))


def registered(seconds: float, **said: Any) -> ev.DeviceRegistered:
    return ev.DeviceRegistered(**stamp(seconds), user="han", device=ev.Device(token="ab", **said))


def stored(pipeline: Pipeline) -> Device:
    [device] = Audience(pipeline.pool).active([("demo", "han")])["demo"]["han"]
    return device


def test_the_newest_registration_says_all_of_it_in_whatever_order_they_come(pipeline: Pipeline) -> None:
    pipeline.publish(registered(2, accepts=["clear", "sealed"], privacy="id", keys=keys(id="k2")))
    pipeline.publish(registered(1, accepts=["edit"], privacy="full", keys=keys()))
    pipeline.take()
    device = stored(pipeline)
    assert (list(device.accepts), device.privacy, device.key) == (["clear", "sealed"], "id", "k2")

    pipeline.publish(registered(3))
    pipeline.take()
    device = stored(pipeline)
    assert (list(device.accepts), device.privacy, device.key) == ([], None, "")
    assert Devices(pipeline.pool).keys([device.id]) == {}


def test_keys_are_stored_sealed_and_found_by_their_device(pipeline: Pipeline) -> None:
    pipeline.publish(registered(1, accepts=["sealed"], keys=keys()))
    pipeline.take()
    [(key, sealed)] = Devices(pipeline.pool).keys([stored(pipeline).id]).values()
    assert key == "k1" and pipeline.registry.device_secrets.unseal(sealed) is not None
    with pipeline.pool.connection() as db:
        rows = str(db.execute("SELECT to_jsonb(d) FROM carillon.devices d").fetchall())
    assert not [secret for secret in (P256DH, P256DH[5:60], AUTH) if secret in rows]


def test_keys_of_another_scheme_are_as_none(pipeline: Pipeline) -> None:
    pipeline.publish(registered(1, accepts=["sealed"], keys=keys(scheme="x25519", p256dh="ab", auth="cd")))
    pipeline.take()
    device = stored(pipeline)
    assert (list(device.accepts), device.key, device.opens_sealed) == (["sealed"], "", False)


def test_a_registration_is_not_in_force_while_others_keys_are(pipeline: Pipeline) -> None:
    def unfulfilled(event: ev.DeviceRegistered) -> bool:
        writes = read_call("1-0", event, b"", pipeline.apps).writes
        with pipeline.pool.connection() as db:
            return unmet(db, writes) != [None]

    pipeline.publish(registered(1, accepts=["sealed"], keys=keys()))
    pipeline.take()
    assert not unfulfilled(registered(1, accepts=["sealed"], keys=keys()))
    assert unfulfilled(registered(1, accepts=["sealed"], keys=keys(auth="A" * 22)))
    assert unfulfilled(registered(1, keys=keys()))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        pytest.param({"p256dh": "not base64!"}, "device.keys.p256dh: not base64url", id="no base64"),
        pytest.param({"p256dh": "B" + "A" * 86}, "device.keys.p256dh: not an uncompressed point", id="off the curve"),
        pytest.param({"p256dh": P256DH[:-4]}, "device.keys.p256dh: 62 octets, where 65", id="a short point"),
        pytest.param({"auth": AUTH[:-2]}, "device.keys.auth: 15 octets, where 16", id="a short secret"),
    ],
)
def test_a_key_that_is_none_is_refused_by_its_field_and_not_shown(
    pipeline: Pipeline, given: dict[str, str], says: str
) -> None:
    pipeline.publish(registered(1, keys=keys(**given)))
    pipeline.take()
    [letter] = pipeline.ledger.dead_letters()
    assert says in letter.letter.error
    assert not [value for value in given.values() if value in letter.letter.error]
