"""APNs as a kind of provider, by key or certificate. Imports what is needed to send only when a client is made."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import repeat
from typing import Any, Final

from worker.core.batch import Job, Sending
from worker.core.broadcast import is_broadcast
from worker.core.model import Heading, Notification, Provider, PushType, Response, StoredSettings
from worker.core.notification import gap_before
from worker.core.purposes import ALERT, PUSH_TYPE_OF
from worker.core.push_ids import push_ids
from worker.core.push_types import topic_of
from worker.core.refusal import Refused
from worker.providers.apns import advice
from worker.providers.apns.broadcast import Broadcast
from worker.providers.apns.certificate import CertificateError, load
from worker.providers.apns.outcome import GUARDED, decide_outcome
from worker.providers.apns.settings import (
    HOSTS,
    P12,
    ApnsSettings,
    Key,
    check_bundle_id,
    check_host,
    check_key_id,
    check_team_id,
    host_for,
)
from worker.providers.apns.token import TokenSource, check_key
from worker.providers.base import Client, Context, Kind, Preview, Request, Simulated, Words

_HEX: Final = re.compile(r"(?:[0-9a-f]{2})+\Z")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: An id that no key of Apple has.
_SIMULATED_ID: Final = "SIMULATED1"


class Apns(Kind):
    name = ApnsSettings.kind
    words = Words(
        title="APNs",
        by="APNs",
        command="apn",
        fix="check this machine's clock, then its key, topic and environment; its pushes go out by themselves once that is"
        " corrected",
        ending="certificate",
        renew="make another certificate at developer.apple.com",
        instead="change to a key",
        origin="push type",
    )
    forms = frozenset(("key", "certificate"))
    ending = frozenset(("certificate",))
    platforms = frozenset(("ios", "ipados", "macos", "tvos", "visionos", "watchos"))
    purposes = frozenset((ALERT, *PUSH_TYPE_OF))
    broadcasts = True
    deferred_reasons = GUARDED
    decide = staticmethod(decide_outcome)

    def check(self, settings: ApnsSettings) -> None:
        check_bundle_id(settings.topic)
        check_host(settings.host)
        credential = settings.credential
        if isinstance(credential, Key):
            check_key_id(credential.key_id)
            check_team_id(credential.team_id)
            check_key(credential.pem)
        else:
            certificate = load(credential.content, credential.password, now=datetime.now(UTC), topic=settings.topic)
            if settings.topic not in certificate.topics:
                raise CertificateError(f"certificate: is for {', '.join(certificate.topics)}, not for {settings.topic}")

    def store(self, settings: ApnsSettings) -> StoredSettings:
        fields = {"topic": settings.topic, "host": settings.host, "port": settings.port, "ca": settings.ca}
        match settings.credential:
            case Key(team_id, key_id, pem):
                fields |= {"team_id": team_id, "key_id": key_id}
                return StoredSettings("key", fields, pem.encode())
            case P12(content, password):
                return StoredSettings("certificate", fields, content, None if password is None else password.encode())

    def load(self, stored: StoredSettings) -> ApnsSettings:
        fields, password = stored.fields, stored.password
        credential: Key | P12 = (
            P12(stored.credential, None if password is None else password.decode())
            if stored.form == "certificate"
            else Key(fields["team_id"], fields["key_id"], stored.credential.decode())
        )
        return ApnsSettings(fields["topic"], credential, fields["host"], fields["port"], fields["ca"])

    def canonical_token(self, token: str) -> str:
        """Lower-case hex of any even length, without the `<>` and blanks of old clients."""
        canonical = token.lower().translate({ord(c): None for c in "<> "})
        if not _HEX.match(canonical):
            raise Refused("device.token: an APNs device token is an even number of hex digits")
        return canonical

    def render(
        self, provider: Provider, sendings: Sequence[Sending], jobs: Sequence[Job], badges: Sequence[int | None]
    ) -> Sequence[Request]:
        if jobs and is_broadcast(jobs[0]):
            return _broadcasts(provider, sendings, jobs)
        return self._notifications(provider, sendings, jobs, badges)

    def _notifications(
        self, provider: Provider, sendings: Sequence[Sending], jobs: Sequence[Job], badges: Sequence[int | None]
    ) -> list[Notification]:
        gaps, headings = list[bytes](), list[Heading]()
        topics: dict[PushType, str] = {}
        current = -1
        for job, badge in zip(jobs, badges, strict=True):
            if job.sending != current:  # jobs of one sending mostly follow one another
                current = job.sending
                sending = sendings[current]
                push_type, suffix = sending.push_type, sending.suffix.encode()
                gap_of = gap_before(suffix)
                if push_type not in topics:
                    topics[push_type] = topic_of(push_type, provider.settings.topic)
                heading = Heading(
                    topics[push_type],
                    push_type,
                    sending.priority,
                    # Who speaks is of no use later: one try, and nothing is stored.
                    0 if sending.fleeting or push_type == "pushtotalk" else sending.expires_at,
                    sending.collapse_id or None,
                    sending.prefix.encode(),
                    suffix,
                )
            gaps.append(gap_of(badge))
            headings.append(heading)
        columns = [job.token for job in jobs], push_ids(provider.app, sendings, jobs), gaps, headings
        # As `Notification._make`, without a call of Python for each.
        return [*map(tuple.__new__, repeat(Notification), zip(*columns, strict=True))]

    def preview(self, provider: Provider, sending: Sending, job: Job, *, now: float) -> Preview:
        [one] = self._notifications(provider, [sending], [job], [job.badge])
        topic, push_type, priority, expiration, collapse_id, *_ = one.heading
        by_key = isinstance(provider.settings.credential, Key)
        headers = {
            ":method": "POST",
            ":path": f"/3/device/{one.token}",
            "host": host_for(provider),
            "authorization": "bearer (provider token)" if by_key else "none: the connection's certificate",
            "apns-topic": topic,
            "apns-push-type": push_type,
            "apns-priority": str(priority),
            "apns-expiration": str(expiration),
            "apns-collapse-id": str(collapse_id),
            "apns-id": one.id,
        }
        return Preview(headers, one.payload.decode(), one.payload.decode(), self.payload_limit)

    def about(self, provider: Provider) -> str:
        return f"{provider.settings.topic}, {provider.environment}"

    def describe(self, provider: Provider) -> dict[str, Any]:
        settings: ApnsSettings = provider.settings
        key = settings.credential if isinstance(settings.credential, Key) else None
        ends = self.ends_at(provider)
        return {
            "kind": "certificate" if key is None else "key",
            "bundle_id": settings.topic,
            "environment": provider.environment,
            "key_id": key and (key.key_id or None),
            "team_id": key and (key.team_id or None),
            "expires": None if ends is None else datetime.fromtimestamp(ends, UTC).date().isoformat(),
            # Only if it is not Apple's.
            "host": None if settings.host in HOSTS.values() else f"{settings.host}:{settings.port}",
        }

    def advice(self, response: Response, provider: Provider) -> str:
        return advice.advice(response, provider)

    def ends_at(self, provider: Provider) -> float | None:
        settings: ApnsSettings = provider.settings
        if not isinstance(settings.credential, P12):
            return None
        try:
            certificate = load(
                settings.credential.content, settings.credential.password, now=_EPOCH, topic=settings.topic
            )
        except CertificateError:
            return None
        return certificate.expires_at.timestamp()

    def environment(self, provider: Provider) -> str | None:
        return provider.environment

    def at_simulator(self, provider: Provider, simulator: Simulated) -> Provider:
        """The simulator accepts any topic and signer, so no credential of the provider is needed."""
        key = Key(_SIMULATED_ID, _SIMULATED_ID, simulator.key)
        port = simulator.ports[self.name]
        there = ApnsSettings(provider.settings.topic, key, simulator.host, port, simulator.ca)
        return replace(provider, settings=there, readable=True)

    def client(self, context: Context) -> Client:
        from worker.providers.apns.client import ApnsClient  # noqa: PLC0415 - only who sends needs them
        from worker.providers.apns.sender import ApnsSender  # noqa: PLC0415

        settings = context.settings
        sender = ApnsSender(
            transport=settings.apns_transport,
            connections=settings.apns_connections,
            proxy=None if settings.apns_proxy is None else settings.apns_proxy.get_secret_value(),
            idle=settings.apns_idle,
            broadcast_host=settings.apns_broadcast_host,
        )
        return ApnsClient(sender, TokenSource(context.tokens))


def _broadcasts(provider: Provider, sendings: Sequence[Sending], jobs: Sequence[Job]) -> list[Broadcast]:
    made = []
    for job, id in zip(jobs, push_ids(provider.app, sendings, jobs), strict=True):
        sending = sendings[job.sending]
        made.append(
            Broadcast(
                job.token,
                id,
                sending.prefix.encode(),
                provider.settings.topic,
                sending.priority,
                0 if sending.fleeting else sending.expires_at,
            )
        )
    return made


KIND: Final = Apns()
