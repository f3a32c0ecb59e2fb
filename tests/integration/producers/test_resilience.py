"""Never a silent loss: what `publish` returned is on the stream, whatever happened to Redis meanwhile."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis

from producers import PublishError
from tests.integration.producers.stored import ids, stored
from tests.unit.producers.examples import MESSAGE, changed, numbered
from tests.valkey import Valkey

Make = Callable[..., Any]


def test_a_redis_that_is_killed_and_comes_back_loses_nothing_that_was_accepted(make: Make, valkey: Valkey) -> None:
    publisher = make(valkey.url, timeout=30)
    accepted: list[str] = []
    started = threading.Event()

    def publish() -> None:
        for number in range(300):
            publisher.publish(changed(MESSAGE, id=f"evt-{number}"))
            accepted.append(f"evt-{number}")
            started.set()
            publisher.publish_many(numbered(3))

    working = threading.Thread(target=publish)
    working.start()
    started.wait(20)
    for _ in range(2):
        valkey.kill()
        valkey.start()
    working.join(60)
    assert not working.is_alive()
    assert len(accepted) == 300
    found = ids(valkey.url)
    assert set(accepted) <= set(found)
    first_times = [id for id in dict.fromkeys(found) if id not in {"evt-0", "evt-1", "evt-2"}]
    assert first_times == accepted[3:]


def test_a_redis_that_dies_for_good_leaves_an_exact_account(make: Make, valkey: Valkey) -> None:
    publisher = make(valkey.url, timeout=0.3)
    accepted = list(publisher.publish_many(numbered(5)))
    threading.Timer(0.05, valkey.kill).start()
    try:
        while True:
            accepted += publisher.publish_many(numbered(1_000))
    except PublishError as fault:
        accepted += fault.accepted
    valkey.start()
    written = [entry for entry, _ in stored(valkey.url)]
    # At most one chunk more may be there: the one whose answer never came.
    assert written[: len(accepted)] == accepted
    assert len(written) - len(accepted) in {0, 200}


def test_a_redis_that_hangs_is_an_error_in_bounded_time(make: Make, valkey: Valkey) -> None:
    publisher = make(valkey.url, timeout=0.3)
    publisher.publish(MESSAGE)
    valkey.freeze()
    try:
        with pytest.raises(PublishError, match=r"did not confirm it in 0\.3 s"):
            publisher.publish(MESSAGE)
        with pytest.raises(PublishError, match=r"0 of 3 events were accepted"):
            publisher.publish_many(numbered(3))
    finally:
        valkey.thaw()
    assert publisher.publish(MESSAGE)


def test_connections_that_were_closed_while_idle_cost_nothing(make: Make, valkey: Valkey) -> None:
    publisher = make(valkey.url)
    publisher.publish(MESSAGE)
    with redis.Redis.from_url(valkey.url) as client:
        client.client_kill_filter(_type="normal", skipme=True)
    publisher.publish(changed(MESSAGE, id="evt-2"))
    assert ids(valkey.url) == ["evt-1", "evt-2"]


@contextmanager
def answers_lost(port: int, count: int) -> Iterator[int]:
    """A port that forwards to Redis, and cuts the first `count` connections once an answer to them is there."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(client: socket.socket, *, cut: bool) -> None:
        with client, socket.create_connection(("127.0.0.1", port)) as server:
            while asked := client.recv(65536):
                server.sendall(asked)
                answer = server.recv(65536)
                if cut and b"XADD" in asked:
                    return
                client.sendall(answer)

    def accept() -> None:
        for number in range(1_000):
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), kwargs={"cut": number < count}, daemon=True).start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    accepting.join(10)


def test_a_lost_answer_writes_the_event_again_under_the_same_id(make: Make, valkey: Valkey) -> None:
    with answers_lost(valkey.port, 2) as port:
        make(f"redis://127.0.0.1:{port}/0").publish(MESSAGE)
    assert ids(valkey.url) == ["evt-1", "evt-1", "evt-1"]


def test_an_answer_that_never_comes_is_an_error_though_the_event_is_there(make: Make, valkey: Valkey) -> None:
    with answers_lost(valkey.port, 1_000) as port, pytest.raises(PublishError, match="its id makes that harmless"):
        make(f"redis://127.0.0.1:{port}/0", timeout=0.3).publish(MESSAGE)
    assert set(ids(valkey.url)) == {"evt-1"}
