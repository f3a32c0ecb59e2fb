"""What all connections of one simulator share. Each kind has its own."""

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from worker.simulator.player import Player
from worker.simulator.record import Record
from worker.simulator.script import Answer, Script
from worker.simulator.sealed import DeviceKeys, open_all
from worker.simulator.settings import CommonSettings

if TYPE_CHECKING:
    from worker.simulator.connection import Connection

log = logging.getLogger(__name__)


class Service(ABC):
    """The script's progress, the record, and the settings of the rules. Belongs to one event loop, so it is not thread-safe."""

    kind: ClassVar[str]
    #: A NamedTuple that begins like `record.Entry`; its last field is the payload.
    entry: ClassVar[type[Any]]

    def __init__(self, settings: CommonSettings) -> None:
        self.settings = settings
        self.record = Record(self.entry, settings.record, settings.record_limit, settings.record_octets)
        self.player = self._player(settings.script)
        #: Connections so far.
        self.connections_total = 0
        #: Stops listening for so many seconds; the listener sets it.
        self.refuse: Callable[[float], None] = _refuse_nothing
        #: Prints a message to the person who runs the simulator.
        self.say: Callable[[str], None] = log.info
        self._said_no_alpn = False
        self._expected: list[tuple[int, asyncio.Future[None]]] = []

    @abstractmethod
    def connection(self, register: "dict[int, Connection]") -> "Connection":
        """A new connection, not made yet."""

    @staticmethod
    def canonical(token: str) -> str:
        """The form in which requests have a token of a script."""
        return token

    def control(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> Any:
        """Control requests about what this kind receives. Raises LookupError if there is no such request."""
        if (method, path) != ("POST", "/opened"):
            raise LookupError(path)
        keys = msgspec.json.decode(body, type=dict[str, DeviceKeys])
        return [one._asdict() for one in open_all(self.record.accepted, keys)]

    def counts(self) -> dict[str, object]:
        """Totals since the start or the last reset."""
        return self.record.counts()

    def _player(self, script: Script) -> Player:
        return Player(script, self.settings.seed, time.time(), self.canonical)

    def expect_accepted(self, count: int) -> asyncio.Future[None]:
        """Done once so many notifications were accepted."""
        future = asyncio.get_running_loop().create_future()
        self._expected.append((count, future))
        self.tell()
        return future

    def say_no_alpn(self) -> None:
        """Once: a client did not agree on `h2` by ALPN, and what became of it."""
        if self._said_no_alpn:
            return
        self._said_no_alpn = True
        if self.settings.require_alpn:
            self.say("a connection was closed: the client does not agree on h2 by ALPN, which --strict-alpn asks for")
        else:
            self.say("a client does not agree on h2 by ALPN; it is taken, as Apple takes it (--strict-alpn refuses it)")

    def tell(self) -> None:
        """Wake callers that wait for a count."""
        if not self._expected:
            return
        for count, future in self._expected:
            if self.record.accepted_total >= count and not future.done():
                future.set_result(None)
        self._expected = [(count, future) for count, future in self._expected if not future.done()]

    def set_script(self, script: Script) -> None:
        """Replace the script; its counts and clock start at 0."""
        self.player = self._player(script)

    def set_tokens(self, tokens: Mapping[str, Answer]) -> None:
        """Add answers for single tokens to the script in force."""
        self.player.add_tokens(tokens)

    def reset(self) -> None:
        """Forget the record and every script but the one given at the start."""
        self.record.clear()
        self.set_script(self.settings.script)


def _refuse_nothing(_seconds: float) -> None:
    """There is no listener."""
