"""The interface of a kind of provider. A kind is a folder next to this file and a line in `kinds.py`.

A `Kind` is pure and has no state: settings, tokens, requests, outcomes, words. Its `Client` has the connections of a process.
docs/contributing/add-a-provider.md walks through one.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, Literal, NamedTuple, Protocol

from config.settings import Settings
from producers.events import Device
from worker.core.aps_form import APS_FORM
from worker.core.batch import Job, Sending
from worker.core.model import Answer, Provider, Response, StoredSettings
from worker.core.notification import LIMIT
from worker.core.outcome import GONE_MINIMUM, Outcome
from worker.core.privacy import Between
from worker.core.purposes import ALERT, part_of
from worker.core.template_form import TemplateForm
from worker.sender.stats import SenderStats

#: Characters of a device token, unless a kind has longer ones. The contract allows 4,096.
USUAL_TOKEN: Final = 512


class SettingsError(ValueError):
    """Unusable settings; the text says what is wrong and what to do."""

    #: Why a provider with them is stopped, and how much of it.
    reason: ClassVar[str] = "unusable_credential"
    scope: ClassVar[Literal["origin", "provider"]] = "provider"


class TokenAgeError(RuntimeError):
    """A provider answers that a young access token has expired: a clock is wrong, and another token would be refused as well."""


#: What an access token belongs to: account, key id, fingerprint of the secret that makes it.
TokenKey = tuple[str, str, str]


class TokenStore(Protocol):
    """Keeps the access tokens that all processes of a fleet send with, and leases the right to make the next one."""

    #: What its methods raise while the store is away.
    away: tuple[type[Exception], ...]

    def read(self, key: TokenKey) -> str | None: ...
    def write(self, key: TokenKey, token: str, *, seconds: int) -> None: ...
    def lease(self, key: TokenKey, *, seconds: float) -> bool: ...
    def release(self, key: TokenKey) -> None: ...


class Words(NamedTuple):
    """What people read about a kind."""

    #: Who answers, as in "accepted by APNs".
    by: str
    #: The subcommand of `carillon push` that stores a provider.
    command: str
    #: What to do if its answers say that something is wrong with it.
    fix: str
    #: Which part of a credential expires, how to get another one, and what never expires.
    ending: str = "credential"
    renew: str = "get another one"
    instead: str = ""
    #: What an origin of it is, as in "push service updates.push.services.mozilla.com".
    origin: str = "host"
    #: The kind's own name.
    title: str = ""


class Preview(NamedTuple):
    """A request as it would be sent, without what proves who sends it."""

    headers: Mapping[str, str]
    #: For a browser the text before encryption.
    body: str
    #: The part of the body that counts against the limit, and the limit in octets.
    payload: str
    limit: int


class Request(Protocol):
    """What a kind renders for one device. The kind's client knows its other fields."""

    @property
    def payload(self) -> bytes: ...


class Sent(NamedTuple):
    """One response for each request, in their order."""

    responses: list[Response]
    #: The access token that was sent with them, and its age in seconds; None if the kind has none.
    authorization: str | None = None
    token_age: float | None = None


class Proof(NamedTuple):
    """Whether the provider's credential is accepted, and a text that says what was seen or what to do."""

    well: bool
    text: str


def said(answer: Answer) -> str:
    """What an answer said, for the text of a proof."""
    return f"{answer.status} {answer.reason or '(no reason)'}"


class Simulated(NamedTuple):
    """Simulators to send to instead of the real push services, each on its port, by kind. They trust any signer.

    `ca` is PEM, and the only CA to trust. `key` is a P-256 key in PEM, for a kind that must sign. FCM's tokens come from
    `/token` on its port. The push services accept a subscription that they made, whatever host it names.
    """

    host: str
    ports: Mapping[str, int]
    ca: str
    key: str


class Decide(Protocol):
    """The outcome of one try: a pure table."""

    def __call__(
        self,
        response: Response,
        *,
        registered_at: int,
        sent_at: int,
        attempt: int,
        unsent: int = 0,
        jitter: float = 0.5,
        token_age: float | None = None,
    ) -> Outcome:
        """`registered_at`, `sent_at`: ms since the epoch; `attempt`: this try's number, from 1; `unsent`: tries in a row
        before this one that did not reach the provider; `jitter` in [0, 1); `token_age` as of `Sent`.
        """
        ...


class Client(ABC):
    """What one process holds for all providers of a kind: connections, access tokens. Thread-safe."""

    @abstractmethod
    def send(
        self,
        provider: Provider,
        requests: Sequence[Any],
        *,
        now: Callable[[], float],
        deadline: float,
        following: Mapping[int, int] | None = None,
        seen: list[Response | None] | None = None,
    ) -> Sent:
        """Sends the rendered requests. A network fault is a `NoAnswer`. Raises `SettingsError`.

        `now` gives UNIX seconds. `deadline`: seconds that one answer may take, unless the kind has a setting for it.
        `following`: the index of a request -> that of the request to send once it is accepted, and which otherwise is
        `HELD_UP`. `seen`, a None for each request, is filled as responses come; other threads read it.
        """

    def renew(self, provider: Provider, authorization: str, now: float) -> None:
        """Replaces an access token that the provider called expired, once for the fleet. Raises `TokenAgeError`."""
        raise NotImplementedError

    def validate(self, provider: Provider, requests: Sequence[Any], *, deadline: float) -> list[Response] | None:
        """Asks the provider whether it would accept these requests; no device gets them. None: the provider cannot say.

        Raises `SettingsError`.
        """
        return None

    @abstractmethod
    def prove(self, provider: Provider, *, deadline: float) -> Proof:
        """Whether the provider would accept pushes, without a push to anybody. May raise `SettingsError`."""

    def stats(self) -> SenderStats | None:
        """What its sender did; None where it has none."""
        return None

    @abstractmethod
    def close(self) -> None:
        """Closes its connections."""


