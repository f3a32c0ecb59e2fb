"""Finds from the answers of the last minute what one answer does not say: whose limit is exceeded."""

import threading
from collections.abc import Sequence

from worker.core.model import ACCEPTED, Answer, Response
from worker.core.several import Several
from worker.providers.fcm.answers import APPLE_REFUSED, DEVICE_QUOTA, code_of, detail_of
from worker.providers.fcm.message import Message
from worker.providers.fcm.reasons import NOT_KNOWN_AS_APPLE, SEVERAL_DEVICES


class Overload:
    """The recent answers of the providers, as one process sees them. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: Devices over their rate, by provider: if they are several, the project is over its quota.
        self._over = Several()

    def placed(
        self, provider: int, requests: Sequence[Message], responses: Sequence[Response], now: float
    ) -> list[Response]:
        """The responses, with reasons of `reasons.py` where their subject is known."""
        if responses.count(ACCEPTED) == len(responses):
            return list(responses)
        return [self._one(provider, *pair, now) for pair in zip(requests, responses, strict=True)]

    def _one(self, provider: int, request: Message, response: Response, now: float) -> Response:
        code = code_of(response.reason) if isinstance(response, Answer) else None
        if code == APPLE_REFUSED and not request.apple:
            assert isinstance(response, Answer)
            detail = detail_of(response.reason)
            return response._replace(reason=f"{NOT_KNOWN_AS_APPLE}:{detail}" if detail else NOT_KNOWN_AS_APPLE)
        if code == DEVICE_QUOTA:
            assert isinstance(response, Answer)
            with self._lock:
                several = self._over.with_this(provider, request.token, now)
            return response._replace(reason=SEVERAL_DEVICES) if several else response
        return response
