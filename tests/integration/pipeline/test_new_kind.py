"""A kind that is one folder and one line of registration delivers over the whole pipeline, and people read its words."""

import time
from collections.abc import Iterator

import pytest

from producers import events as ev
from tests.integration.pipeline.harness import Pipeline, message, stamp
from tests.unit.kinds.toy.kind import ToyClient, ToySettings
from worker.core.model import Answer, NoAnswer, Provider
from worker.providers import kinds
from worker.reports import conditions
from worker.reports.delivery_report import Tried, Via, device_line
from worker.reports.reading import read


@pytest.fixture
def toy(pipeline: Pipeline) -> Iterator[ToyClient]:
    """The app has a provider of the new kind alone."""
    kinds.register("tests.unit.kinds.toy.kind")
    client = ToyClient()
    pipeline.clients["toy"] = client
    pipeline.registry.remove_provider("demo", "apns")
    pipeline.provider = pipeline.registry.save_provider(
        Provider(0, "demo", "way", "production", ToySettings("box7", "hunter2"))
    )
    yield client
    del kinds.KINDS["toy"]


def register(pipeline: Pipeline, *tokens: str) -> None:
    pipeline.publish(ev.MemberAdded(**stamp(), channel=ev.ChannelId(id="general"), users=["leia", *tokens]))
    for token in tokens:
        pipeline.publish(ev.DeviceRegistered(**stamp(), user=token, device=ev.Device(token=f" {token} ")))


def test_its_settings_are_in_a_row_and_come_back(pipeline: Pipeline, toy: ToyClient) -> None:
    assert pipeline.registry.providers() == {pipeline.provider.id: pipeline.provider}
    with pipeline.pool.connection() as db:
        rows = db.execute("SELECT kind, settings FROM carillon.providers WHERE removed_at IS NULL").fetchall()
    assert rows == [("toy", {"box": "box7"})]
    assert pipeline.registry.rotate() == 1
    assert pipeline.registry.providers() == {pipeline.provider.id: pipeline.provider}


def test_its_devices_get_what_is_said_to_them(pipeline: Pipeline, toy: ToyClient) -> None:
    register(pipeline, "han", "luke")
    pipeline.publish(message())
    pipeline.run()
    assert sorted(one.token for one in toy.arrived) == ["HAN", "LUKE"]
    assert pipeline.apns.sent == []
    assert pipeline.journal.counts("demo")["accepted"] == 2
    way = Via("way", "toy")
    assert device_line([Tried("accepted", time.time())], way).startswith("accepted by the toy, ")


def test_its_answers_have_its_own_outcomes(pipeline: Pipeline, toy: ToyClient) -> None:
    toy.answers = {"HAN": Answer(410), "LUKE": NoAnswer("unknown", "lost")}
    register(pipeline, "han", "luke")
    pipeline.publish(message())
    pipeline.run()
    counts = pipeline.journal.counts("demo")
    assert (counts["retired.status_410"], counts["retry.lost"]) == (1, 1)
    with pipeline.pool.connection() as db:
        assert db.execute("SELECT user_id FROM carillon.devices WHERE active").fetchall() == [("luke",)]


def test_its_provider_stops_and_says_what_to_do(pipeline: Pipeline, toy: ToyClient) -> None:
    toy.answers = {"HAN": Answer(403)}
    register(pipeline, "han")
    pipeline.publish(message())
    pipeline.run()
    with pipeline.pool.connection() as db:
        found = conditions.find(read(pipeline.keyspace, db, workers=False).snapshot)
    [stopped] = [one for one in found if one.name == "provider_stopped"]
    assert "(status_403)" in stopped.text and stopped.text.endswith("look into its box")


def test_a_row_of_another_releases_kind_is_left_out_and_stops_no_other(
    pipeline: Pipeline, toy: ToyClient, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline.add_provider("apns")
    kept = kinds.KINDS.pop("toy")
    assert [one.name for one in pipeline.registry.providers().values()] == ["apns"]
    assert pipeline.registry.rotate() == 2
    assert [record.message for record in caplog.records] == ["provider left out: this release does not know its kind"]
    kinds.KINDS["toy"] = kept
    assert pipeline.provider in pipeline.registry.providers().values()
