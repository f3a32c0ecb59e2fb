"""With four partitions everything is as with one: keys have a tag, and no script touches a key of another partition."""

import pytest

from producers import events as ev
from producers.partitions import Layout, tags
from tests.integration.pipeline.harness import Pipeline, message
from tests.integration.pipeline.test_backlog import (
    test_a_push_for_later_is_no_load,
    test_each_thing_that_waits_is_in_one_state,
    test_what_a_stopped_provider_holds_back_is_held,
    test_what_is_tried_again_is_due,
)
from tests.integration.pipeline.test_calls import (
    test_c02_a_call_is_tried_again_at_once_and_never_beyond_its_end,
    test_c04_who_answered_on_one_device_sees_it_on_the_others_that_showed_the_call,
)
from tests.integration.pipeline.test_second_looks import (
    test_it_decides_by_all_rules_as_things_are_by_then,
    test_two_workers_expand_it_once,
)
from worker.core.entry import partition_of

#: They run here with the `pipeline` of this file's layout.
__all__ = [
    "test_a_push_for_later_is_no_load",
    "test_c02_a_call_is_tried_again_at_once_and_never_beyond_its_end",
    "test_c04_who_answered_on_one_device_sees_it_on_the_others_that_showed_the_call",
    "test_each_thing_that_waits_is_in_one_state",
    "test_it_decides_by_all_rules_as_things_are_by_then",
    "test_two_workers_expand_it_once",
    "test_what_a_stopped_provider_holds_back_is_held",
    "test_what_is_tried_again_is_due",
]


@pytest.fixture
def layout() -> Layout:
    return Layout(2, tags(4))


def test_an_app_s_keys_are_those_of_its_partition_and_its_entries_say_so(pipeline: Pipeline) -> None:
    pipeline.member("general", "leia", "han")
    pipeline.publish(message(id="e1"))
    pipeline.take()
    with pipeline.pool.connection() as db:
        [(entry,)] = db.execute("SELECT entry FROM carillon.messages").fetchall()
        streams = {stream for (stream,) in db.execute("SELECT stream FROM carillon.cursors")}
    of = pipeline.partition
    assert (partition_of(entry), of.names.stream_of(entry)) == (of.index, of.names.inlet)
    assert streams == {of.names.inlet}
    assert len(pipeline.run()) == 1
    assert all(key.startswith(of.prefix.encode()) for key in pipeline.redis.scan_iter())


def test_an_event_in_another_app_s_partition_is_a_dead_letter(pipeline: Pipeline) -> None:
    other = next(name for name in map("app-{}".format, range(100)) if not pipeline.partition.owns(name))
    pipeline.publish(ev.encode(message(id="e1")).replace(b'"app":"demo"', f'"app":"{other}"'.encode()))
    pipeline.take()
    [letter] = pipeline.ledger.dead_letters()
    assert "lives in another partition" in letter.letter.error


class TestSpread:
    """The app's channels are spread; `pipeline` has its home."""

    @pytest.fixture
    def layout(self) -> Layout:
        return Layout(2, tags(4), spread=frozenset({"demo"}))

    def test_an_event_about_a_channel_of_another_partition_is_a_dead_letter(self, pipeline: Pipeline) -> None:
        of = pipeline.keyspace
        here = next(f"c{n}" for n in range(99) if of.of_channel("demo", f"c{n}") is pipeline.partition)
        other = next(f"c{n}" for n in range(99) if of.of_channel("demo", f"c{n}") is not pipeline.partition)
        pipeline.publish(message(id="e1", channel=other), message(id="e2", channel=here))
        pipeline.take()
        [letter] = pipeline.ledger.dead_letters()
        assert (letter.letter.event_id, "belongs to another partition" in letter.letter.error) == ("e1", True)
