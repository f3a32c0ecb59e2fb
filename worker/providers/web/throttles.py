"""Who has to wait: a push service asks for patience without a word about for whom. Knows what one process has seen."""

import threading

from worker.core.model import Answer, Response
from worker.core.several import Several
from worker.providers.web.outcome import ORIGIN_THROTTLED, is_throttle


class Throttles:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: Browsers that had to wait, by host: if they are several, it is the host that has too many.
        self._waiting = Several()

    def judged(self, host: str, endpoint: str, response: Response | None, now: float) -> Response | None:
        """The response, with the reason where several browsers of the host have to wait; `now` in seconds of any clock."""
        if not isinstance(response, Answer) or not is_throttle(response):
            return response
        with self._lock:
            several = self._waiting.with_this(host, endpoint, now)
        return response._replace(reason=ORIGIN_THROTTLED) if several else response
