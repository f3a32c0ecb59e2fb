"""Which server a publisher or a worker turns to, by what Sentinels and nodes of a cluster say."""

from typing import Any

import pytest
from redis import exceptions

from producers import wire
from producers.topology import EVERY, NO_CLUSTER, ClusterTopology, Look, OneServer, SentinelTopology, slot_of
from producers.urls import Address, parse

A, B, C, D = (Address(name, 1) for name in "abcd")
SENTINELS = parse("redis+sentinel://a:1,b:1,c:1/0?service=bell")
NODES = parse("redis+cluster://a:1,b:1")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def asked(look: Look, answers: dict[Address, Any]) -> list[Address]:
    """Those who were asked."""
    found = []
    try:
        question = next(look)
        while True:
            found.append(question.at)
            question = look.send(answers.get(question.at, exceptions.ConnectionError("away")))
    except StopIteration:
        return found


def named(primary: Address, epoch: int) -> list[bytes]:
    fields = {"name": "bell", "ip": primary.host, "port": primary.port, "flags": "master", "config-epoch": epoch}
    return [str(one).encode() for pair in fields.items() for one in pair]


@pytest.mark.parametrize(
    ("key", "slot"),
    [
        pytest.param(b"123456789", 0x31C3, id="the vector of the specification"),
        pytest.param(b"foo", 12182, id="a plain key"),
        pytest.param(b"carillon:{foo}:events", 12182, id="a tag"),
        pytest.param(b"{foo}{bar}", 12182, id="the first tag"),
        pytest.param(b"foo{}{bar}", slot_of(b"foo{}{bar}"), id="an empty tag is none"),
    ],
)
def test_a_key_lies_in_the_slot_of_its_tag(key: bytes, slot: int) -> None:
    assert slot_of(key) == slot
    assert slot_of(b"foo{}{bar}") != slot_of(b"bar")


def test_one_server_has_every_key_and_is_never_looked_for() -> None:
    topology = OneServer()
    assert topology.where(topology.slot(b"x")) is not None
    assert not topology.due()


def test_the_sentinels_are_asked_each_second_one_after_the_other() -> None:
    clock = Clock()
    topology = SentinelTopology(SENTINELS, clock)
    assert topology.where(0) is None
    order = []
    for _ in range(4):
        order += asked(topology.look(), dict.fromkeys((A, B, C), named(D, 1)))
        assert not topology.due()
        clock.now += EVERY
        assert topology.due()
    assert order == [A, B, C, A]
    assert topology.where(0) == D


def test_a_sentinel_that_has_not_heard_of_the_failover_is_not_believed() -> None:
    topology = SentinelTopology(SENTINELS, Clock())
    assert asked(topology.look(), {A: named(C, 1)}) == [A]
    assert asked(topology.look(), {B: named(D, 2)}) == [B]
    assert asked(topology.look(), {C: named(C, 1), A: named(C, 1), B: named(D, 2)}) == [C, A, B]
    assert topology.where(0) == D


def test_sentinels_that_were_set_up_anew_are_believed_after_faults_that_last() -> None:
    clock = Clock()
    topology = SentinelTopology(SENTINELS, clock)
    asked(topology.look(), {A: named(C, 7)})
    for _ in range(12):
        topology.failed(C)
        assert topology.due()
        asked(topology.look(), dict.fromkeys((A, B, C), named(D, 0)))
        clock.now += 1
    assert topology.where(0) == D


def test_a_silent_sentinel_is_asked_last_for_a_while() -> None:
    clock = Clock()
    topology = SentinelTopology(SENTINELS, clock)
    assert asked(topology.look(), dict.fromkeys((B, C), named(D, 1))) == [A, B]
    for first in (B, C, B):
        assert asked(topology.look(), dict.fromkeys((A, B, C), named(D, 1))) == [first]


def test_a_service_that_no_sentinel_knows_is_named() -> None:
    topology = SentinelTopology(SENTINELS, Clock())
    with pytest.raises(exceptions.ConnectionError, match="no Sentinel knows the service 'bell'"):
        asked(topology.look(), dict.fromkeys((A, B, C), exceptions.ResponseError("No such master with that name")))


def slots(*ranges: tuple[int, int, Address]) -> list[Any]:
    return [[first, last, [at.host.encode(), at.port, b"id", []]] for first, last, at in ranges]


def test_a_slot_s_node_is_found_and_what_a_node_says_of_one_slot_counts_at_once() -> None:
    topology = ClusterTopology(NODES, Clock())
    assert topology.due()
    assert asked(topology.look(), {B: slots((5461, 10922, C), (0, 5460, B), (12000, 16383, D))}) == [A, B]
    assert [topology.where(slot) for slot in (0, 5460, 5461, 10922, 11000, 12000, 16383)] == [B, B, C, C, None, D, D]
    topology.moved(5460, D)
    assert (topology.where(5460), topology.where(0), topology.due()) == (D, B, True)
    asked(topology.look(), {C: slots((0, 16383, C))})
    assert (topology.where(5460), topology.due(), topology.known(B)) == (C, False, False)


def test_a_node_that_does_not_know_its_own_host_is_the_one_that_was_asked() -> None:
    topology = ClusterTopology(NODES, Clock())
    asked(topology.look(), {A: [[0, 16383, [b"", 7, b"id"], [b"?", 8, b"id"]]]})
    assert topology.where(3) == Address("a", 7)


def test_what_is_no_cluster_is_named() -> None:
    topology = ClusterTopology(NODES, Clock())
    with pytest.raises(exceptions.ResponseError, match=NO_CLUSTER):
        asked(topology.look(), {A: exceptions.ResponseError("This instance has cluster support disabled")})
    with pytest.raises(exceptions.ConnectionError, match="owns a slot"):
        asked(topology.look(), {A: [], B: []})


def test_a_command_is_split_by_the_slots_of_its_keys_and_answered_as_if_it_were_not() -> None:
    command = wire.append(["{a}x", "{b}x", "{a}y"], [b"1", b"2", b"3"], replicas=1)
    [whole] = wire.pieces(command, None)
    assert whole.command is command
    first, second = wire.pieces(command, slot_of)
    assert (first.slot, second.slot) == (slot_of(b"a"), slot_of(b"b"))
    assert (list(first.places), list(second.places)) == ([0, 2], [1])
    assert first.command.answers == 4
    assert second.command == wire.Command(wire.packed(b"XADD", b"{b}x", b"*", b"event", b"2"), replicas=1)
    assert wire.joined([(first, [b"1-0", b"3-0"]), (second, b"2-0")]) == [b"1-0", b"2-0", b"3-0"]
    [alone] = wire.pieces(wire.append(["{a}x"], [b"1"]), slot_of)
    assert wire.joined([(alone, b"1-0")]) == b"1-0"


def test_the_key_of_a_command_is_its_first_argument_whatever_is_in_it() -> None:
    assert wire.key_of(wire.packed(b"SET", b"a\r\n$3\r\nb", b"1")) == b"a\r\n$3\r\nb"
    assert wire.key_of(wire.packed(b"DEL", b"")) == b""
