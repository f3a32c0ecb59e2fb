"""`carillon first-push`."""

import json
import time
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import uuid4

import typer

from worker.cli._terminal import echo, json_text, shown

if TYPE_CHECKING:
    from worker.cli._own_simulator import OwnSimulator

EPILOG = "Begin with carillon up --simulator, in another terminal."
#: Seconds for the push to arrive at the simulator.
PATIENCE: Final = 30.0
_PAUSE: Final = 0.05


def first_push(
    text: Annotated[str, typer.Option(help="The message.")] = "Hello, Han",
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON object.")] = False,
) -> None:
    """Make a member with a device, publish a message, and show what the phone gets, from the simulator of `carillon up`."""
    from config.settings import get_settings
    from producers import EventError, Publisher, PublishError
    from worker.cli import _own_simulator as own
    from worker.cli._faults import fail, refuse
    from worker.cli._session import session

    event = f"first-{uuid4().hex[:8]}"
    with session() as runtime:
        simulator = own.known(get_settings().data_dir)
        if simulator is None or own.connected(runtime.registry) is None:
            refuse("no simulator belongs to this system: stop carillon up, and start it again with --simulator")
        after = _arrived(simulator)
        try:
            with Publisher(runtime.urls.redis) as publisher:
                publisher.publish_many(_events(event, text))
        except EventError as fault:
            refuse(fault)
        except PublishError as fault:
            fail(fault)
        took, payload = _awaited(simulator, after, event)
    steps = own.steps(text)
    if as_json:
        echo(json_text({"app": own.APP, "event": event, "seconds": took, "payload": payload, "commands": steps}))
        return
    echo("A member, a device, a message. These lines do it again:")
    for step in steps:
        echo(shown(f"  {step}"))
    echo(f"\nAfter {took:.2f} s the phone of {own.MEMBER} got this:")
    echo(json.dumps(payload, ensure_ascii=False, indent=2))
    echo(f"\nNext: carillon why {event} --app {own.APP}")


def _events(event: str, text: str) -> list[Any]:
    """In this order each is in force for the next."""
    from datetime import UTC, datetime

    from worker.cli import _own_simulator as own

    now = datetime.now(UTC).isoformat()
    common = {"v": 1, "app": own.APP, "at": now}
    return [
        common
        | {"type": "member.added", "id": f"{event}-member", "channel": {"id": own.CHANNEL}, "users": [own.MEMBER]},
        common
        | {
            "type": "device.registered",
            "id": f"{event}-device",
            "user": own.MEMBER,
            "device": {"token": own.TOKEN, "provider": own.PROVIDER},
        },
        common
        | {
            "type": "message.new",
            "id": event,
            "channel": {"id": own.CHANNEL, "name": "General"},
            "message": {"id": f"{event}-message", "text": text},
            "sender": {"id": own.SENDER, "name": "Leia"},
        },
    ]


def _arrived(simulator: "OwnSimulator") -> int:
    """How many requests the simulator has had."""
    from worker.cli._faults import fail

    try:
        return max((entry["number"] for entry in simulator.control.requests()), default=0)
    except (OSError, ValueError):
        return fail(
            f"the simulator on port {simulator.port} does not answer: start carillon up again, with --simulator"
        )


def _awaited(simulator: "OwnSimulator", after: int, event: str) -> tuple[float, Any]:
    """Seconds until the push arrived, and its payload."""
    from worker.cli import _own_simulator as own
    from worker.cli._faults import fail

    began = time.monotonic()
    while time.monotonic() - began < PATIENCE:
        for entry in simulator.control.accepted(after):
            if entry["token"] == own.TOKEN and event in entry["payload"]:
                return time.monotonic() - began, json.loads(entry["payload"])
        time.sleep(_PAUSE)
    return fail(f"nothing arrived within {PATIENCE:.0f} s: carillon why {event} --app {own.APP} says why")
