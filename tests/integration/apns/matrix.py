"""The faults of the matrix, each as a script for the simulator, and what it may leave without an answer."""

from itertools import product
from typing import Final, Literal, NamedTuple, Self, get_args

from worker.simulator import Rule, faults
from worker.simulator.faults import Fault
from worker.simulator.inflict import STREAM_MARK

#: The request that the fault befalls: a first batch of one goes before, most of the second is in flight.
AMID: Final = 8
#: A header of a frame, then what is in it: HTTP/2 in hexadecimal.
_PUSH_PROMISE: Final = "00000505" + "04" + STREAM_MARK + "00000002" + "88"
_GOAWAY_TOO_SHORT: Final = "00000407" + "00" + "00000000" + "00000000"
_RAW: Final = {
    "an answer of one's own making": "0000010105" + STREAM_MARK + "88",
    "an unknown frame type": "000003ff00" + "00000000" + "010203",
    "an extension on the stream": "000003fe00" + STREAM_MARK + "010203",
    "an unasked answer to a PING": "0000080601" + "00000000" + "0102030405060708",
    "a priority frame": "0000050200" + STREAM_MARK + "0000000010",
    "a push promise": _PUSH_PROMISE,
    "a frame over the size": "ffffff0000" + STREAM_MARK,
    "settings on a stream": "0000000400" + STREAM_MARK,
    "settings of a wrong length": "0000050400" + "00000000" + "0003000000",
    "data without headers": "0000010001" + STREAM_MARK + "7b",
    "data on no stream": "0000010001" + "00000000" + "7b",
    "an answer to a request never made": "0000010105" + "0000ffff" + "88",
    "a window update of nothing": "0000040800" + "00000000" + "00000000",
    "a window that overflows": "0000040800" + "00000000" + "7fffffff",
    "a stream window that overflows": "0000040800" + STREAM_MARK + "7fffffff",
    "a CONTINUATION of nothing": "0000010904" + STREAM_MARK + "88",
    "a block that another frame breaks into": "0000010101" + STREAM_MARK + "88" + "0000080600" + "00000000" + "00" * 8,
    "a GOAWAY cut short": _GOAWAY_TOO_SHORT,
    "words of HTTP/1.1": b"HTTP/1.1 503 Service Unavailable\r\n\r\n".hex(),
    "another protocol": "ff" * 64,
}
#: Seconds: where something is silent, and where nothing may be.
SHORT: Final = 0.3
LONG: Final = 20.0
#: For the batches that follow a silence: httpx may hang once more, and then tries on another connection.
LATER: Final = 4.0
_LASTS: Final[tuple[Literal["zero", "middle", "last", "max"], ...]] = ("zero", "middle", "last", "max")
_THENS: Final[tuple[Literal["drain", "close", "stay"], ...]] = ("drain", "close", "stay")


class Row(NamedTuple):
    """One fault and what surrounds it."""

    rules: tuple[Rule, ...]
    #: Notifications of the second batch that may stay without an answer; all others must have theirs.
    loses: int = 0
    #: Seconds: the deadline of the second batch, short where some of it end by nothing else.
    within: float = LONG
    #: Whether later batches go through.
    recovers: bool = True
    #: `loses` for httpx, where it is more: it knows no PING, and gives up a whole connection where ours gives up a stream.
    httpx_loses: int | None = None
    httpx_within: float | None = None
    #: Octets of each payload of the second batch beyond its few own.
    padding: int = 0
    #: Octets of the header table that the simulator announces at the start.
    table: int = 4_096

    def over(self, transport: str) -> Self:
        """The row as it holds for this transport."""
        if transport == "http2":
            return self
        loses = self.loses if self.httpx_loses is None else self.httpx_loses
        return self._replace(loses=loses, within=self.httpx_within or self.within)

    @property
    def deadlines(self) -> tuple[float, float, float]:
        """Seconds: of the first batch, of the second, of those that follow."""
        if self.within == LONG:
            return LONG, LONG, LONG
        first = self.within if self.rules and self.rules[0].on == "connect" else LONG
        return first, self.within, LATER if self.recovers else self.within


#: Notifications of the second batch.
BATCH: Final = 20


def _at(fault: Fault, number: int = AMID) -> tuple[Rule, ...]:
    return (Rule(skip=number, count=1, fault=fault),)


def _greets(fault: Fault, connection: int = 1) -> tuple[Rule, ...]:
    return (Rule(on="connect", connection=connection, fault=fault),)


