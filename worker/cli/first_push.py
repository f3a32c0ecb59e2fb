"""`carillon first-push`."""

import json
import time
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import uuid4

import typer

from config import credentials
from worker.cli._terminal import echo, json_text, shown

if TYPE_CHECKING:
    from worker.cli._own_simulator import OwnSimulator
    from worker.core.model import Provider
    from worker.process.runtime import Runtime

EPILOG = "Begin with carillon up --simulator, in another terminal."
#: Seconds for each push to arrive at its simulator.
PATIENCE: Final = 30.0
_PAUSE: Final = 0.05
_DEVICES: Final = {"apns": "iPhone", "fcm": "Android phone", "web": "browser"}


def first_push(
    text: Annotated[str, typer.Option(help="The message.")] = "Hello, Han",
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON object.")] = False,
) -> None:
    """Make a member with an iPhone, an Android phone and a browser, publish a message, and show what each gets.

    Simulators of `carillon up` are their push services.
    """
    from config.settings import get_settings
    from worker.cli import _own_simulator as own
    from worker.cli._faults import refuse
    from worker.cli._session import session

    event = f"first-{uuid4().hex[:8]}"
    with session() as runtime:
        simulator = own.known(get_settings().data_dir)
        providers = own.connected(runtime.registry)
        if simulator is None or not providers:
            refuse("no simulator belongs to this system: stop carillon up, and start it again with --simulator")
        after = {kind: _arrived(simulator, kind) for kind in providers}
        devices = _devices(simulator, providers)
        _publish(runtime, event, _events(event, text, devices))
        began = time.monotonic()
        payloads = {}
        for kind, device in devices.items():
            token = device.get("token") or device["subscription"]["endpoint"]
            payloads[kind] = _awaited(simulator, kind, token, after[kind], event)
        took = time.monotonic() - began
    steps = own.steps(text)
    if as_json:
        found = {"app": own.APP, "event": event, "seconds": took, "payload": payloads.get("apns"), "payloads": payloads}
        echo(json_text(found | {"commands": steps}))
        return
    echo("A member, a device of each kind, a message. These lines do it again with the iPhone:")
    for step in steps:
        echo(shown(f"  {step}"))
    for kind, payload in payloads.items():
        echo(f"\nThe {_DEVICES[kind]} of {own.MEMBER} got this:")
        echo(json.dumps(payload, ensure_ascii=False, indent=2))
    echo(f"\nAll arrived within {took:.2f} s.")
    for kind in _DEVICES.keys() - providers.keys():
        name = own.PROVIDERS[kind]
        echo(f"No {_DEVICES[kind]}: there is no provider {name!r}; stop carillon up, and start it again to make it")
    echo(f"Next: carillon why {event} --app {own.APP}")


def _publish(runtime: "Runtime", event: str, documents: list[Any]) -> None:
    from producers import EventError, Publisher, PublishError
    from worker.cli import _own_simulator as own
    from worker.cli._faults import fail, refuse
    from worker.process.by_hand import by_hand

    try:
        with Publisher(runtime.urls.redis, credentials=credentials.known(runtime.urls.redis)) as publisher:
            publisher.publish_many(documents)
    except EventError as fault:
        refuse(fault)
    except PublishError as fault:
        fail(fault)
    with by_hand(runtime) as hand:
        hand.record("events published", app=own.APP, target=event)


def _devices(simulator: "OwnSimulator", providers: "dict[str, Provider]") -> dict[str, dict[str, Any]]:
    """As they are registered, by kind."""
    from worker.cli import _own_simulator as own
    from worker.simulator.web.subscriptions import Wish

    found: dict[str, dict[str, Any]] = {
        "apns": {"token": own.TOKEN, "platform": "ios"},
        "fcm": {"token": own.ANDROID_TOKEN, "platform": "android"},
    }
    if "web" in providers:
        [subscription] = simulator.control("web").subscriptions(Wish(key=providers["web"].settings.public_key))
        found["web"] = {"subscription": subscription, "platform": "web"}
    return {kind: found[kind] | {"provider": provider.name} for kind, provider in providers.items()}


def _events(event: str, text: str, devices: dict[str, dict[str, Any]]) -> list[Any]:
    """In this order each is in force for the next."""
    from datetime import UTC, datetime

    from worker.cli import _own_simulator as own

    now = datetime.now(UTC).isoformat()
    common = {"v": 1, "app": own.APP, "at": now}
    return [
        common
        | {"type": "member.added", "id": f"{event}-member", "channel": {"id": own.CHANNEL}, "users": [own.MEMBER]},
        *(
            common | {"type": "device.registered", "id": f"{event}-{kind}", "user": own.MEMBER, "device": device}
            for kind, device in devices.items()
        ),
        common
        | {
            "type": "message.new",
            "id": event,
            "channel": {"id": own.CHANNEL, "name": "General"},
            "message": {"id": f"{event}-message", "text": text},
            "sender": {"id": own.SENDER, "name": "Leia"},
        },
    ]


def _arrived(simulator: "OwnSimulator", kind: str) -> int:
    """How many requests the simulator of a kind has had."""
    from worker.cli._faults import fail

    try:
        return max((entry["number"] for entry in simulator.control(kind).requests()), default=0)
    except (OSError, ValueError):
        return fail(
            f"the simulator on port {simulator.ports[kind]} does not answer: start carillon up again, with --simulator"
        )


def _awaited(simulator: "OwnSimulator", kind: str, token: str, after: int, event: str) -> Any:
    """The payload of the push, once it has arrived."""
    from worker.cli import _own_simulator as own
    from worker.cli._faults import fail

    began = time.monotonic()
    while time.monotonic() - began < PATIENCE:
        for entry in simulator.control(kind).accepted(after):
            if entry["token"] == token and event in (entry["payload"] or ""):
                return json.loads(entry["payload"])
        time.sleep(_PAUSE)
    return fail(
        f"nothing arrived at the {_DEVICES[kind]} within {PATIENCE:.0f} s: carillon why {event} --app {own.APP} says why"
    )
