"""The server's limits, as they come and go: streams, windows, stream ids; and how streams end before their answer."""

import pytest

from tests.unit.http2.wire import GREETING, Client, batch, head, parse, rejection
from worker.core.model import ACCEPTED, Answer, NoAnswer
from worker.http2 import frames
from worker.http2.frames import ErrorCode

STREAMS = frames.SETTINGS_MAX_CONCURRENT_STREAMS
WINDOW = frames.SETTINGS_INITIAL_WINDOW_SIZE
EMPTY_SETTINGS = frames.pack_settings({})


def limit(streams: int) -> bytes:
    return frames.pack_settings({STREAMS: streams})


def opened(client: Client) -> list[int]:
    return [stream_id for kind, _, stream_id, _ in parse(client.written) if kind == frames.HEADERS]


def body_octets(client: Client, stream_id: int) -> int:
    return sum(
        len(body) for kind, _, owner, body in parse(client.written) if kind == frames.DATA and owner == stream_id
    )


def test_the_preface_refuses_push_and_a_header_table() -> None:
    client = Client(batch(1), greeting=None)
    assert client.written.startswith(frames.PREFACE)
    kind, _, _, payload = next(iter(parse(client.written)))
    announced = dict(frames.unpack_settings(payload))
    assert kind == frames.SETTINGS
    assert announced[frames.SETTINGS_HEADER_TABLE_SIZE] == announced[frames.SETTINGS_ENABLE_PUSH] == 0


def test_settings_are_acknowledged_and_pings_answered() -> None:
    client = Client(batch(1))
    assert frames.SETTINGS_ACK in client.written
    assert frames.pack_ping(b"12345678", ack=True) in client.feed(frames.pack_ping(b"12345678"))


def test_nothing_is_sent_before_the_servers_settings() -> None:
    client = Client(batch(3), greeting=None)
    assert opened(client) == []
    client.feed(GREETING)
    assert client.send() == 3


def test_one_stream_until_a_valid_provider_token_was_seen_where_no_limit_is_named() -> None:
    client = Client(batch(5), greeting=EMPTY_SETTINGS)
    assert opened(client) == [1]
    client.feed(rejection(1, 403, "InvalidProviderToken"))
    assert client.send() == 1
    client.feed(head(3, 410))
    assert client.send() == 3


def test_a_limit_of_one_is_raised_at_any_time() -> None:
    client = Client(batch(5), greeting=limit(1))
    assert opened(client) == [1]
    client.feed(limit(3))
    client.send()
    assert opened(client) == [1, 3, 5]
    client.feed(head(1, 200))
    client.send()
    assert opened(client) == [1, 3, 5, 7]


@pytest.mark.parametrize("low", [0, 1, 2])
def test_a_limit_lowered_below_what_is_in_flight_hangs_nothing(low: int) -> None:
    client = Client(batch(8), greeting=limit(5))
    client.feed(limit(low))
    client.feed(*(head(stream_id, 200) for stream_id in (1, 3, 5, 7, 9)))
    assert client.core.room() == low
    client.feed(limit(1_000))
    client.send()
    client.feed(*(head(stream_id, 200) for stream_id in (11, 13, 15)))
    assert client.answers == [ACCEPTED] * 8


def test_a_closed_connection_window_counts_as_no_room_and_opens_again() -> None:
    client = Client(batch(100, payload=bytes(1_000)))
    assert len(opened(client)) == 66
    assert client.core.room() == 0
    # The last one is half sent; its rest comes first when the window opens.
    assert body_octets(client, opened(client)[-1]) == 535
    client.feed(frames.pack_window_update(0, 465 + 2_000))
    assert body_octets(client, 131) == 1_000
    client.send()
    assert len(opened(client)) == 68


def test_a_stream_window_smaller_than_the_payload_is_waited_for_without_holding_up_others() -> None:
    client = Client(batch(3, payload=bytes(100)), greeting=frames.pack_settings({WINDOW: 30, STREAMS: 10}))
    assert [body_octets(client, stream_id) for stream_id in (1, 3, 5)] == [30, 30, 30]
    client.feed(frames.pack_window_update(3, 70))
    assert [body_octets(client, stream_id) for stream_id in (1, 3, 5)] == [30, 100, 30]
    client.feed(frames.pack_settings({WINDOW: 50}))
    assert [body_octets(client, stream_id) for stream_id in (1, 3, 5)] == [50, 100, 50]
    # Lowered below what was sent: the window is negative, and has to be earned again (RFC 9113 §6.9.2).
    client.feed(frames.pack_settings({WINDOW: 10}), frames.pack_window_update(1, 40))
    assert body_octets(client, 1) == 50
    client.feed(frames.pack_window_update(1, 50))
    assert body_octets(client, 1) == 100


def test_an_answer_before_the_body_is_complete_counts_and_frees_the_stream() -> None:
    client = Client(batch(1, payload=bytes(100)), greeting=frames.pack_settings({WINDOW: 30, STREAMS: 10}))
    client.feed(rejection(1, 413, "PayloadTooLarge"))
    assert client.answers == [Answer(413, "PayloadTooLarge")]
    assert client.resets() == {1: ErrorCode.CANCEL}
    assert len(client.core.streams) == 0


