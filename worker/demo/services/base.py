"""What the demo knows of a kind of provider, and of the simulator that stands in for its push service."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from worker.core.model import AppSettings, Provider
from worker.database.registry import Registry
from worker.demo.world import Device, Nature
from worker.simulator import Answer, Rule, Script, SimulatorProcess
from worker.simulator.settings import CommonSettings


class Place(NamedTuple):
    """Where a simulator listens; `ca` is PEM."""

    host: str
    port: int
    ca: str


class Content(NamedTuple):
    """What a device makes of a push. `title` is that of the notification, the sender and the channel."""

    message: str = ""
    title: str = ""
    body: str = ""
    thread: str = ""


class Service(ABC):
    """One kind of provider in the demo, with secrets of its own."""

    kind: ClassVar[str]
    #: Above its column of the account.
    name: ClassVar[str]
    #: Of its devices, as they are registered.
    platform: ClassVar[str]
    #: What it answers once to a device that is `busy`, in turns.
    busy: ClassVar[Sequence[str]]

    @abstractmethod
    def provider(self, app: str, at: Place) -> Provider:
        """The app's provider, at the simulator."""

    @abstractmethod
    def simulator(self, script: Script, seed: int) -> CommonSettings:
        """A simulator that knows the provider."""

    @abstractmethod
    def content(self, payload: Any) -> Content:
        """What a payload says, as the simulator recorded it, decoded from JSON."""

    @abstractmethod
    def refusal(self, device: Device) -> Answer:
        """What it answers for a device whose nature is deaf, and once for one that is `returned`."""

    def script(self, devices: Iterable[Device], extra: Script | None = None) -> Script:
        """Answers for each device according to its nature; the rules of `extra` come first."""
        mine = [device for device in devices if device.kind == self.kind]
        by_nature: Mapping[Nature, list[Device]] = {
            nature: [device for device in mine if device.nature == nature]
            for nature in ("busy", "returned", "gone", "foreign")
        }
        busy = [
            Rule(token=device.token, count=1, answer=Answer(self.busy[number % len(self.busy)]))
            for number, device in enumerate(by_nature["busy"])
        ]
        returned = [Rule(token=device.token, count=1, answer=self.refusal(device)) for device in by_nature["returned"]]
        deaf = {device.token: self.refusal(device) for device in (*by_nature["gone"], *by_nature["foreign"])}
        extra = extra or Script()
        return Script(
            rules=(*extra.rules, *busy, *returned),
            tokens=deaf | extra.tokens,
            shares=extra.shares,
            latency=extra.latency,
        )


def joined(*titles: str | None) -> str:
    """A title and a subtitle as one."""
    return " · ".join(filter(None, titles))


def save_app(registry: Registry, app: AppSettings, services: Iterable[Service], simulators: SimulatorProcess) -> None:
    """The app with a provider of each kind, at the simulators."""
    registry.save_app(app)
    for one in services:
        at = Place(simulators.host, simulators.ports[one.kind], simulators.ca_pem)
        registry.save_provider(one.provider(app.name, at))
