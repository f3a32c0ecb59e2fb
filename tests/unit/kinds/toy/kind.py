"""A kind of provider for tests: it delivers to a list. What docs/contributing/add-a-provider.md walks through."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, NamedTuple

from worker.core.backoff import backoff
from worker.core.batch import Job, Sending
from worker.core.model import ACCEPTED, Answer, Provider, Response, StoredSettings
from worker.core.notification import Rendered
from worker.core.outcome import DELIVERED, Drop, OpenBreaker, Outcome, Retry, Unregister
from worker.core.push_ids import apns_id
from worker.core.refusal import Refused
from worker.providers.base import Client, Context, Kind, Preview, Proof, Sent, SettingsError, Words


@dataclass(frozen=True, slots=True)
class ToySettings:
    kind: ClassVar[str] = "toy"

    box: str
    password: str = field(default="", repr=False)


class Item(NamedTuple):
    id: str
    token: str
    payload: bytes


class ToyClient(Client):
    def __init__(self) -> None:
        #: What arrived, and answers by token; others are accepted.
        self.arrived: list[Item] = []
        self.answers: dict[str, Response] = {}

    def send(
        self,
        provider: Provider,
        requests: Sequence[Item],
        *,
        now: Callable[[], float],
        deadline: float,
        following: Mapping[int, int] | None = None,
        seen: list[Response | None] | None = None,
    ) -> Sent:
        if not provider.settings.password:
            raise SettingsError("password: it cannot be read")
        self.arrived += requests
        return Sent([self.answers.get(one.token, ACCEPTED) for one in requests])

    def prove(self, provider: Provider, *, deadline: float) -> Proof:
        return Proof(True, f"box {provider.settings.box} is there")

    def close(self) -> None:
        self.arrived.clear()


def decide(
    response: Response,
    *,
    registered_at: int,
    sent_at: int,
    attempt: int,
    unsent: int = 0,
    jitter: float = 0.5,
    token_age: float | None = None,
) -> Outcome:
    if not isinstance(response, Answer):
        spent = response.sent != "not_sent"
        return Retry(backoff(attempt if spent else unsent + 1, jitter=jitter), response.cause, spends_attempt=spent)
    reason = response.reason or f"status_{response.status}"
    match response.status:
        case 200:
            return DELIVERED
        case 410:
            return Unregister(reason, not_after=sent_at)
        case 401 | 403:
            return OpenBreaker(reason)
        case status if status == 429 or status >= 500:
            return Retry(backoff(attempt, jitter=jitter), reason, "provider")
        case _:
            return Drop(reason, alarm=True)


class Toy(Kind):
    name = ToySettings.kind
    words = Words(by="the toy", command="toy", fix="look into its box")
    forms = frozenset(("toy",))
    token_limit = 4096
    decide = staticmethod(decide)

    def check(self, settings: ToySettings) -> None:
        if not settings.box.isalnum():
            raise SettingsError(f"box: {settings.box!r} has to be letters and digits")

    def store(self, settings: ToySettings) -> StoredSettings:
        return StoredSettings("toy", {"box": settings.box}, settings.password.encode())

    def load(self, stored: StoredSettings) -> ToySettings:
        return ToySettings(stored.fields["box"], stored.credential.decode())

    def canonical_token(self, token: str) -> str:
        if not token.strip():
            raise Refused("device.token: a toy's token is not blank")
        return token.strip().upper()

    def render(
        self, provider: Provider, sendings: Sequence[Sending], jobs: Sequence[Job], badges: Sequence[int | None]
    ) -> list[Item]:
        made = []
        for job, badge in zip(jobs, badges, strict=True):
            sending = sendings[job.sending]
            payload = Rendered(sending.prefix.encode(), sending.suffix.encode()).payload(badge)
            made.append(Item(apns_id(sending.event_id, provider.app, job.device), job.token, payload))
        return made

    def preview(self, provider: Provider, sending: Sending, job: Job, *, now: float) -> Preview:
        [one] = self.render(provider, [sending], [job], [job.badge])
        return Preview({"to": one.token}, one.payload.decode(), one.payload.decode(), self.payload_limit)

    def about(self, provider: Provider) -> str:
        return f"box {provider.settings.box}"

    def describe(self, provider: Provider) -> dict[str, Any]:
        return {"kind": "toy", "box": provider.settings.box}

    def advice(self, response: Response, provider: Provider) -> str:
        return f"look into box {provider.settings.box}"

    def client(self, context: Context) -> Client:
        return ToyClient()


KIND: Final = Toy()