def test_stream_ids_that_run_out_retire_the_connection() -> None:
    client = Client(batch(5), first_stream_id=frames.MAX_STREAM_ID - 4)
    assert opened(client) == [frames.MAX_STREAM_ID - 4, frames.MAX_STREAM_ID - 2, frames.MAX_STREAM_ID]
    assert client.core.retiring == "stream ids used up"
    client.feed(*(head(stream_id, 200) for stream_id in opened(client)))
    assert client.answers == [ACCEPTED] * 3 + [None] * 2


def test_an_expired_provider_token_retires_the_connection_and_its_other_streams_are_answered() -> None:
    client = Client(batch(3))
    client.feed(rejection(1, 403, "ExpiredProviderToken"))
    assert client.core.room() == 0
    client.feed(head(3, 200), head(5, 200))
    assert client.answers == [Answer(403, "ExpiredProviderToken"), ACCEPTED, ACCEPTED]


def test_goaway_hands_back_what_is_above_its_last_stream_and_waits_for_the_rest() -> None:
    client = Client(batch(4))
    client.feed(frames.pack_goaway(3, 0))
    assert [(index, cause) for _, index, cause in client.core.streams.refused] == [(2, "goaway"), (3, "goaway")]
    client.feed(head(1, 200))
    client.core.lost("connection closed")
    assert client.answers == [ACCEPTED, NoAnswer("unknown", "goaway"), None, None]


@pytest.mark.parametrize(
    ("debug", "code", "cause"),
    [
        pytest.param(b'{"reason":"BadCertificateEnvironment"}', 0, "BadCertificateEnvironment", id="Apple's reason"),
        pytest.param(b"", 0, "goaway", id="nothing"),
        pytest.param(b"", 11, "goaway: ENHANCE_YOUR_CALM", id="a code"),
        pytest.param(b"", 99, "goaway: unknown error", id="a code of no RFC"),
        pytest.param(b"max_age", 0, "goaway", id="free text"),
        pytest.param(b'{"reason":"token abc-123"}', 0, "goaway", id="a reason that is no word"),
        pytest.param(b"[" * 10_000, 0, "goaway", id="deep JSON"),
    ],
)
def test_the_cause_of_a_goaway_is_a_word_of_apples_or_a_phrase_of_ours(debug: bytes, code: int, cause: str) -> None:
    client = Client(batch(1))
    client.feed(frames.pack_goaway(0, code, debug))
    assert [each[2] for each in client.core.streams.refused] == [cause]


def test_goaway_may_come_twice_with_a_lower_stream() -> None:
    client = Client(batch(3))
    client.feed(frames.pack_goaway(frames.MAX_STREAM_ID, 0))
    assert client.core.streams.refused == []
    client.feed(frames.pack_goaway(1, 0))
    assert [index for _, index, _ in client.core.streams.refused] == [1, 2]


@pytest.mark.parametrize("code", [code for code in ErrorCode if code is not ErrorCode.REFUSED_STREAM])
def test_a_reset_stream_is_unknown(code: ErrorCode) -> None:
    client = Client(batch(2))
    client.feed(frames.pack_rst_stream(1, code), head(3, 200))
    assert client.answers == [NoAnswer("unknown", f"stream reset: {code.name}"), ACCEPTED]


def test_a_refused_stream_is_handed_back() -> None:
    client = Client(batch(1))
    client.feed(frames.pack_rst_stream(1, ErrorCode.REFUSED_STREAM))
    assert [(index, cause) for _, index, cause in client.core.streams.refused] == [(0, "refused_stream")]


def test_a_lost_connection_tells_complete_requests_from_others() -> None:
    client = Client(batch(2, payload=bytes(100)), greeting=frames.pack_settings({WINDOW: 30, STREAMS: 10}))
    client.feed(frames.pack_window_update(1, 70))
    client.core.lost("connection reset")
    assert client.answers == [NoAnswer("unknown", "connection reset"), NoAnswer("not_sent", "connection reset")]


def test_a_given_up_batch_frees_its_streams_and_late_answers_are_ignored() -> None:
    slow, quick = batch(3), batch(2)
    client = Client(slow, quick)
    client.core.cancel(slow, "deadline")
    client.written += client.core.take()
    assert client.resets() == dict.fromkeys((1, 3, 5), ErrorCode.CANCEL)
    client.feed(
        head(1, 200), rejection(3, 410, "Unregistered"), frames.pack_rst_stream(5, 8), head(7, 200), head(9, 200)
    )
    assert client.core.closed is None
    assert slow.responses == [NoAnswer("unknown", "deadline")] * 3
    assert quick.responses == [ACCEPTED, ACCEPTED]


def test_late_answers_are_ignored_however_many_streams_were_given_up() -> None:
    many = batch(10_000)
    client = Client(many, greeting=limit(20_000))
    client.feed(frames.pack_window_update(0, 10_000_000))
    client.send()
    client.core.cancel(many, "deadline")
    client.feed(*(head(stream_id, 200) for stream_id in range(1, 20_000, 2)))
    assert client.core.closed is None


def test_the_servers_window_is_opened_again_for_long() -> None:
    client = Client(batch(1_000))
    for stream_id in range(1, 2_000, 2):
        client.feed(head(stream_id, 500, ends=False), frames.pack_frame(frames.DATA, 1, stream_id, bytes(2_000)))
    granted = sum(frames.unpack_increment(p) for kind, _, owner, p in parse(client.written) if kind == 8 and owner == 0)
    assert granted >= 2_000_000 - 65_535
