"""docs/platforms.md: each cell of the table names places, and what the kind sends has the row's value there."""

import json
import re
from typing import Any, Final

import msgspec
import pytest

from producers import events as ev
from tests.integration.pipeline.harness import message
from tests.processes import ROOT
from tests.unit.fcm.key_files import account
from tests.unit.kinds.examples import EXAMPLES
from worker.core import notification
from worker.core.batch import Job, Sending
from worker.core.loudness import loudness
from worker.core.model import Provider
from worker.core.targeted import badge_sending, push_sending
from worker.providers.fcm.settings import FcmSettings
from worker.providers.kinds import KINDS
from worker.providers.web.request import topic_of

NOW: Final = 1_800_000_000
EXPIRES: Final = NOW + 60
SENT: Final = round(message().at.timestamp() * 1000)
COLLAPSE: Final = "c" * 40
IMAGE: Final = "https://example.com/leia.png"
#: By column: the kind, and where its body has what is of one message.
COLUMNS: Final = {"APNs": "apns", "FCM": "fcm", "Web Push": "web", "Webhook": "webhook"}
PREFIXES: Final[dict[str, tuple[Any, ...]]] = {"fcm": ("message",), "webhook": ("recipients", 0)}


def chat() -> Sending:
    """A message with all that one may have, folded from three."""
    event = message(text="hello", data={"n": 7})
    event = msgspec.structs.replace(
        event,
        channel=ev.Channel(id="general", name="General", kind="group"),
        sender=ev.Sender(id="leia", name="Leia", image=IMAGE),
    )
    loud = loudness(event, "mention")
    rendered = notification.render(
        event, why="mention", loud=loud, members=9, group="Crew", count=3, phrase="3 new", one_sender=True
    )
    payload = json.loads(rendered.payload())
    payload["aps"]["category"] = "CHAT"
    payload["aps"]["alert"] = {"title": "Leia", "subtitle": "General", "body": "hello"}
    document = json.dumps(payload, separators=(",", ":"))
    head = '{"aps":{'
    return Sending(
        "1-0",
        "e1",
        head,
        document[len(head) :],
        EXPIRES,
        COLLAPSE,
        kind="regular",
        channel="general",
        importance=loud.importance,
    )


def push(**fields: Any) -> Sending:
    event = ev.PushSend(id="p1", app="demo", at=message().at, where=ev.Where(everyone=True), **fields)
    return push_sending("1-0", 0, event, 3_600)


CHAT: Final = chat()
CLEARED: Final = badge_sending("1-0", 0, ev.BadgeCleared(id="b1", app="demo", at=message().at, user="han"))
#: By row: what is sent, and the value that every place of the row has in one of these spellings.
ROWS: Final[dict[str, tuple[Sending, tuple[Any, ...]]]] = {
    "badge": (CHAT, (7, "7")),
    "collapse id": (CHAT, (COLLAPSE, topic_of(COLLAPSE))),
    "expiry": (CHAT, (EXPIRES, str(EXPIRES), "60s", "60")),
    "priority": (CHAT, (10, "10", "HIGH", "high")),
    "title": (CHAT, ("Leia", "Leia · General")),
    "subtitle": (CHAT, ("General", "Leia · General")),
    "text": (CHAT, ("hello",)),
    "thread or channel": (CHAT, ("general",)),
    "sound": (CHAT, ("default",)),
    "image": (CHAT, (IMAGE,)),
    "mutable content": (CHAT, (1, True)),
    "category": (CHAT, ("CHAT",)),
    "custom data": (CHAT, ({"n": 7}, '{"n":7}')),
    "ids": (CHAT, ("general", "m-e1")),
    "time of the message": (CHAT, (SENT, str(SENT))),
    "why they get it": (CHAT, ("mention",)),
    "name of the channel": (CHAT, ("General",)),
    "kind of the channel": (CHAT, ("group",)),
    "members of the channel": (CHAT, (9, "9")),
    "group that is called": (CHAT, ("Crew",)),
    "importance": (CHAT, (0.9, "mentions")),
    "messages in a folded burst": (CHAT, (3, "3")),
    "texts by their keys": (push(data={"alert": {"loc-key": "K"}}), ("K",)),
    "silent push": (push(data={"order": 7}, push_type="background"), (1, "NORMAL")),
    "badge cleared elsewhere": (CLEARED, (7, "7")),
}
#: Places that say something of a value that is not there, and words in quotes that are no places.
_OTHER: Final = ("notification.silent", "app")


def table() -> dict[str, dict[str, str]]:
    """Rows by name, with a cell for each kind."""
    lines = [line for line in (ROOT / "docs" / "platforms.md").read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    kinds = [COLUMNS[re.sub(r"\[(.*?)\].*", r"\1", name)] for name in cells[0][1:]]
    return {row[0]: dict(zip(kinds, row[1:], strict=True)) for row in cells[1:]}


def sent(kind: str, sending: Sending) -> list[tuple[dict[str, str], Any]]:
    """Header fields and body of the requests of a kind; FCM's with each display."""
    settings = [EXAMPLES[kind][0].settings] if kind in EXAMPLES else []
    if kind == "fcm":
        settings = [FcmSettings(account(), "app"), FcmSettings(account(), "system")]
    platform = {"fcm": "android", "web": "web"}.get(kind, "ios")
    address = "https://updates.push.services.mozilla.com/wpush/v2/x"
    job = Job(0, 1, "han", address, 0, badge=7, why="mention", platform=platform)
    found = []
    for one in settings:
        shown = KINDS[kind].preview(Provider(1, "demo", kind, "production", one), sending, job, now=NOW)
        body: Any = json.loads(shown.body) if shown.body.startswith("{") else shown.body
        for part in PREFIXES.get(kind, ()):
            body = body[part]
        found.append((dict(shown.headers), body))
    return found


def at(request: tuple[dict[str, str], Any], place: str) -> Any:
    """The value of a header field, or of a place in the body."""
    headers, value = request
    if place in headers:
        return headers[place]
    for part in place.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def test_the_table_has_the_rows_that_are_tried() -> None:
    assert list(table()) == list(ROWS)


@pytest.mark.parametrize("kind", COLUMNS.values())
@pytest.mark.parametrize("row", ROWS)
def test_a_cell_names_the_places_where_the_value_is(kind: str, row: str) -> None:
    sending, values = ROWS[row]
    cell, requests = table()[row][kind], sent(kind, sending)
    if cell.startswith("not sent"):
        [reason] = re.findall(r"`(.*?)`", cell)
        assert [body for _, body in requests] == [f"(nothing is sent: {reason})"]
        return
    places = [place for place in re.findall(r"`(.*?)`", cell) if place not in _OTHER]
    for place in places:
        assert any(at(request, place) in values for request in requests), (place, requests)
    assert places or not cell.startswith("`")


def test_a_push_without_a_sound_is_silent_in_a_browser() -> None:
    [(_, body)] = sent("web", push(data={"alert": "x"}))
    assert at(({}, body), "notification.silent") is True
