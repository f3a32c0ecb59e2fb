"""What all connections of one simulator share."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from worker.simulator.player import Player
from worker.simulator.provider_token import Key, Verifier
from worker.simulator.record import Mode, Record
from worker.simulator.rules import TopicRules
from worker.simulator.script import Answer, Latency, Script, Share

log = logging.getLogger(__name__)


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a simulator is, as opposed to what a script tells it to do. JSON or Python alike."""

    host: str = "127.0.0.1"
    #: 0: a free one.
    port: int = 0
    #: Of the plain HTTP control, on `control_host`; None: no control.
    control_port: int | None = 0
    control_host: str = "127.0.0.1"
    #: What a request of the control shows as `authorization: bearer …`; None: a random one.
    control_token: str | None = None
    environment: Literal["production", "sandbox"] = "production"
    #: Keys whose tokens are valid; empty: any well-formed token is.
    keys: tuple[Key, ...] = ()
    #: Bundle ids; empty: any.
    topics: tuple[str, ...] = ()
    #: Streams at once, from the first valid provider token on; until then `first_streams`.
    max_streams: int = 1000
    first_streams: int = 1
    #: Octets: initial window of a stream, and of the connection.
    stream_window: int = 65_535
    connection_window: int = 1 << 20
    #: Octets of the dynamic table for request headers, as announced at the start.
    header_table_size: int = 4096
    seed: int = 0
    script: Script = Script()
    record: Mode = "full"
    #: Entries kept, and octets of memory for the payloads in them.
    record_limit: int = 1_000_000
    record_octets: int = 256 << 20
    #: Refused device tokens in a row after which a connection is closed; None: never.
    bad_tokens: int | None = 100
    #: Paths of the server's own certificate chain and key in PEM; None: they are made, with a CA.
    certificate: str | None = None
    certificate_key: str | None = None
    #: Path of the CA of client certificates in PEM; None: none is asked for.
    client_ca: str | None = None
    #: Directory of what is made, and kept from one start to the next; None: a temporary one.
    directory: str | None = None
    #: Closes connections that did not agree on `h2` by ALPN. Apple takes those that offer nothing and speak HTTP/2 all the same.
    require_alpn: bool = False
    #: Names and addresses of the made certificate.
    names: tuple[str, ...] = ("localhost", "127.0.0.1", "::1")


class Service:
    """The script's progress, the record, and the rules' settings. Not thread-safe: it belongs to one event loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.verifier = Verifier({key.key_id: key for key in settings.keys})
        self.topic_rules = TopicRules(frozenset(settings.topics))
        self.record = Record(settings.record, settings.record_limit, settings.record_octets)
        self.player = Player(settings.script, settings.seed, time.time())
        #: Connections so far.
        self.connections_total = 0
        #: Stops listening for so many seconds; the listener sets it.
        self.refuse: Callable[[float], None] = _refuse_nothing
        #: Tells whoever runs the simulator something that an answer cannot say.
        self.say: Callable[[str], None] = log.info
        self._said_no_alpn = False
        self._expected: list[tuple[int, asyncio.Future[None]]] = []

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
        """Tell who waits for a count that it is reached."""
        if not self._expected:
            return
        for count, future in self._expected:
            if self.record.accepted_total >= count and not future.done():
                future.set_result(None)
        self._expected = [(count, future) for count, future in self._expected if not future.done()]

    def set_script(self, script: Script) -> None:
        """Replace the script; its counts and clock start anew."""
        self.player = Player(script, self.settings.seed, time.time())

    def set_tokens(self, tokens: Mapping[str, Answer]) -> None:
        """Add answers for single tokens to the script in force."""
        self.player.add_tokens(tokens)

    def set_shares(self, shares: tuple[Share, ...], latency: float | Latency | None = None) -> None:
        """Replace the script by one of shares and latency alone."""
        self.set_script(Script(shares=shares, latency=latency))

    def reset(self) -> None:
        """Forget the record and every script but the one given at the start."""
        self.record.clear()
        self.set_script(self.settings.script)


def _refuse_nothing(_seconds: float) -> None:
    """There is no listener."""
