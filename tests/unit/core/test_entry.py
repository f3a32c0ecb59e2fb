"""Names of entries: the inlet's are their ids, an app's carry its name, whatever is in it."""

import pytest

from producers.events import STREAM
from worker.core.entry import app_of, entry_name, id_key, id_of, ms_of, stream_for, stream_of
from worker.core.position import FIRST_PLACE, position


@pytest.mark.parametrize("app", ["demo", "a@b", "a,b", "店", "x" * 255])
def test_an_entry_of_an_app_s_stream_is_found_by_its_name(app):
    stream = stream_for(app)
    entry = entry_name(stream, "1795880095000-3")
    assert (stream_of(entry), id_of(entry), ms_of(entry), app_of(stream)) == (
        stream,
        "1795880095000-3",
        1795880095000,
        app,
    )


def test_an_entry_of_the_inlet_goes_by_its_id():
    entry = entry_name(STREAM, "5-1048577")
    assert (entry, stream_of(entry), id_of(entry), app_of(STREAM)) == ("5-1048577", STREAM, "5-1048577", None)


def test_ids_compare_as_numbers_whatever_their_size():
    ids = ["0-0", "0-1", "9-18446744073709551615", "10-0", "18446744073709551615-18446744073709551615"]
    assert sorted(set(ids), key=id_key) == ids


def test_every_place_lies_above_what_a_release_before_recorded():
    assert position("18446744073709551615-0") < FIRST_PLACE
    assert position("1795880095000-3") < position("1795880095000-4") < FIRST_PLACE
