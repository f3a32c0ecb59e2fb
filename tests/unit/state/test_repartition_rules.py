import pytest

from worker.state.app_of import ITEMS, KEYS, of_key
from worker.state.keys import FAMILIES
from worker.state.repartition_rules import EVERYWHERE, LEFT, SHARED, STREAMS, WHOLE, renamed


def test_every_family_of_a_partition_has_one_rule():
    of_partition = sorted(name for name, family in FAMILIES.items() if family.scope == "partition")
    assert sorted([*WHOLE, *SHARED, *EVERYWHERE, *STREAMS, *LEFT]) == of_partition


@pytest.mark.parametrize(
    ("family", "item", "value", "expected"),
    [
        pytest.param("OPEN", "5-0", "2", ("5-0~1", "2"), id="an open entry"),
        pytest.param("EXPANDING_CHANNELS", "ab@demo", "5-0", ("ab@demo", "5-0~1"), id="a channel that is expanded"),
        pytest.param("CHANNEL_LINE", "07/5-0", 0.0, ("07/5-0~1", 0.0), id="a channel's line"),
        pytest.param("SECOND_LOOKS", "0.1/5-0", "state", ("0.1/5-0~1", "state"), id="a second look"),
        pytest.param("READY_OF_APP", "5-0", None, ("5-0~1", None), id="a ready message"),
        pytest.param("READY_OF_APP", "0.1/5-0", None, ("0.1/5-0~1", None), id="a ready second look"),
        pytest.param("DUE", "e:5-0", 1.5, ("e:5-0~1", 1.5), id="a due message"),
        pytest.param("DUE", "b:5-0", 1.5, ("b:5-0", 1.5), id="a due batch keeps its id"),
        pytest.param("BADGE", "5-0", "3", ("5-0", "3"), id="what names no entry"),
    ],
)
def test_entries_get_their_new_names(family, item, value, expected):
    assert renamed(family, item, value, lambda entry: f"{entry}~1") == expected


@pytest.mark.parametrize(
    ("family", "item", "value", "expected"),
    [
        pytest.param("TURNS", "demo", "", "app demo", id="an app"),
        pytest.param("OPEN", "5-0", "1", "entry 5-0", id="an entry"),
        pytest.param("EXPANDING", "5-0", "demo\n\n7\nab", "app demo", id="a state"),
        pytest.param("EXPANDING_GROUPS", "3@demo", "7", "app demo", id="a group"),
        pytest.param("OUT_OF_TURN", "7@push.example", "", "way 7@push.example", id="a way"),
        pytest.param("DUE", "c:ab@demo", "", "app demo", id="a due channel"),
        pytest.param("DUE", "b:b1", "", "batch b1", id="a due batch"),
        pytest.param("ACCOUNTS", '["demo","e","page:0",{}]', "", "app demo", id="an account"),
        pytest.param("DIGESTS", "demo\nhan", "", "app demo", id="a digest"),
    ],
)
def test_an_item_tells_its_app(family, item, value, expected):
    assert ITEMS[family](item, value) == expected


@pytest.mark.parametrize(
    ("family", "parts", "expected"),
    [
        pytest.param("BADGE", ("demo",), "app demo", id="an app"),
        pytest.param("READY_OF_APP", ("urgent", "demo"), "app demo", id="a lane and an app"),
        pytest.param("CHANNEL_LINE", ("00ff@demo",), "app demo", id="a channel"),
        pytest.param("REMINDER", ("demo\nc\n\nhan",), "app demo", id="a reminder"),
        pytest.param("RATE", ("app:demo",), "app demo", id="an app's limit"),
        pytest.param("RATE", ("purpose:demo:news",), "app demo", id="a limit of a part of the app"),
        pytest.param("BREAKER", ("7@push.example",), "way 7@push.example", id="a way"),
        pytest.param("BATCH", ("b1",), "batch b1", id="a batch"),
        pytest.param("ONLINE", ("demo", "han"), "app demo", id="presence"),
        pytest.param("WOKEN", (), None, id="nobody's"),
    ],
)
def test_a_key_tells_its_app(family, parts, expected):
    assert of_key(family, parts) == expected


def test_a_family_belongs_as_a_whole_or_item_by_item():
    assert not KEYS.keys() & ITEMS.keys()
    assert KEYS.keys() | ITEMS.keys() <= FAMILIES.keys()
