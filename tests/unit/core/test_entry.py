"""Names of entries: the inlet's are their ids, an app's carry its name, whatever is in it."""

import pytest

from producers.events import STREAM
from worker.core.entry import UNTAGGED, Names, id_key, id_of, mark_of, ms_of, partition_of
from worker.core.position import FIRST_PLACE, position

TAGGED = Names("carillon:{p11.3}:events", mark_of(11))


@pytest.mark.parametrize(
    ("names", "partition"), [pytest.param(UNTAGGED, 0, id="no tags"), pytest.param(TAGGED, 11, id="tagged")]
)
@pytest.mark.parametrize("app", ["demo", "a@b", "a,b", "a~7", "店", "x" * 255])
def test_an_entry_of_an_app_s_stream_is_found_by_its_name(names, partition, app):
    stream = names.stream_for(app)
    entry = names.entry(stream, "1795880095000-3")
    assert (names.stream_of(entry), id_of(entry), ms_of(entry)) == (stream, "1795880095000-3", 1795880095000)
    assert (names.app_of(stream), names.has(stream), partition_of(entry)) == (app, True, partition)


def test_an_entry_of_the_inlet_goes_by_its_id():
    entry = UNTAGGED.entry(STREAM, "5-1048577")
    assert (entry, UNTAGGED.stream_of(entry), id_of(entry), UNTAGGED.app_of(STREAM)) == (
        *("5-1048577", STREAM, "5-1048577"),
        None,
    )


def test_the_same_id_in_two_partitions_is_two_entries():
    entry = TAGGED.entry(TAGGED.inlet, "5-1")
    assert entry == "5-1~11" != UNTAGGED.entry(STREAM, "5-1")
    assert (TAGGED.stream_of(entry), id_of(entry), TAGGED.has(STREAM)) == (TAGGED.inlet, "5-1", False)


def test_ids_compare_as_numbers_whatever_their_size():
    ids = ["0-0", "0-1", "9-18446744073709551615", "10-0", "18446744073709551615-18446744073709551615"]
    assert sorted(set(ids), key=id_key) == ids


def test_every_place_lies_above_what_a_release_before_recorded():
    assert position("18446744073709551615-0") < FIRST_PLACE
    assert position("1795880095000-3") < position("1795880095000-4") < FIRST_PLACE
