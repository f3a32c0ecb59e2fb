"""FCM as a kind of provider. Imports what is needed to send only when a client is made."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from worker.core.batch import Job, Sending
from worker.core.model import Provider, Response, StoredSettings
from worker.core.purposes import ALERT
from worker.core.push_ids import push_ids
from worker.providers.base import Client, Context, Kind, Preview, Simulated, Words
from worker.providers.fcm import advice, message, own, token
from worker.providers.fcm.message import APPLE, Blocks, Form, Message
from worker.providers.fcm.outcome import decide_outcome
from worker.providers.fcm.reasons import GUARDED
from worker.providers.fcm.service_account import ServiceAccount, new_key
from worker.providers.fcm.service_account import check as check_account
from worker.providers.fcm.settings import HOST, FcmSettings, check_channel, check_display, check_host
from worker.providers.fcm.template import FCM_TEMPLATE

#: The origin of Apple devices, which FCM reaches with the project's APNs key.
APNS: Final = "apns"
#: Octets of a body at most: the parts for Android and for Apple devices, the token and the envelope.
_LARGEST: Final = message.ANDROID_LIMIT + message.APNS_LIMIT + 4_096 + 1_024


class Fcm(Kind):
    name = FcmSettings.kind
    words = Words(
        title="FCM",
        by="FCM",
        command="fcm",
        fix="check this machine's clock, then its service account and project, and for Apple devices the project's"
        " APNs key; its pushes go out by themselves once that is corrected",
        origin="push service",
    )
    forms = frozenset(("service_account",))
    payload_limit = _LARGEST
    token_limit = 4_096
    sealed_limit = message.APNS_LIMIT
    template = FCM_TEMPLATE
    platforms = frozenset(("android",))
    other_platforms = APPLE
    device_rates = ((240, 60), (5_000, 3_600))
    deferred_reasons = GUARDED
    decide = staticmethod(decide_outcome)

    def check(self, settings: FcmSettings) -> None:
        check_account(settings.account)
        check_display(settings.display)
        check_channel(settings)
        check_host(settings)

    def store(self, settings: FcmSettings) -> StoredSettings:
        account = settings.account
        fields: dict[str, Any] = {"project": account.project, "email": account.email, "key_id": account.key_id}
        fields |= {"display": settings.display, "channel_id": settings.channel_id}
        fields |= {"host": settings.host, "port": settings.port, "ca": settings.ca}
        return StoredSettings("service_account", fields, account.key.encode())

    def load(self, stored: StoredSettings) -> FcmSettings:
        fields = stored.fields
        account = ServiceAccount(fields["project"], fields["email"], fields["key_id"], stored.credential.decode())
        display = check_display(fields["display"])
        return FcmSettings(account, display, fields["channel_id"], fields["host"], fields["port"], fields["ca"])

    def canonical_token(self, token_: str) -> str:
        """A registration token as Google's library gave it."""
        return token.canonical(token_)

    def origin(self, token: str, platform: str, purpose: str = ALERT) -> str:
        return APNS if platform in APPLE else ""

    def render(
        self, provider: Provider, sendings: Sequence[Sending], jobs: Sequence[Job], badges: Sequence[int | None]
    ) -> list[Message]:
        forms: dict[tuple[int, str], tuple[Form, bool]] = {}
        made = []
        ids = push_ids(provider.app, sendings, jobs)
        for job, id, badge in zip(jobs, ids, badges, strict=True):
            place, platform = job.sending, job.platform
            found = forms.get((place, platform))
            if found is None:
                blocks: Blocks = message.blocks_for(platform)
                settings, sending = provider.settings, sendings[place]
                form = own.form(settings, sending) if sending.own else message.form(settings, sending, blocks)
                found = forms[place, platform] = (form, blocks == "apple")
            form, apple = found
            made.append(Message(form, job.token, id, badge, message.kept_until(sendings[place]), apple))
        return made

    def preview(self, provider: Provider, sending: Sending, job: Job, *, now: float) -> Preview:
        from worker.providers.fcm.request import HEADERS, path  # noqa: PLC0415 - only who sends needs HTTP/2

        [one] = self.render(provider, [sending], [job], [job.badge])
        settings: FcmSettings = provider.settings
        headers = {
            ":method": "POST",
            ":path": path(settings.account.project),
            "host": settings.host,
            "authorization": "Bearer (access token)",
        }
        body = one.content(message.ttl(one.expires_at, now)).decode()
        return Preview(headers | HEADERS, body, *message.counted(body))

    def about(self, provider: Provider) -> str:
        return f"project {provider.settings.account.project}"

    def describe(self, provider: Provider) -> dict[str, Any]:
        settings: FcmSettings = provider.settings
        return {
            "kind": self.name,
            "project": settings.account.project,
            "account": settings.account.email,
            "key_id": settings.account.key_id,
            "display": settings.display,
            "channel_id": settings.channel_id,
            # Only if it is not Google's.
            "host": None if settings.host == HOST else f"{settings.host}:{settings.port}",
        }

    def advice(self, response: Response, provider: Provider) -> str:
        return advice.advice(response, provider)

    def at_simulator(self, provider: Provider, simulator: Simulated) -> Provider:
        """The simulator accepts any signer, so a new key signs, and the account's own key is not used."""
        settings: FcmSettings = provider.settings
        there = replace(
            settings,
            account=replace(settings.account, key=new_key()),
            host=simulator.host,
            port=simulator.ports[self.name],
            ca=simulator.ca,
        )
        return replace(provider, settings=there, readable=True)

    def client(self, context: Context) -> Client:
        from worker.providers.fcm.access_token import DEADLINE, AccessTokenError  # noqa: PLC0415 - only who sends needs them
        from worker.providers.fcm.client import FcmClient  # noqa: PLC0415
        from worker.providers.fleet_tokens import FleetTokens  # noqa: PLC0415
        from worker.sender.sender import Sender  # noqa: PLC0415

        settings = context.settings
        proxy = None if settings.fcm_proxy is None else settings.fcm_proxy.get_secret_value()
        tokens = FleetTokens(context.tokens, lease_seconds=DEADLINE + 1.0, faults=(AccessTokenError,))
        return FcmClient(Sender(proxy=proxy), tokens, connections=settings.fcm_connections, proxy=proxy)


KIND: Final = Fcm()
