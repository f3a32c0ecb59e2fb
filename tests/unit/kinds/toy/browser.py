"""A kind of provider for tests whose devices are browsers: it delivers to a list, each with what it was encrypted for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple

import msgspec

from producers.events import Device, SubscriptionKeys
from tests.unit.kinds.toy.kind import Toy, ToySettings
from worker.core.batch import Job, Sending
from worker.core.model import ACCEPTED, SEALED, Provider, Response, StoredSettings
from worker.core.refusal import Refused
from worker.providers.base import Client, Context, Proof, Sent


@dataclass(frozen=True, slots=True)
class BrowserSettings(ToySettings):
    kind: ClassVar[str] = "browser"


class ForOne(NamedTuple):
    token: str
    platform: str
    secret: str
    payload: bytes


class BrowserClient(Client):
    def __init__(self, unseal: Callable[[str], str | None]) -> None:
        self._unseal = unseal
        #: Endpoint, platform, and keys of each that was sent to.
        self.arrived: list[tuple[str, str, dict[str, str]]] = []

    def send(
        self,
        provider: Provider,
        requests: Sequence[ForOne],
        *,
        now: Callable[[], float],
        deadline: float,
        following: Mapping[int, int] | None = None,
        seen: list[Response | None] | None = None,
    ) -> Sent:
        return Sent([self._answer(one) for one in requests])

    def _answer(self, one: ForOne) -> Response:
        opened = self._unseal(one.secret)
        if opened is None:
            return SEALED
        self.arrived.append((one.token, one.platform, msgspec.json.decode(opened)))
        return ACCEPTED

    def prove(self, provider: Provider, *, deadline: float) -> Proof:
        return Proof(True, "")

    def close(self) -> None:
        self.arrived.clear()


class Browser(Toy):
    name = BrowserSettings.kind
    forms = frozenset(("browser",))
    platforms = frozenset(("web",))
    subscriptions = True

    def store(self, settings: ToySettings) -> StoredSettings:
        return StoredSettings("browser", {"box": settings.box}, settings.password.encode())

    def load(self, stored: StoredSettings) -> BrowserSettings:
        return BrowserSettings(stored.fields["box"], stored.credential.decode())

    def canonical_token(self, token: str) -> str:
        if not token.startswith("https://"):
            raise Refused("device.subscription.endpoint: not an address")
        return token

    def registration(self, device: Device) -> tuple[str, str]:
        assert device.subscription is not None
        keys: SubscriptionKeys = device.subscription.keys
        if len(keys.auth) < 22:
            raise Refused("device.subscription.keys.auth: too short")
        return self.canonical_token(device.address), msgspec.json.encode(keys).decode()

    def render(
        self, provider: Provider, sendings: Sequence[Sending], jobs: Sequence[Job], badges: Sequence[int | None]
    ) -> list[Any]:
        return [ForOne(job.token, job.platform, job.secret, b"{}") for job in jobs]

    def client(self, context: Context) -> Client:
        return BrowserClient(context.unseal)


KIND: Final = Browser()
