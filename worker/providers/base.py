"""What the worker knows of a kind of provider. A kind is a folder beside this file and a line in `kinds.py`.

A `Kind` is pure and holds nothing: settings, tokens, requests, outcomes, words. Its `Client` holds what a process has open.
docs/contributing/add-a-provider.md walks through one.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple, Protocol

from config.settings import Settings
from producers.events import Device
from worker.core.aps_form import APS_FORM
from worker.core.batch import Job, Sending
from worker.core.model import Provider, Response, StoredSettings
from worker.core.notification import LIMIT
from worker.core.outcome import GONE_MINIMUM, Outcome
from worker.core.template_form import TemplateForm

#: Characters of a device token, for a kind whose services have no longer ones. The contract takes 4,096.
USUAL_TOKEN: Final = 512


class SettingsError(ValueError):
    """Unusable settings; the text says what is wrong and what to do."""

    #: Why a provider with them is stopped.
    reason: ClassVar[str] = "unusable_credential"


class TokenAgeError(RuntimeError):
    """A provider calls a young access token expired: a clock is wrong, and another token would be refused as well."""


#: What an access token belongs to: account, key id, fingerprint of the secret that makes it.
TokenKey = tuple[str, str, str]


class TokenStore(Protocol):
    """Where a fleet keeps access tokens that all its processes send with, and agrees which of them makes the next."""

    #: What its methods raise where it is away.
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
    #: What to do where its answers say that something is wrong with it.
    mend: str
    #: What ends of a credential, how to get another one, and what would have no end.
    ending: str = "credential"
    renew: str = "get another one"
    instead: str = ""
    #: What an origin of it is, as in "push service updates.push.services.mozilla.com".
    origin: str = "host"


class Preview(NamedTuple):
    """A request as it would be sent, without the proof of the sender."""

    headers: Mapping[str, str]
    #: For a browser the text before encryption.
    body: str
    #: What of the body counts against the limit, and how many octets that may have.
    payload: str
    limit: int


class Request(Protocol):
    """What a kind renders for one device. Its client knows the rest of it."""

    @property
    def payload(self) -> bytes: ...


class Sent(NamedTuple):
    """One response for each request, in their order."""

    responses: list[Response]
    #: The access token that went with them, and its age in seconds; None where the kind has none.
    authorization: str | None = None
    token_age: float | None = None


class Proof(NamedTuple):
    """Whether the provider's credential is accepted, and what was seen or is to do."""

    well: bool
    text: str


class Simulated(NamedTuple):
    """Simulators to send to in place of the real things, each on its port, by kind: they trust any signer.

    `ca` is PEM, and alone to be trusted. `key` is a P-256 key in PEM, for a kind that must sign with one. FCM's tokens come from
    `/token` on its own port. The push services take a subscription of their making, whatever host it names.
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
        """Sends the rendered requests. A network fault is a `NoAnswer`; raises `SettingsError`.

        `now` gives UNIX seconds. `deadline`: seconds that one answer may take, unless the kind has a setting for it.
        `following`: the place of a request -> that of the one which is sent as soon as it is accepted, and otherwise is
        `HELD_UP`. `seen`, a None for each request, is filled as responses come, for other threads to look at.
        """

    def renew(self, provider: Provider, authorization: str, now: float) -> None:
        """Replaces an access token that was called expired, once for the fleet. Raises `TokenAgeError`."""
        raise NotImplementedError

    def validate(self, provider: Provider, requests: Sequence[Any], *, deadline: float) -> list[Response] | None:
        """Asks the provider whether it would take these requests, which reach nobody. None: it has no such question.

        Raises `SettingsError`.
        """
        return None

    @abstractmethod
    def prove(self, provider: Provider, *, deadline: float) -> Proof:
        """Whether the provider would take pushes, without a push to anybody. May raise `SettingsError`."""

    @abstractmethod
    def close(self) -> None:
        """Closes its connections."""


class Context(NamedTuple):
    """What a process gives to the clients of all kinds."""

    settings: Settings
    tokens: TokenStore
    #: Opens a `Job.secret`; None where no key of this process opens it.
    unseal: Callable[[str], str | None]


class Kind(ABC):
    """One kind of provider."""

    #: The tag of its settings.
    name: ClassVar[str]
    words: ClassVar[Words]
    #: The forms in which a row may have its settings, and those of them whose credential ends.
    forms: ClassVar[frozenset[str]]
    ending: ClassVar[frozenset[str]] = frozenset()
    #: Octets of a payload, and characters of a token, at most.
    payload_limit: ClassVar[int] = LIMIT
    token_limit: ClassVar[int] = USUAL_TOKEN
    #: The form of its templates. One that is `own` comes to `render` in a `Sending` that is `own`.
    template: ClassVar[TemplateForm] = APS_FORM
    #: Platforms that it is made for, and others that it serves in an app without a provider made for them. None of both: any.
    platforms: ClassVar[frozenset[str]] = frozenset()
    other_platforms: ClassVar[frozenset[str]] = frozenset()
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
        """A device token within `token_limit` as it is stored, whatever client wrote it. Raises `Refused`."""

    def origin(self, token: str, platform: str) -> str:
        """By which of its origins a provider reaches a device, see `worker/core/way.py`; always '' where a kind has none."""
        return ""

    def registration(self, device: Device) -> tuple[str, str]:
        """A device's token as it is stored, and what else of it only the client may read, as text: '' for nothing.

        Raises `Refused`. A device without a subscription comes only to a kind without `subscriptions`, and the other way.
        """
        return self.canonical_token(device.address), ""

    @abstractmethod
    def render(self, provider: Provider, sendings: Sequence[Sending], jobs: Sequence[Job]) -> Sequence[Request]:
        """A request for each job. `Job.sending` is an index into `sendings`."""

    @abstractmethod
    def preview(self, provider: Provider, sending: Sending, job: Job, *, now: float) -> Preview:
        """One request as a person may see it, at `now` (UNIX seconds). Raises `SettingsError`."""

    @abstractmethod
    def about(self, provider: Provider) -> str:
        """What the provider is for, in a few words without a secret."""

    @abstractmethod
    def describe(self, provider: Provider) -> dict[str, Any]:
        """Everything about its settings that is no secret, by the names that lists have as columns."""

    @abstractmethod
    def advice(self, response: Response, provider: Provider) -> str:
        """What to do about a response that is no acceptance."""

    def ends_at(self, provider: Provider) -> float | None:
        """UNIX seconds at which its credential ends; None where it does not, or cannot be read."""
        return None

    def environment(self, provider: Provider) -> str | None:
        """None where the kind knows no environments."""
        return None

    def at_simulator(self, provider: Provider, simulator: Simulated) -> Provider | None:
        """The provider with a simulator in place of the real thing; None where there is none for the kind."""
        return None

    @abstractmethod
    def client(self, context: Context) -> Client:
        """A client for a process. Its libraries are imported here, so that a worker starts without them."""
