"""The `h2` library as the other end: what we write is what was asked for, and what it answers is what we report."""

from typing import Any, Literal

import h2.settings
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.http2.judge import Exchange, number_of
from tests.unit.http2.wire import JWT, notification
from worker.core.model import ACCEPTED, NoAnswer, Notification
from worker.http2.client.batch import Batch
from worker.providers.apns import form

Code = h2.settings.SettingCodes

topics = st.sampled_from(["com.example.app", "com.example.app.voip", "org.other"])
collapse_ids = st.none() | st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=64)
#: Octets.
sizes = st.integers(0, 50) | st.sampled_from([300, 4_096, 20_000])


class Sent(list[Notification]):
    """Notifications whose `repr` leaves the payloads out, which are long."""

    def __repr__(self) -> str:
        return repr([each._replace(own=b"%d" % len(each.payload)) for each in self])


@st.composite
def notifications(draw: st.DrawFn) -> Sent:
    return Sent(
        notification(
            number,
            bytes(draw(sizes)),
            token=f"{number:0{draw(st.sampled_from([64, 64, 64, 160, 400]))}x}",
            topic=draw(topics),
            push_type=draw(st.sampled_from(["alert", "voip", "background"])),
            priority=draw(st.sampled_from([10, 5, 1])),
            expiration=draw(st.none() | st.integers(0, 2**33)),
            collapse_id=draw(collapse_ids),
        )
        for number in range(draw(st.integers(1, 15)))
    )


server_settings = st.fixed_dictionaries(
    {},
    optional={
        Code.HEADER_TABLE_SIZE: st.sampled_from([0, 50, 150, 400, 4_096, 65_536]),
        Code.MAX_CONCURRENT_STREAMS: st.integers(1, 40),
        Code.INITIAL_WINDOW_SIZE: st.sampled_from([0, 700, 65_535, 1_000_000]),
    },
)


def expected(n: Notification, authorization: str | None) -> list[tuple[str, str]]:
    fields = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "api.push.apple.com"),
        (":path", f"/3/device/{n.token}"),
        ("authorization", f"bearer {authorization}"),
        ("apns-topic", n.heading.topic),
        ("apns-push-type", n.heading.push_type),
        ("apns-priority", str(n.heading.priority)),
        ("apns-id", n.id),
        ("apns-expiration", str(n.heading.expiration)),
        ("apns-collapse-id", str(n.heading.collapse_id)),
    ]
    absent = {
        "authorization": authorization,
        "apns-expiration": n.heading.expiration,
        "apns-collapse-id": n.heading.collapse_id,
    }
    return [(name, value) for name, value in fields if name not in absent or absent[name] is not None]


def assert_complete(exchange: Exchange) -> None:
    """Every request was read as it was meant, and every answer found its own notification."""
    requests = {number_of(request): request for request in exchange.judge.requests.values()}
    batch = exchange.batch
    assert exchange.core.closed is None
    assert len(requests) == len(exchange.judge.requests) == len(batch.requests)
    for number, wanted in enumerate(batch.requests):
        assert requests[number].complete
        assert requests[number].headers == expected(wanted, batch.authorization)
        assert requests[number].body == wanted.payload
        assert batch.responses[number] == exchange.expected(number)
    assert batch.left == 0


statuses = st.lists(st.sampled_from([200, 410, 500]), min_size=1)


@settings(max_examples=60, deadline=None)
@given(notifications(), server_settings, st.sampled_from([JWT, None]), statuses)
def test_h2_reads_every_request_as_it_was_meant_and_every_answer_finds_its_own(
    sent: Sent, announced: dict[Code, int], authorization: str | None, answers: list[int]
) -> None:
    exchange = Exchange(Batch(sent, authorization), answers, announced)
    exchange.run()
    if exchange.batch.left:
        # A stream window of nothing, or one that h2 does not refill: it opens later, as a server may choose.
        exchange.announce({Code.INITIAL_WINDOW_SIZE: 2_000_000})
        exchange.run()
    assert_complete(exchange)


changes = st.tuples(
    st.sampled_from(
        [Code.HEADER_TABLE_SIZE, Code.MAX_CONCURRENT_STREAMS, Code.INITIAL_WINDOW_SIZE, Code.MAX_FRAME_SIZE]
    ),
    st.sampled_from([0, 1, 2, 40, 700, 5_000]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 900), min_size=1, max_size=15), st.lists(changes, max_size=12), statuses)
