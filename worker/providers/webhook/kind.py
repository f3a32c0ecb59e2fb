"""The customer's own API as a kind of provider. Imports what is needed to send only when a client is made."""

from collections.abc import Sequence
from typing import Any, Final, Literal

from worker.core.batch import Job, Sending
from worker.core.model import NoAnswer, Provider, Response, StoredSettings
from worker.providers.base import Client, Context, Kind, Preview, SettingsError, Words
from worker.providers.webhook import request
from worker.providers.webhook.answer import ALL_GONE, GONE_MINIMUM, decide
from worker.providers.webhook.request import Recipient
from worker.providers.webhook.settings import WebhookSettings, check_secret, check_url, shown_url


class Webhook(Kind):
    name = WebhookSettings.kind
    words = Words(
        title="Webhook",
        by="its webhook",
        command="webhook",
        fix="correct what is behind its URL; its pushes go out by themselves once it answers as it should",
    )
    forms = frozenset(("webhook",))
    between = "nobody"
    deferred_reasons = frozenset((ALL_GONE,))
    gone_minimum = GONE_MINIMUM
    decide = staticmethod(decide)

    def check(self, settings: WebhookSettings) -> None:
        check_url(settings.url)
        if not settings.secrets:
            raise SettingsError("secret: there is none to sign with")
        for secret in settings.secrets:
            check_secret(secret)

    def store(self, settings: WebhookSettings) -> StoredSettings:
        """Only scheme and host are stored in clear: the rest of the URL may hold a token."""
        fields = {"url": _origin(settings.url), "signing": settings.signing, "ca": settings.ca}
        return StoredSettings("webhook", fields, " ".join(settings.secrets).encode(), settings.url.encode())

    def load(self, stored: StoredSettings) -> WebhookSettings:
        """A row of an earlier release has its whole URL in clear."""
        fields = stored.fields
        url = fields["url"] if stored.password is None else stored.password.decode()
        signing: Literal["hmac", "jwt"] = "jwt" if fields["signing"] == "jwt" else "hmac"
        return WebhookSettings(url, tuple(stored.credential.decode().split()), signing, fields["ca"])

    def canonical_token(self, token: str) -> str:
        """The string that the customer chose."""
        return token

    def render(
        self, provider: Provider, sendings: Sequence[Sending], jobs: Sequence[Job], badges: Sequence[int | None]
    ) -> list[Recipient]:
        return request.recipients(provider.app, sendings, jobs, badges)

    def preview(self, provider: Provider, sending: Sending, job: Job, *, now: float) -> Preview:
        """Hides the signature, because with it anybody could send the request."""
        of_one = self.render(provider, [sending], [job], [job.badge])
        batch = request.batch_id(of_one)
        content = request.body(provider, batch, of_one)
        signed = request.headers(provider, batch, content, int(now))
        shown = {
            name: "(made with the secret)" if "Signature" in name or "Authorization" in name else value
            for name, value in signed.items()
        }
        where = {":method": "POST", ":url": shown_url(provider.settings.url)}
        return Preview(where | shown, content.decode(), of_one[0].payload.decode(), self.payload_limit)

    def about(self, provider: Provider) -> str:
        return f"webhook at {provider.settings.host or 'an address that cannot be read'}"

    def describe(self, provider: Provider) -> dict[str, Any]:
        return {"kind": "webhook", "host": provider.settings.host}

    def advice(self, response: Response, provider: Provider) -> str:
        host = provider.settings.host
        if isinstance(response, NoAnswer):
            return (
                f"{host} cannot be reached or does not answer in time: look at it and at the network;"
                " for a CA of your own: --ca"
            )
        return f"{host} did not take it: docs/webhooks.md says what its answers mean"

    def client(self, context: Context) -> Client:
        from worker.providers.webhook.client import WebhookClient  # noqa: PLC0415 - a tenth of the time in which a worker starts

        settings = context.settings
        proxy = settings.webhook_proxy
        return WebhookClient(
            settings.webhook_allow,
            timeout=settings.webhook_timeout,
            proxy=None if proxy is None else proxy.get_secret_value(),
        )


def _origin(url: str) -> str:
    return "/".join(url.partition("?")[0].split("/")[:3])


KIND: Final = Webhook()
