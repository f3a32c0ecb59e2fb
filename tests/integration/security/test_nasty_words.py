"""What people and chat servers write is data on the whole pipeline, whatever it looks like to a shell, a database or a header."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from producers import EventError, Publisher
from producers import events as ev
from tests.integration.pipeline.harness import Pipeline, Tokens
from tests.integration.pipeline.keys import new_key
from worker.core.model import AppSettings, Provider
from worker.providers.apns.client import ApnsClient
from worker.providers.apns.sender import ApnsSender
from worker.providers.apns.settings import ApnsSettings, Key
from worker.simulator import Entry, Settings, SimulatorThread

TOPIC = "io.carillon.demo"

WORDS = [
    pytest.param("'; DROP TABLE carillon.devices; --", id="SQL"),
    pytest.param('"; $(touch /tmp/x) `id` && rm -rf ~ | cat', id="shell"),
    pytest.param("{{ 7*7 }} {% for x in y %} ${7*7} #{7*7} <%= 7 %>", id="templates"),
    pytest.param("%s %d %(name)s {0} {name} %n%n", id="formats"),
    pytest.param('\\u0000 \\x00 \\n \\\\ \\"', id="escapes spelt out"),
    pytest.param('{a,b} [c] "d",NULL, \\N', id="array literals"),
    pytest.param("*carillon:events* ?[a-z] **", id="patterns"),
    pytest.param("\u202eevil\u202c \u200f\u2066مرحبا\u2069", id="right to left"),
    pytest.param("👩‍👩‍👧‍👦🏳️‍🌈 é e\u0301 \U0001f1e8\U0001f1ed \ufeff\u200b", id="emoji and joiners"),
    pytest.param("../../etc/passwd ..\\..\\ C:\\ /dev/null", id="paths"),
    pytest.param("b:1,e:2,-1 0-0 - + $ > (", id="our own separators"),
    pytest.param("<script>alert(1)</script>&amp;\u2028\u2029", id="markup"),
]
LONG = "x" * 255


@pytest.fixture
def simulator() -> Iterator[SimulatorThread]:
    with SimulatorThread(Settings(topics=(TOPIC,))) as running:
        yield running


@pytest.fixture
def pipeline(postgres_url: str, redis_url: str, simulator: SimulatorThread) -> Iterator[Pipeline]:
    """The pipeline with the real sender, to the simulator."""
    made = Pipeline(postgres_url, redis_url)
    made.now = time.time()
    sender = ApnsSender(connections=1)
    made.clients["apns"] = ApnsClient(sender, cast("Any", Tokens()))
    yield made
    sender.close()
    made.close()


def now() -> dict[str, Any]:
    return {"at": datetime.now(UTC)}


def sent_whole(pipeline: Pipeline, simulator: SimulatorThread, app: str, words: str) -> Entry:
    """One message in which every id and text is `words`, from the registration of a device to the simulator."""
    pipeline.registry.save_app(AppSettings(app))
    settings = ApnsSettings(TOPIC, Key("T", "K", new_key()), simulator.host, simulator.port, simulator.ca_pem)
    pipeline.registry.save_provider(Provider(0, app, "apns", "production", settings))
    common = {"app": app, **now()}
    device = ev.Device(token="ab" * 32, locale=words[:35], attributes={words: [words, {words: words}]})
    pipeline.publish(
        ev.ChannelUpdated(id="1", **common, channel=ev.ChannelSettings(id=words, name=words)),
        ev.MemberAdded(id="2", **common, channel=ev.ChannelId(id=words), users=[words, "sender " + words[:200]]),
        ev.DeviceRegistered(id="3", **common, user=words, device=device),
        ev.UserMuted(id="4", **common, user=words, target="somebody " + words[:200]),
        ev.MessageNew(
            id=words,
            **common,
            channel=ev.Channel(id=words, name=words),
            message=ev.Message(id=words, text=words, mentioned=[words], kind=words, data={words: words}),
            sender=ev.Sender(id="sender " + words[:200], name=words, image=f"https://example.com/{words}"),
        ),
    )
    pipeline.run()
    entry: Entry
    [entry] = simulator.accepted
    assert simulator.refused == []
    return entry


@pytest.mark.parametrize("words", [*WORDS, pytest.param(LONG, id="as long as an id may be")])
def test_words_arrive_as_they_were_written(pipeline: Pipeline, simulator: SimulatorThread, words: str) -> None:
    entry = sent_whole(pipeline, simulator, words.replace(":", ";"), words)
    payload = json.loads(entry.payload or b"")
    assert payload["aps"]["alert"]["body"] == words
    assert words.rstrip("\u2028\u2029") in payload["aps"]["alert"]["title"], "a name has no line break"
    # What names the message to the app is what the chat server said.
    assert words in json.dumps(payload, ensure_ascii=False) or json.dumps(words) in json.dumps(payload)
    with pipeline.pool.connection() as db:
        assert db.execute("SELECT user_id FROM carillon.devices").fetchall() == [(words,)]
        assert db.execute("SELECT count(*) FROM carillon.dead_letters").fetchone() == (0,)


@pytest.mark.parametrize("words", WORDS)
def test_no_header_holds_anything_of_a_message(pipeline: Pipeline, simulator: SimulatorThread, words: str) -> None:
    entry = sent_whole(pipeline, simulator, "demo", words)
    headers = [str(value) for name, value in entry._asdict().items() if name != "payload"]
    assert not [value for value in headers if words in value]


FORGED = [
    pytest.param("a\r\napns-topic: other", id="CRLF"),
    pytest.param("a\nERROR forged line", id="a line break"),
    pytest.param("a\x00b", id="NUL"),
    pytest.param("\x1b[2J\x1b]0;owned\x07", id="a terminal's escape"),
    pytest.param("a\x85b\x9bc", id="C1 controls"),
    pytest.param("\ud800", id="half a surrogate pair"),
]
FIELDS = ["id", "app", "channel.id", "message.id", "message.kind", "sender.id", "message.mentioned[0]", "recipients[0]"]


@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.parametrize("field", FIELDS)
def test_no_id_has_a_control_character(redis_url: str, field: str, forged: str) -> None:
    document = {
        "v": 1,
        "type": "message.new",
        "id": "e",
        "app": "demo",
        "at": "2026-11-21T20:00:00Z",
        "channel": {"id": "c"},
        "message": {"id": "m", "kind": "k", "mentioned": ["u"]},
        "sender": {"id": "s"},
        "recipients": ["r"],
    }
    *path, last = field.replace("[0]", ".0").split(".")
    place: Any = document
    for step in path:
        place = place[step]
    place[0 if last == "0" else last] = forged
    with Publisher(redis_url) as publisher, pytest.raises(EventError):
        publisher.publish(document)


@pytest.mark.parametrize("forged", FORGED)
def test_what_becomes_a_path_is_hexadecimal(pipeline: Pipeline, forged: str) -> None:
    for number, token in enumerate((forged, f"{'ab' * 32}/../../x", "../" * 20, "ab cd", "%61%62", "é" * 64)):
        event = {
            "v": 1,
            "type": "device.registered",
            "id": str(number),
            "app": "demo",
            "at": "2026-11-21T20:00:00Z",
            "user": "han",
            "device": {"token": token},
        }
        pipeline.publish(json.dumps(event).encode())
    pipeline.take()
    with pipeline.pool.connection() as db:
        # Spaces, as in a token that an app has printed, are no part of it.
        assert db.execute("SELECT token FROM carillon.devices").fetchall() == [("abcd",)]