def test_settings_that_change_at_any_time_change_no_answer(
    lengths: list[int], steps: list[tuple[Code, int]], answers: list[int]
) -> None:
    sent = [notification(number, bytes(length)) for number, length in enumerate(lengths)]
    exchange = Exchange(Batch(sent, JWT), answers, {Code.MAX_CONCURRENT_STREAMS: 5})
    for code, value in steps:
        exchange.step()
        exchange.announce({code: value + 16_384 if code is Code.MAX_FRAME_SIZE else value})
    exchange.run()
    exchange.announce({Code.MAX_CONCURRENT_STREAMS: 100, Code.INITIAL_WINDOW_SIZE: 2_000_000})
    exchange.run()
    assert_complete(exchange)


def test_a_new_provider_token_goes_through_the_same_header_table() -> None:
    first = Exchange(Batch([notification(number) for number in range(5)], "a" * 300), [200])
    first.run()
    assert_complete(first)
    for turn in range(40):
        token = f"token-{turn}-" + "b" * 300
        following = Exchange(Batch([notification(number) for number in range(5)], token), [200])
        following.core, following.judge = first.core, first.judge
        following.judge.requests.clear()
        following.run()
        assert_complete(following)


def test_a_path_never_enters_the_header_table() -> None:
    exchange = Exchange(Batch([notification(number) for number in range(50)], JWT), [200])
    exchange.run()
    names = [bytes(name) for name, _ in exchange.judge.h2.decoder.header_table.dynamic_entries]
    assert b":path" not in names
    assert names.count(b"authorization") == names.count(b"apns-topic") == names.count(b"apns-id") == 1


def test_most_requests_are_written_with_a_few_octets_of_headers() -> None:
    exchange = Exchange(Batch([notification(number, b"") for number in range(100)], JWT), [200])
    exchange.run()
    exchange.waiting = [0]
    exchange.batch.left += 1
    del exchange.waiting[: exchange.core.write(exchange.batch, [0])]
    # Two frame headers, the device token, the id, and at most 40 octets for everything else.
    assert len(exchange.core.take()) <= 9 + 64 + 36 + 9 + 40


bad_values = [
    pytest.param({"topic": "com.example\r\nx: y"}, "topic not allowed in a header", id="a line break in the topic"),
    pytest.param({"topic": " com.example"}, "topic not allowed in a header", id="a blank before the topic"),
    pytest.param({"collapse_id": "a\0b"}, "collapse id not allowed in a header", id="a zero in the collapse id"),
    pytest.param({"collapse_id": "\ud800"}, "collapse id not allowed in a header", id="half a character"),
    pytest.param({"id": "a\nb"}, "apns-id not allowed in a header", id="a line break in the id"),
    pytest.param({"token": "abc/../def"}, "device token not allowed in a path", id="a token that leaves its path"),
    pytest.param({"token": "\u0660" * 64}, "device token not allowed in a path", id="digits that are not ASCII"),
    pytest.param({"id": "\u0660" * 36}, None, id="an id of digits that are not ASCII"),
    pytest.param({"topic": "t" * 9_000}, "headers over the server's limit", id="headers over the server's limit"),
]


@pytest.mark.parametrize(("change", "cause"), bad_values)
def test_a_value_that_http_forbids_is_not_sent_and_hurts_no_neighbour(
    change: dict[str, Any], cause: str | None
) -> None:
    given = [notification(number) for number in range(7)]
    given[3] = notification(3, **change)
    exchange = Exchange(Batch(given, JWT), [200], {Code.MAX_HEADER_LIST_SIZE: 8_000})
    exchange.run()
    assert exchange.batch.left == 0
    # A header list over this server's limit may fit another's.
    sent: Literal["not_sent", "unwritable"] = "not_sent" if cause and "limit" in cause else "unwritable"
    assert exchange.batch.responses[3] == (ACCEPTED if cause is None else NoAnswer(sent, cause))
    assert [response for number, response in enumerate(exchange.batch.responses) if number != 3] == [ACCEPTED] * 6


def test_a_provider_token_that_http_forbids_is_not_sent() -> None:
    exchange = Exchange(Batch([notification()], "jwt\r\nx: y"), [200])
    exchange.run()
    assert exchange.batch.responses == [NoAnswer("unwritable", "provider token not allowed in a header")]


def test_what_messages_have_in_common_is_prepared_for_each_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form, "_REMEMBERED", 3)
    given = [
        notification(number, expiration=1_800_000_000 + number // 2, collapse_id="c" * (1 + number % 5))
        for number in range(40)
    ]
    exchange = Exchange(Batch(given, JWT), [200])
    exchange.run()
    assert_complete(exchange)
