"""The client of a process for its APNs providers: the sender, and the provider tokens of the fleet."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from worker.core.model import Heading, NoAnswer, Notification, Provider, Response
from worker.providers.apns.advice import advice
from worker.providers.apns.broadcast import Broadcast
from worker.providers.apns.sender import ApnsSender
from worker.providers.apns.settings import ApnsSettings, Key, Manager, host_for
from worker.providers.apns.token import TokenSource, issued_at
from worker.providers.base import Client, Proof, Sent, said
from worker.sender.stats import SenderStats

if TYPE_CHECKING:
    from worker.providers.apns.channels import Channels

#: A token that no device can have: APNs and the simulator refuse its form.
IMPOSSIBLE: Final = "carillon-doctor"


class ApnsClient(Client):
    def __init__(self, sender: ApnsSender, tokens: TokenSource) -> None:
        self._sender, self._tokens = sender, tokens

    def send(
        self,
        provider: Provider,
        requests: Sequence[Notification] | Sequence[Broadcast],
        *,
        now: Callable[[], float],
        deadline: float,
        following: Mapping[int, int] | None = None,
        seen: list[Response | None] | None = None,
    ) -> Sent:
        settings: ApnsSettings = provider.settings
        key, at = settings.credential, now()
        authorization = self._tokens.current(key, at) if isinstance(key, Key) else None
        responses = self._sender.send(
            provider, requests, authorization=authorization, deadline=deadline, following=following, seen=seen
        )
        return Sent(responses, authorization, None if authorization is None else at - issued_at(authorization))

    def renew(self, provider: Provider, authorization: str, now: float) -> None:
        self._tokens.refuse(provider.settings.credential, authorization, now)

    def prove(self, provider: Provider, *, deadline: float) -> Proof:
        """Sends to an impossible token. What APNs refuses first shows whether it accepts the credential."""
        settings: ApnsSettings = provider.settings
        heading = Heading(settings.topic, expiration=0)
        impossible = Notification(IMPOSSIBLE, str(uuid4()), b'{"aps":{"alert":"carillon doctor"}}', heading)
        [response] = self.send(provider, [impossible], now=time.time, deadline=deadline).responses
        host = f"{host_for(provider)}:{settings.port}"
        if isinstance(response, NoAnswer):
            return Proof(False, f"no answer ({response.cause}): {advice(response, provider)}")
        if response.reason == "BadDeviceToken":
            return Proof(True, f"{host} accepts its credential for {settings.topic}")
        if response.status == 200:
            return Proof(False, f"{host} took a push for a token that cannot exist: that is not Apple")
        return Proof(False, f"{host} answered {said(response)}: {advice(response, provider)}")

    def channels(
        self, provider: Provider, manager: Manager, *, now: float, timeout: float, proxy: str | None = None
    ) -> "Channels":
        """The provider's broadcast channels. `now` in UNIX seconds; `timeout`: seconds for an answer; `proxy` as of `Sender`."""
        from worker.providers.apns.channels import Channels  # noqa: PLC0415 - no worker needs httpx for it

        key = provider.settings.credential
        authorization = self._tokens.current(key, now) if isinstance(key, Key) else None
        return Channels(provider, manager, authorization, timeout, proxy)

    def stats(self) -> SenderStats:
        return self._sender.sender.stats()

    def close(self) -> None:
        self._sender.close()