class Context(NamedTuple):
    """What a process gives to the clients of all kinds."""

    settings: Settings
    tokens: TokenStore
    #: Decrypts a `Job.secret`; None if no key of this process can.
    unseal: Callable[[str], str | None]


class Kind(ABC):
    """One kind of provider."""

    #: The tag of its settings.
    name: ClassVar[str]
    words: ClassVar[Words]
    #: The forms in which a row may have its settings, and those of them whose credential expires.
    forms: ClassVar[frozenset[str]]
    ending: ClassVar[frozenset[str]] = frozenset()
    #: Octets of a payload, and characters of a token, at most.
    payload_limit: ClassVar[int] = LIMIT
    token_limit: ClassVar[int] = USUAL_TOKEN
    #: The form of its templates. If the form is `own`, `render` gets a template in a `Sending` that is `own`.
    template: ClassVar[TemplateForm] = APS_FORM
    #: What its devices may be for.
    purposes: ClassVar[frozenset[str]] = frozenset((ALERT,))
    #: Whether it has broadcast channels of Live Activities.
    broadcasts: ClassVar[bool] = False
    #: Platforms that it is made for, and others that it serves if the app has no provider made for them. Neither: any platform.
    platforms: ClassVar[frozenset[str]] = frozenset()
    other_platforms: ClassVar[frozenset[str]] = frozenset()
    #: Whoever is between us and the app, and octets of a sealed payload at most.
    between: ClassVar[Between] = "service"
    sealed_limit: ClassVar[int] = LIMIT
    #: Whether its devices are subscriptions of browsers, whose endpoint is their token.
    subscriptions: ClassVar[bool] = False
    #: Notifications that a device may get, as (how many, within seconds), beside the app's own `device_rate`. The first eight in
    #: a minute are not counted, so each is far more than that.
    device_rates: ClassVar[Sequence[tuple[int, int]]] = ()
    #: Reasons of `Unregister` after which a device is retired only some seconds later, if its provider is well by then.
    deferred_reasons: ClassVar[frozenset[str]] = frozenset()
    #: Recent answers from which on most of them being "gone" is not believed; see `outcome.is_mass_unregister`.
    gone_minimum: ClassVar[int] = GONE_MINIMUM
    decide: Decide

    @abstractmethod
    def check(self, settings: Any) -> None:
        """Raises `SettingsError` if these settings can never work. Sends nothing."""

    @abstractmethod
    def store(self, settings: Any) -> StoredSettings:
        """The settings as a row has them."""

    @abstractmethod
    def load(self, stored: StoredSettings) -> Any:
        """The settings in a row of this or an earlier release; without a secret where the row has none."""

    @abstractmethod
    def canonical_token(self, token: str) -> str:
        """The stored form of a device token within `token_limit`, whatever client sent it. Raises `Refused`."""

    def origin(self, token: str, platform: str, purpose: str = ALERT) -> str:
        """The origin by which a provider reaches a device, see `worker/core/way.py`.

        A kind without origins has one for each purpose with a topic of its own, which can be wrong alone, and '' for alerts.
        """
        return part_of(purpose)

    def registration(self, device: Device) -> tuple[str, str]:
        """The stored form of a device's token, and its secret, which only the client may read, as text: '' for none.

        Raises `Refused`. A kind with `subscriptions` gets only devices with a subscription, any other kind only those without.
        """
        return self.canonical_token(device.address), ""

    @abstractmethod
    def render(
        self, provider: Provider, sendings: Sequence[Sending], jobs: Sequence[Job], badges: Sequence[int | None]
    ) -> Sequence[Request]:
        """A request for each job. `Job.sending` is an index into `sendings`.

        `badges`: by job the number that it shows on this try, None: it says nothing of it. `Job.badge` is that of an earlier one.
        """

    @abstractmethod
    def preview(self, provider: Provider, sending: Sending, job: Job, *, now: float) -> Preview:
        """One request in a form for people, at `now` (UNIX seconds). Raises `SettingsError`."""

    @abstractmethod
    def about(self, provider: Provider) -> str:
        """What the provider is for, in a few words without a secret."""

    @abstractmethod
    def describe(self, provider: Provider) -> dict[str, Any]:
        """Everything in its settings that is no secret, by the column names of lists."""

    @abstractmethod
    def advice(self, response: Response, provider: Provider) -> str:
        """What a person should do about a response that is no acceptance."""

    def ends_at(self, provider: Provider) -> float | None:
        """UNIX seconds at which its credential expires; None if it does not, or cannot be read."""
        return None

    def environment(self, provider: Provider) -> str | None:
        """Its environment; None if the kind has no environments."""
        return None

    def at_simulator(self, provider: Provider, simulator: Simulated) -> Provider | None:
        """The provider with a simulator in place of the push service; None if the kind has no simulator."""
        return None

    @abstractmethod
    def client(self, context: Context) -> Client:
        """A client for a process. Its libraries are imported here, so that a worker starts without them."""
