"""Web Push as a kind of provider: browsers, by their subscriptions. What it takes to send is imported when a client is made."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, Final
from urllib.parse import urlsplit

from config.settings import get_settings
from producers.events import Device
from worker.core.batch import Job, Sending
from worker.core.model import Provider, Response, StoredSettings
from worker.core.purposes import ALERT
from worker.core.receiver_keys import checked, pack
from worker.core.refusal import Refused
from worker.core.sealing import LONGEST
from worker.providers.base import Client, Context, Kind, Preview, SettingsError, Simulated, Words
from worker.providers.web import advice
from worker.providers.web.endpoint import LONGEST as LONGEST_ENDPOINT
from worker.providers.web.endpoint import SERVICES, EndpointError, canonical, host_of
from worker.providers.web.outcome import GUARDED, decide
from worker.providers.web.render import Document, OwnDocument, Push
from worker.providers.web.request import fields, limit_at, topic_of, urgency_of
from worker.providers.web.settings import WebSettings
from worker.providers.web.template import WEB_TEMPLATE
from worker.providers.web.vapid import check_key, check_subject, key_pair


class Web(Kind):
    name = WebSettings.kind
    words = Words(
        title="Web Push",
        by="its push service",
        command="web",
        fix="check this machine's clock, then its subject and its key; its pushes go out by themselves once that is corrected",
        origin="push service",
    )
    forms = frozenset(("vapid",))
    platforms = frozenset(("web",))
    template = WEB_TEMPLATE
    subscriptions = True
    between = "sealed"
    payload_limit = LONGEST
    token_limit = LONGEST_ENDPOINT
    deferred_reasons = GUARDED
    decide = staticmethod(decide)

    def check(self, settings: WebSettings) -> None:
        check_subject(settings.subject)
        check_key(settings)
        check_page(settings.page)
        if settings.host and settings.ca is None:
            raise SettingsError("host: a simulator needs its CA, by which it is known: --ca")

    def store(self, settings: WebSettings) -> StoredSettings:
        fields = asdict(settings)
        del fields["private_key"]
        return StoredSettings("vapid", fields, settings.private_key.encode())

    def load(self, stored: StoredSettings) -> WebSettings:
        named = ("subject", "public_key", "page", "host", "port", "ca")
        return WebSettings(private_key=stored.credential.decode(), **{name: stored.fields[name] for name in named})

    def canonical_token(self, token: str) -> str:
        """The endpoint, with the host in lower case."""
        return _canonical("device.token", token)

    def registration(self, device: Device) -> tuple[str, str]:
        """The endpoint, and the keys of the subscription."""
        given = device.subscription
        if given is None:
            raise Refused("device.subscription: required for a browser, as JSON.stringify(subscription) writes it")
        endpoint = _canonical("device.subscription.endpoint", given.endpoint)
        return endpoint, pack(checked(given.keys.p256dh, given.keys.auth, "device.subscription.keys"))

    def origin(self, token: str, platform: str, purpose: str = ALERT) -> str:
        """The host of the push service: each checks the sender by itself, and each has faults of its own."""
        return host_of(token)

    def render(
        self, provider: Provider, sendings: Sequence[Sending], jobs: Sequence[Job], badges: Sequence[int | None]
    ) -> list[Push]:
        documents = [_document(sending, provider.settings.page) for sending in sendings]
        topics = [topic_of(sending.collapse_id) for sending in sendings]
        urgencies = [urgency_of(sending.priority) for sending in sendings]
        return [
            Push(
                job.token,
                job.secret,
                documents[job.sending],
                badge,
                limit_at(host_of(job.token)),
                sendings[job.sending].expires_at,
                urgencies[job.sending],
                topics[job.sending],
            )
            for job, badge in zip(jobs, badges, strict=True)
        ]

    def preview(self, provider: Provider, sending: Sending, job: Job, *, now: float) -> Preview:
        """With the text that the browser decrypts. Endpoint and keys stay out: whoever has them can send."""
        [one] = self.render(provider, [sending], [job], [job.badge])
        host = host_of(one.endpoint)
        shown = {
            ":method": "POST",
            ":authority": host or "(the push service)",
            ":path": "(the subscription's)",
            "authorization": f"vapid t=(made with the private key), k={provider.settings.public_key}",
        }
        if one.document.impossible is not None:
            return Preview(shown, f"(nothing is sent: {one.document.impossible})", "", one.limit)
        text = one.payload.decode()
        return Preview(shown | fields(one, host, now), text, text, one.limit)

    def about(self, provider: Provider) -> str:
        return f"browsers, {provider.settings.subject}"

    def describe(self, provider: Provider) -> dict[str, Any]:
        settings: WebSettings = provider.settings
        return {
            "kind": "web",
            "subject": settings.subject,
            "public_key": settings.public_key,
            "page": settings.page or None,
            # Where that is not the push services' own.
            "host": f"{settings.host}:{settings.port}" if settings.host else None,
        }

    def advice(self, response: Response, provider: Provider) -> str:
        return advice.advice(response, provider)

    def at_simulator(self, provider: Provider, simulator: Simulated) -> Provider:
        """It stands for all push services, and takes any signer."""
        key = key_pair(simulator.key)
        there = replace(
            provider.settings,
            public_key=key.public,
            private_key=key.private,
            host=simulator.host,
            port=simulator.ports[self.name],
            ca=simulator.ca,
        )
        return replace(provider, settings=there, readable=True)

    def client(self, context: Context) -> Client:
        from worker.providers.web.client import WebClient  # noqa: PLC0415 - only who sends needs it

        proxy = context.settings.web_proxy
        return WebClient(
            unseal=context.unseal,
            hosts=known_hosts(),
            proxy=None if proxy is None else proxy.get_secret_value(),
        )


def check_page(page: str) -> None:
    """Raises `SettingsError` for a page that no notification can open."""
    if not page:
        return
    try:
        parts = urlsplit(page)
        host = parts.hostname
    except ValueError:
        host = None
    plain = page.isascii() and page.isprintable() and not any(sign in page for sign in ' <>"')
    if not (host and plain and parts.scheme == "https" and len(page) <= _LONGEST_PAGE):
        raise SettingsError("page: an https URL, such as https://chat.example.com/c/{channel}")
    left = page.replace("{channel}", "").replace("{message}", "")
    if "{" in left or "}" in left or "{" in parts.netloc:
        raise SettingsError("page: {channel} and {message} are all that can be put in, behind the host")


def known_hosts() -> tuple[str, ...]:
    """Those of the push services, and the operator's own."""
    return (*SERVICES, *get_settings().web_hosts)


#: Characters of a page.
_LONGEST_PAGE: Final = 512


def _canonical(field: str, endpoint: str) -> str:
    try:
        return canonical(endpoint, known_hosts())
    except EndpointError as fault:
        raise Refused(f"{field}: {fault}") from None


def _document(sending: Sending, page: str) -> Document | OwnDocument:
    if sending.own:
        return OwnDocument(sending.prefix.encode(), tag=sending.collapse_id)
    neutral = (sending.prefix + sending.suffix).encode()
    return Document(neutral, counted=bool(sending.suffix), tag=sending.collapse_id, page=page)


KIND: Final = Web()