def _settings() -> dict[str, Row]:
    return {
        "settings: one stream": Row(
            _at(faults.Settings(max_concurrent_streams=1)), httpx_loses=BATCH, httpx_within=SHORT
        ),
        "settings: no stream": Row(_at(faults.Settings(max_concurrent_streams=0)), loses=BATCH, within=SHORT),
        # A connection that answers PINGs is kept, whatever it does to streams: only settings that say otherwise mend this.
        "settings: no window": Row(
            _at(faults.Settings(initial_window_size=0)), loses=BATCH, within=SHORT, recovers=False
        ),
        "settings: a small window": Row(_at(faults.Settings(initial_window_size=16)), loses=BATCH, within=SHORT),
        "settings: no header table": Row(_at(faults.Settings(header_table_size=0))),
        "settings: no header table from the start": Row((), table=0),
        "settings: a small header table from the start": Row(_at(faults.Settings(header_table_size=4_096)), table=100),
        "settings: large frames": Row(_at(faults.Settings(max_frame_size=1 << 20))),
    }


def _goaways() -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for number, (last, then) in enumerate(product(_LASTS, _THENS)):
        for reason in (None, "Shutdown") if then == "drain" else ((None, "Shutdown")[number % 2],):
            name = f"goaway: {last}, {then}, {'with' if reason else 'without'} a reason"
            fault = faults.GoAway(last_stream_id=last, reason=reason, then=then)
            # What the last stream includes is answered, unless the connection is closed on it.
            loses = BATCH if then == "close" and last != "zero" else 0
            # Zero comes with the first request of the batch: by the middle, a slow machine has answered some of it.
            rows[name] = Row(_at(fault, 1 if last == "zero" else AMID), loses=loses, httpx_loses=BATCH)
    rows["goaway: an error"] = Row(_at(faults.GoAway(code="ENHANCE_YOUR_CALM", then="close")), loses=BATCH)
    certificate = faults.GoAway(last_stream_id="zero", reason="BadCertificateEnvironment", then="close")
    rows["goaway: the certificate"] = Row((Rule(skip=1, fault=certificate),), loses=BATCH, recovers=False)
    for reason in (None, "Shutdown"):
        name = f"goaway: before the first request, {'with' if reason else 'without'} a reason"
        rows[name] = Row(_greets(faults.GoAway(last_stream_id="zero", reason=reason)), httpx_loses=BATCH)
    return rows


def _ends() -> dict[str, Row]:
    return {
        "closed": Row(_at(faults.Close()), loses=BATCH),
        "aborted": Row(_at(faults.Close(abort=True)), loses=BATCH),
        "closed before the first request": Row(_greets(faults.Close()), httpx_loses=BATCH),
        "aborted before the first request": Row(_greets(faults.Close(abort=True)), httpx_loses=BATCH),
        "half open": Row(_at(faults.HalfOpen()), loses=BATCH, within=SHORT),
        "half open from the first": Row(_greets(faults.HalfOpen()), loses=BATCH, within=SHORT),
        "refused for a while": Row((*_at(faults.Refuse(seconds=0.1), 5), *_at(faults.Close())), loses=BATCH),
    }


def _streams() -> dict[str, Row]:
    rows = {f"reset: {code}": Row(_at(faults.Reset(code)), loses=1) for code in get_args(faults.CodeName)}
    rows["reset: REFUSED_STREAM"] = Row(_at(faults.Reset("REFUSED_STREAM")), httpx_loses=1)
    rows["never answered"] = Row(_at(faults.Never()), loses=1, within=2.0, httpx_loses=BATCH)
    return rows


def _slowness() -> dict[str, Row]:
    return {
        "a closed window": Row(_at(faults.ClosedWindow()), padding=3_500, loses=BATCH, within=SHORT),
        "a window closed for a while": Row(_at(faults.ClosedWindow(seconds=0.1)), padding=3_500),
        "a reader that stops": Row(_at(faults.PauseReading()), padding=3_500, loses=BATCH, within=SHORT),
        "a slow reader": Row(_at(faults.PauseReading(seconds=0.1)), padding=3_500),
        "one byte at a time": Row(_at(faults.Trickle())),
        "seven bytes at a time": Row(_at(faults.Trickle(octets=7))),
        "a PING": Row(_at(faults.Ping())),
    }


def _violations() -> dict[str, Row]:
    rows = {f"raw: {name}": Row(_at(faults.Raw(hex=text)), loses=BATCH, within=SHORT) for name, text in _RAW.items()}
    variants = get_args(faults.BadHeaders.__annotations__["variant"])
    rows |= {f"headers: {name}": Row(_at(faults.BadHeaders(name)), loses=BATCH, within=SHORT) for name in variants}
    return rows


ROWS: Final = _settings() | _goaways() | _ends() | _streams() | _slowness() | _violations()
