"""Sends for APNs providers: the route of each, and its certificate, which is checked before each use."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, Literal

from worker.core.model import Notification, Provider, Response
from worker.providers.apns.broadcast import Broadcast
from worker.providers.apns.certificate import Certificate
from worker.providers.apns.route import ApnsRoute
from worker.providers.apns.settings import P12
from worker.sender.sender import Factory, Sender

#: Days before a certificate expires from which the log warns once a day.
EXPIRY_DAYS: Final = 30
_DAY: Final = 86_400.0

log: Final = logging.getLogger(__name__)


class ApnsSender:
    """Thread-safe."""

    def __init__(
        self,
        factory: Factory | None = None,
        *,
        transport: Literal["http2", "httpx"] = "http2",
        connections: int = 4,
        proxy: str | None = None,
        idle: float = 1_800.0,
        broadcast_host: str | None = None,
    ) -> None:
        """`factory` replaces `transport`; `connections` is for each host and credential; `broadcast_host` is in place
        of Apple's for broadcast channels; the others are those of `Sender`.
        """
        if factory is None and transport == "httpx":
            factory = _over_httpx(proxy)
        self.sender = Sender(factory, proxy=proxy, idle=idle)
        self._connections, self._broadcast_host = connections, broadcast_host
        #: By provider, and whether it is to its channels: the route with the certificate that was read for it.
        self._routes: dict[tuple[int, bool], ApnsRoute] = {}
        #: By provider: the UNIX time from which the log may warn about its certificate again.
        self._warn_from: dict[int, float] = {}

    def send(
        self,
        provider: Provider,
        notifications: Sequence[Notification] | Sequence[Broadcast],
        *,
        authorization: str | None,
        deadline: float,
        following: Mapping[int, int] | None = None,
        seen: list[Response | None] | None = None,
    ) -> list[Response]:
        """As `Sender.send`; the requests have one topic, and either all or none are for channels.

        Raises `CertificateError` if the certificate or CA cannot be used for them.
        """
        return self.sender.send(
            self._route(provider, notifications[0]),
            notifications,
            authorization=authorization,
            deadline=deadline,
            following=following,
            seen=seen,
            owner=provider.id,
        )

    def close(self, drain: float = 5.0) -> None:
        """As `Sender.close`."""
        self.sender.close(drain)

    def _route(self, provider: Provider, first: Notification | Broadcast) -> ApnsRoute:
        """`first`: one of the requests."""
        route = ApnsRoute.of(provider, self._connections)
        if isinstance(first, Broadcast):
            route = route.to_channels(self._broadcast_host)
        if not isinstance(route.credential, P12):
            return route
        known = self._routes.get((provider.id, route.is_broadcast))
        if known != route:
            known = self._routes[provider.id, route.is_broadcast] = replace(route, certificate=route.read())
        assert known.certificate is not None
        topic = first.topic if isinstance(first, Broadcast) else first.heading.topic
        known.certificate.check(topic, provider.environment)
        self._look_at_expiry(known.certificate, provider)
        return known

    def _look_at_expiry(self, certificate: Certificate, provider: Provider) -> None:
        """Raises `CertificateExpired`; logs a warning beforehand, once a day and provider."""
        now = datetime.now(UTC)
        certificate.check_expiry(now)
        days = certificate.days_left(now)
        if days < EXPIRY_DAYS and now.timestamp() >= self._warn_from.get(provider.id, 0.0):
            self._warn_from[provider.id] = now.timestamp() + _DAY
            log.warning(
                "push certificate expires soon: make another one at developer.apple.com and store it with carillon push apn",
                extra={"app": provider.app, "provider": provider.name, "expires": f"{certificate.expires_at:%Y-%m-%d}"}
                | {"days": int(days)},
            )


def _over_httpx(proxy: str | None) -> Factory:
    from worker.providers.apns.httpx_transport import HttpxTransport  # noqa: PLC0415 - half of the import time of a worker

    def make(route: ApnsRoute) -> HttpxTransport:
        access = route.access()
        return HttpxTransport(access.endpoint, access.context, access.form, lanes=access.connections, proxy=proxy)

    return make
