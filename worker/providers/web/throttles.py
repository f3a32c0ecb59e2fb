"""Who has to wait: a push service asks for patience without a word about for whom. Knows what one process has seen."""

import threading
from collections import deque
from typing import Final

from worker.core.model import Answer, Response
from worker.providers.web.outcome import ORIGIN_THROTTLED, is_throttle

#: Browsers of one host that have to wait within so many seconds: then it is the host that has too many.
SEVERAL: Final = 3
WITHIN: Final = 60.0


class Throttles:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: By host the last browsers that had to wait, and since when.
        self._recent: dict[str, deque[tuple[str, float]]] = {}

    def judged(self, host: str, endpoint: str, response: Response | None, now: float) -> Response | None:
        """The response, with the reason where several browsers of the host have to wait; `now` in seconds of any clock."""
        if not isinstance(response, Answer) or not is_throttle(response):
            return response
        with self._lock:
            recent = self._recent.setdefault(host, deque(maxlen=SEVERAL))
            if endpoint not in (one for one, _ in recent):
                recent.append((endpoint, now))
            several = len(recent) == SEVERAL and now - recent[0][1] <= WITHIN
        return response._replace(reason=ORIGIN_THROTTLED) if several else response
