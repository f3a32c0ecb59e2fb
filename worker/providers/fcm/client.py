"""The client of a process for its FCM providers: the sender, and the access tokens of the fleet."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from typing import Final

from config.seldom import Seldom
from worker.core.model import NoAnswer, Provider, Response
from worker.providers.base import Client, Proof, Sent, said
from worker.providers.fcm.access_token import AccessTokenAwayError, AccessTokenError, HttpPost, Maker
from worker.providers.fcm.advice import advice
from worker.providers.fcm.message import Message, ttl
from worker.providers.fcm.overload import Overload
from worker.providers.fcm.reasons import GUARDED
from worker.providers.fcm.request import FcmRequest, path
from worker.providers.fcm.route import FcmRoute
from worker.providers.fcm.settings import FcmSettings
from worker.providers.fleet_tokens import FleetTokens
from worker.sender.sender import Sender
from worker.sender.stats import SenderStats

#: A token that no device can have: FCM and the simulator refuse its form.
IMPOSSIBLE: Final = "carillon-doctor"
_ASK: Final = b'{"validate_only":true,'

log: Final = logging.getLogger(__name__)
seldom: Final = Seldom(log)


class FcmClient(Client):
    """`connections` at once to each project, at most. `proxy` is used for the token endpoint too."""

    def __init__(self, sender: Sender, tokens: FleetTokens, *, connections: int, proxy: str | None) -> None:
        self._sender, self._tokens = sender, tokens
        self._connections, self._proxy = connections, proxy
        self._overload = Overload()
        #: Connections to the token endpoint, by CA.
        self._posts: dict[str | None, HttpPost] = {}
        self._lock = threading.Lock()

    def send(
        self,
        provider: Provider,
        requests: Sequence[Message],
        *,
        now: Callable[[], float],
        deadline: float,
        following: Mapping[int, int] | None = None,
        seen: list[Response | None] | None = None,
    ) -> Sent:
        """Raises `SettingsError` also where the token endpoint refuses the account."""
        at = now()
        sent = self._sent(provider, requests, _bodies(requests, at), at, deadline, following, seen)
        return sent._replace(responses=self._overload.placed(provider.id, requests, sent.responses, at))

    def renew(self, provider: Provider, authorization: str, now: float) -> None:
        """If the token cannot be replaced now, it is not used again; the next try gives the reason."""
        maker = self._maker(provider.settings)
        try:
            if self._tokens.other_than(maker, authorization, now) is None:
                self._tokens.replace(maker, authorization, now)
        except AccessTokenError as fault:
            about = {"app": provider.app, "provider": provider.name}
            seldom.warning("access token not replaced: %s", fault, about=str(provider.id), extra=about)

    def validate(self, provider: Provider, requests: Sequence[Message], *, deadline: float) -> list[Response]:
        at = time.time()
        bodies = [_ASK + body[1:] for body in _bodies(requests, at)]
        return self._sent(provider, requests, bodies, at, deadline).responses

    def prove(self, provider: Provider, *, deadline: float) -> Proof:
        """Asks FCM to validate a message to an impossible token. Refusing the token proves clock, key, role, API and project."""
        settings: FcmSettings = provider.settings
        body = _ASK + b'"message":{"token":"%b","android":{"priority":"NORMAL"}}}' % IMPOSSIBLE.encode()
        at = time.time()
        request = FcmRequest(path(settings.account.project), body, IMPOSSIBLE)
        [response] = self._exchanged(provider, [request], at, deadline).responses
        host = f"{settings.host}:{settings.port}"
        if isinstance(response, NoAnswer):
            return Proof(False, f"no answer ({response.cause}): {advice(response, provider)}")
        if response.status == 400 and response.reason in GUARDED:
            return Proof(True, f"{host} accepts its service account for project {settings.account.project}")
        if response.status == 200:
            return Proof(False, f"{host} took a push for a token that cannot exist: that is not FCM")
        return Proof(False, f"{host} answered {said(response)}: {advice(response, provider)}")

    def stats(self) -> SenderStats:
        return self._sender.stats()

    def close(self) -> None:
        self._sender.close()
        with self._lock:
            for post in self._posts.values():
                post.close()
            self._posts.clear()

    def _sent(
        self,
        provider: Provider,
        requests: Sequence[Message],
        bodies: Sequence[bytes],
        at: float,
        deadline: float,
        following: Mapping[int, int] | None = None,
        seen: list[Response | None] | None = None,
    ) -> Sent:
        where = path(provider.settings.account.project)
        wire = list(map(FcmRequest, repeat(where), bodies, [one.id for one in requests]))
        return self._exchanged(provider, wire, at, deadline, following, seen)

    def _exchanged(
        self,
        provider: Provider,
        wire: Sequence[FcmRequest],
        at: float,
        deadline: float,
        following: Mapping[int, int] | None = None,
        seen: list[Response | None] | None = None,
    ) -> Sent:
        settings: FcmSettings = provider.settings
        try:
            token = self._tokens.current(self._maker(settings), at)
        except AccessTokenAwayError as fault:
            return Sent([NoAnswer("not_sent", fault.cause)] * len(wire))
        route = FcmRoute(settings.host, settings.port, settings.ca, settings.account.project, self._connections)
        responses = self._sender.send(
            route,
            wire,
            authorization=token.bearer,
            deadline=deadline,
            following=following,
            seen=seen,
            owner=provider.id,
        )
        return Sent(responses, token.bearer, at - token.issued_at)

    def _maker(self, settings: FcmSettings) -> Maker:
        with self._lock:
            post = self._posts.get(settings.ca)
            if post is None:
                post = self._posts[settings.ca] = HttpPost(proxy=self._proxy, ca=settings.ca)
        return Maker(settings, post)


def _bodies(requests: Sequence[Message], at: float) -> list[bytes]:
    """Most requests of a batch expire at the same few times."""
    lives = {expires_at: ttl(expires_at, at) for expires_at in {one.expires_at for one in requests}}
    return [one.content(lives[one.expires_at]) for one in requests]
