"""Manages the broadcast channels of a provider. For commands: it opens a connection for each request.

Source: Apple, "Sending channel management requests to APNs".
"""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx

from worker.core.model import Answer, Provider
from worker.providers.apns.advice import advice
from worker.providers.apns.answers import read_reason
from worker.providers.apns.certificate import load, tls_context
from worker.providers.apns.settings import P12, ApnsSettings, Manager


class ManagementError(RuntimeError):
    """A request was refused, or not answered; the text says why and what to do."""


class Channels:
    """`authorization` is a provider token; None with a certificate. `timeout` in seconds. All may raise `ManagementError`."""

    def __init__(
        self, provider: Provider, manager: Manager, authorization: str | None, timeout: float, proxy: str | None
    ) -> None:
        self._provider, self._manager = provider, manager
        self._authorization, self._timeout, self._proxy = authorization, timeout, proxy

    def create(self, *, stored: bool) -> str:
        """The id of a new channel. `stored`: whether the newest update is kept for phones that cannot be reached."""
        body = {"message-storage-policy": int(stored), "push-type": "LiveActivity"}
        answer = self._ask("POST", "channels", body=body)
        if channel := answer.headers.get("apns-channel-id"):
            return str(channel)
        raise ManagementError("the answer has no apns-channel-id: is it Apple's?")

    def ids(self) -> list[str]:
        found = self._document(self._ask("GET", "all-channels")).get("channels")
        if not isinstance(found, list):
            raise ManagementError("the answer lists no channels: is it Apple's?")
        return [str(one) for one in found]

    def is_stored(self, channel: str) -> bool:
        """Whether the newest update to the channel is kept."""
        return bool(self._document(self._ask("GET", "channels", channel)).get("message-storage-policy"))

    def delete(self, channel: str) -> None:
        self._ask("DELETE", "channels", channel)

    def _ask(self, method: str, what: str, channel: str | None = None, *, body: Any = None) -> httpx.Response:
        settings: ApnsSettings = self._provider.settings
        headers = {"apns-request-id": str(uuid4())}
        if self._authorization is not None:
            headers["authorization"] = f"bearer {self._authorization}"
        if channel is not None:
            headers["apns-channel-id"] = channel
        host = f"[{self._manager.host}]" if ":" in self._manager.host else self._manager.host
        url = f"https://{host}:{self._manager.port}/1/apps/{settings.topic}/{what}"
        try:
            with httpx.Client(
                verify=self._context(),
                http1=False,
                http2=True,
                proxy=self._proxy,
                trust_env=False,
                timeout=self._timeout,
            ) as client:
                answer = client.request(method, url, headers=headers, json=body)
        except httpx.HTTPError as fault:
            raise ManagementError(
                f"{host}:{self._manager.port} gave no answer ({type(fault).__name__}): check the firewall; the management host"
                " has a port of its own"
            ) from None
        if not answer.is_success:
            raise ManagementError(self._refused(answer))
        return answer

    def _context(self) -> Any:
        settings: ApnsSettings = self._provider.settings
        credential = settings.credential
        certificate = None
        if isinstance(credential, P12):
            certificate = load(credential.content, credential.password, now=datetime.now(UTC), topic=settings.topic)
            certificate.check(settings.topic, self._provider.environment)
        return tls_context(ca=settings.ca, certificate=certificate)

    def _refused(self, answer: httpx.Response) -> str:
        reason = read_reason(answer.content)
        what = advice(Answer(answer.status_code, reason), self._provider)
        return f"APNs answered {answer.status_code} {reason or '(no reason)'}: {what}"

    def _document(self, answer: httpx.Response) -> dict[str, Any]:
        try:
            found = answer.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ManagementError("the answer is no JSON object: is it Apple's?")
        return found
