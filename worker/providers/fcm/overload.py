"""Finds from the answers of the last minute what one answer does not say: whose limit is exceeded."""

import threading
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Final

from worker.core.model import ACCEPTED, Answer, Response
from worker.providers.fcm.answers import APPLE_REFUSED, DEVICE_QUOTA, code_of, detail_of
from worker.providers.fcm.message import Message
from worker.providers.fcm.reasons import NOT_KNOWN_AS_APPLE, SEVERAL_DEVICES

#: If so many devices are over their rate within so many seconds, the project is over its quota.
DEVICES: Final = 3
SECONDS: Final = 60.0


class Overload:
    """The recent answers of the providers, as one process sees them. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: By provider: UNIX seconds and token of answers that named a device's rate.
        self._recent: defaultdict[int, deque[tuple[float, str]]] = defaultdict(deque)

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
        if code == DEVICE_QUOTA and self._of_several(provider, request.token, now):
            assert isinstance(response, Answer)
            return response._replace(reason=SEVERAL_DEVICES)
        return response

    def _of_several(self, provider: int, token: str, now: float) -> bool:
        with self._lock:
            recent = self._recent[provider]
            while recent and recent[0][0] <= now - SECONDS:
                recent.popleft()
            if token not in (one for _, one in recent):
                recent.append((now, token))
                while len(recent) > DEVICES:
                    recent.popleft()
            return len(recent) >= DEVICES
