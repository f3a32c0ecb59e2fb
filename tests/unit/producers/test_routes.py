"""The steps of publishing, driven by a Redis that is a table of answers."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from producers import BackPressureError, PublishError, wire
from producers.documents import document
from producers.partitions import LAYOUT_KEY, UNTAGGED, Layout, encoded, tags
from producers.routes import KNOWN, LOOK, Flow, Pause, Routes
from tests.unit.producers.examples import ENVELOPE, MESSAGE

FOUR = Layout(2, tags(4))
MOVED = Layout(3, tags(4, 3))
SPREAD = Layout(2, tags(4), spread=frozenset({"acme"}))


class Server:
    """Answers as a Redis would, notes what it was asked, and has a clock that only pauses move."""

    def __init__(self, layout: Layout = UNTAGGED) -> None:
        self.layout: bytes | None = None if layout == UNTAGGED else encoded(layout)
        self.now = 1000.0
        self.asked: list[str] = []
        self.streams: dict[str, list[bytes]] = {}
        self.closed: set[str] = set()
        self.pressure: dict[str, int] = {}
        self.paused: list[float] = []
        self.at_pause: Callable[[], None] = lambda: None
        self.forbids_layout = False
        self.shown: bytes | None = None

    def carry_out(self, flow: Flow[Any]) -> Any:
        try:
            step = next(flow)
            while True:
                try:
                    answer = self._do(step)
                except PublishError as fault:
                    step = flow.throw(fault)
                else:
                    step = flow.send(answer)
        except StopIteration as end:
            return end.value

    def _do(self, step: wire.Command | Pause) -> Any:
        if isinstance(step, wire.Command):
            return self.answer(step)
        self.pause(step)
        return None

    def pause(self, seconds: float) -> None:
        self.paused.append(seconds)
        self.now += seconds
        self.at_pause()

    def answer(self, command: wire.Command) -> Any:
        commands = _commands(command.packed)
        answers = [self._one(*parts) for parts in commands if parts[0] not in (b"MULTI", b"EXEC")]
        for one in answers:
            if isinstance(one, Exception):
                raise one
        return answers[0] if len(commands) == 1 else answers

    def _one(self, name: bytes, key: bytes, *more: bytes) -> Any:
        self.asked.append(f"{name.decode()} {key.decode()}")
        match name:
            case b"GET" if self.forbids_layout:
                return wire.NotAllowedError("no permission")
            case b"GET":
                return self.layout
            case b"HMGET":
                return [self.pressure.get(field.decode()) for field in more]
            case b"ZSCORE":
                return self.shown
            case b"ZADD" | b"EXPIRE":
                return 1
        stream = key.decode()
        if stream in self.closed:
            return wire.ClosedError("WRONGTYPE")
        self.streams.setdefault(stream, []).append(more[-1])
        return f"{sum(map(len, self.streams.values()))}-0".encode()


def _commands(packed: bytes) -> list[list[bytes]]:
    found, rest = [], packed
    while rest:
        head, _, rest = rest.partition(b"\r\n")
        parts = []
        for _ in range(int(head[1:])):
            size, _, rest = rest.partition(b"\r\n")
            n = int(size[1:])
            parts.append(rest[:n])
            rest = rest[n + 2 :]
        found.append(parts)
    return found


def routes(server: Server, *, own: bool = False, seconds: float = 5.0) -> Routes:
    return Routes(100, own=own, seconds=seconds, clock=lambda: server.now)


def of(*apps: str) -> list[bytes]:
    return [document(MESSAGE | {"app": app, "id": f"{n}"}) for n, app in enumerate(apps)]


def test_without_a_layout_an_event_costs_one_command_and_a_look_now_and_then():
    server = Server()
    one = routes(server)
    for _ in range(3):
        server.carry_out(one.append(of("demo")))
    assert server.asked == [
        f"GET {LAYOUT_KEY}", "HMGET carillon:pressure", "XADD carillon:events", "XADD carillon:events",
        "XADD carillon:events",
    ]  # fmt: skip
    server.now += max(KNOWN, LOOK)
    server.asked.clear()
    server.carry_out(one.append(of("demo")))
    assert server.asked == [f"GET {LAYOUT_KEY}", "HMGET carillon:pressure", "XADD carillon:events"]


def test_each_event_goes_to_its_app_s_partition_in_one_command_a_partition():
    server = Server(FOUR)
    written = of("acme", "demo", "acme", "a", "demo", "zürich")
    ids = server.carry_out(routes(server).append(written))
    assert server.streams == {
        FOUR.stream("acme"): [written[0], written[2], written[5]],
        FOUR.stream("demo"): [written[1], written[4]],
        FOUR.stream("a"): [written[3]],
    }
    assert len(set(ids)) == 6
    assert [asked for asked in server.asked if asked.startswith("HMGET")] == [
        f"HMGET {FOUR.pressure(app)}" for app in ("acme", "demo", "a")
    ]


def test_own_streams_are_in_the_partition_too():
    server = Server(FOUR)
    server.carry_out(routes(server, own=True).append(of("acme", "demo")))
    assert set(server.streams) == {f"{FOUR.stream('acme')}:acme", f"{FOUR.stream('demo')}:demo"}


def in_channel(channel: str, id: str = "e") -> bytes:
    return document(MESSAGE | {"app": "acme", "id": id, "channel": {"id": channel}})


def of_user(id: str = "u", app: str = "acme") -> bytes:
    return document(ENVELOPE | {"type": "badge.cleared", "app": app, "id": id, "user": "han"})


def test_an_event_about_a_channel_of_a_spread_app_goes_to_the_channel_s_partition_and_others_to_the_home():
    server = Server(SPREAD)
    written = [of_user(), in_channel("lobby"), in_channel("news"), in_channel("general"), *of("demo")]
    ids = server.carry_out(routes(server).append(written))
    assert server.streams == {
        SPREAD.stream("acme"): [written[0], written[3]],  # `general` is in the home as well
        SPREAD.stream("acme", channel="lobby"): [written[1]],
        SPREAD.stream("acme", channel="news"): [written[2]],
        SPREAD.stream("demo"): [written[4]],
    }
    assert len(set(ids)) == 5


def test_what_a_call_has_before_a_message_is_written_before_it():
    server = Server(SPREAD)
    written = [
        in_channel("lobby", "1"),
        of_user("2"),
        in_channel("lobby", "3"),
        *of("demo"),
        of_user("4"),
        in_channel("news"),
    ]
    ids = server.carry_out(routes(server).append(written))
    order = [asked.removeprefix("XADD ") for asked in server.asked if asked.startswith("XADD")]
    lobby, home, news = (
        SPREAD.stream("acme", channel="lobby"),
        SPREAD.stream("acme"),
        SPREAD.stream("acme", channel="news"),
    )
    # `demo` lives in the same partition as `lobby`.
    assert order == [lobby, SPREAD.stream("demo"), home, home, lobby, news]
    assert server.streams[lobby] == [written[0], written[2]]
    assert len(set(ids)) == 6


def test_the_pressure_of_a_spread_app_is_that_of_each_partition():
    server = Server(SPREAD)
    one = routes(server)
    server.pressure = {"acme": 100}
    with pytest.raises(BackPressureError):
        server.carry_out(one.append([in_channel("lobby")]))
    server.pressure = {}
    server.carry_out(one.append([in_channel("lobby"), in_channel("news"), of_user()]))
    assert [asked for asked in server.asked if asked.startswith("HMGET")] == [
        f"HMGET {SPREAD.pressure('acme', channel)}" for channel in ("lobby", "lobby", "news", None)
    ]


def test_what_is_left_when_an_app_is_spread_goes_where_it_belongs_now():
    server = Server(FOUR)
    one = routes(server)
    server.carry_out(one.append(of("demo")))
    server.closed = {FOUR.stream("acme")}
    moved = Layout(3, tags(4, 3), spread=frozenset({"acme"}))
    server.layout = encoded(moved)
    written = [in_channel("lobby"), of_user()]
    server.carry_out(one.append(written))
    assert server.streams[moved.stream("acme", channel="lobby")] == [written[0]]
    assert server.streams[moved.stream("acme")] == [written[1]]


def test_a_publisher_with_the_layout_of_before_is_refused_and_reads_the_new_one():
    server = Server(FOUR)
    one = routes(server)
    server.carry_out(one.append(of("demo")))
    server.closed = {FOUR.stream(app) for app in ("acme", "demo", "a", "zu\u0308rich")}
    server.layout = encoded(MOVED)
    written = of("demo", "acme")
    server.carry_out(one.append(written))
    assert server.streams[MOVED.stream("demo")] == [written[0]]
    assert server.streams[MOVED.stream("acme")] == [written[1]]
    assert len(server.streams[FOUR.stream("demo")]) == 1


def test_what_was_written_before_the_change_is_not_written_again():
    server = Server(FOUR)
    one = routes(server)
    server.carry_out(one.append(of("acme")))
    server.closed = {FOUR.stream("demo")}
    server.layout = encoded(MOVED)
    written = of("acme", "demo", "acme")
    ids = server.carry_out(one.append(written))
    assert server.streams[FOUR.stream("acme")][1:] == [written[0], written[2]]
    assert server.streams[MOVED.stream("demo")] == [written[1]]
    assert MOVED.stream("acme") not in server.streams
    assert len(ids) == 3


def test_a_stream_that_is_closed_in_the_layout_of_now_is_a_fault():
    server = Server()
    server.closed = {"carillon:events"}
    with pytest.raises(PublishError, match="WRONGTYPE"):
        server.carry_out(routes(server).append(of("demo")))


def test_while_the_partitions_are_changed_a_call_waits():
    server = Server(Layout(2, FOUR.tags, closed=True))

    def opened() -> None:
        if len(server.paused) == 4:
            server.layout = encoded(MOVED)

    server.at_pause = opened
    server.carry_out(routes(server).append(of("demo")))
    assert set(server.streams) == {MOVED.stream("demo")}
    assert len(server.paused) == 4


def test_a_change_that_takes_longer_than_a_call_may_is_a_publish_error():
    server = Server(Layout(1, (), closed=True))
    with pytest.raises(PublishError, match="the partitions are being changed"):
        server.carry_out(routes(server, seconds=3.0).append(of("demo")))
    assert sum(server.paused) <= 3.0
    assert server.streams == {}


def test_who_may_not_read_the_layout_publishes_as_before_there_was_one():
    server = Server()
    server.forbids_layout = True
    one = routes(server)
    server.carry_out(one.append(of("demo")))
    server.now += KNOWN
    server.carry_out(one.append(of("demo")))
    assert len(server.streams["carillon:events"]) == 2
    assert server.asked.count(f"GET {LAYOUT_KEY}") == 1


def test_a_layout_of_a_later_release_is_refused_in_words():
    server = Server()
    server.layout = b'{"generation": 9, "partitions": 1, "tags": [], "moved": {}}'
    with pytest.raises(PublishError, match="if a newer release wrote it, update the producers"):
        server.carry_out(routes(server).append(of("demo")))


def test_accepted_are_the_leading_events_where_one_partition_refuses():
    server = Server(FOUR)
    server.pressure = {"acme": 100}
    with pytest.raises(BackPressureError) as fault:
        server.carry_out(routes(server).append(of("demo", "demo", "acme", "demo")))
    assert len(fault.value.accepted) == 2
    assert len(server.streams[FOUR.stream("demo")]) == 3


def test_the_banner_of_a_spread_app_is_asked_for_in_the_channel_s_partition():
    server = Server(SPREAD)
    server.carry_out(routes(server).mark_read_where_shown("acme", "han", "news", datetime(2026, 11, 28, tzinfo=UTC)))
    assert server.asked[-1] == f"ZSCORE {SPREAD.prefix(SPREAD.partition_of('acme', 'news'))}shown:acme"


def test_the_banner_is_asked_for_in_the_app_s_partition():
    server = Server(FOUR)
    server.shown = b"5"
    flow = routes(server).mark_read_where_shown("acme", "han", "general", datetime(2026, 11, 28, tzinfo=UTC))
    assert server.carry_out(flow) == b"5"
    assert server.asked[1:] == [
        "ZADD carillon:read:acme:general", "EXPIRE carillon:read:acme:general", f"ZSCORE {FOUR.shown('acme')}",
    ]  # fmt: skip
