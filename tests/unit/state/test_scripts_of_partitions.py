"""Each partition has the same scripts, with its own beginnings of keys in them."""

import pytest

from worker.state import scripts
from worker.state.keys import FAMILIES, PREFIX

TAG = "carillon:{p3.0}:"


@pytest.mark.parametrize("name", scripts.names())
def test_the_scripts_of_two_partitions_differ_in_prefix_and_mark_alone(name: str) -> None:
    plain, tagged = scripts.source(name).text, scripts.source(name, TAG, "~3").text
    assert tagged.replace(TAG, PREFIX).replace("local MARK = '~3'", "local MARK = ''") == plain
    assert plain.count(PREFIX) == tagged.count(TAG)


def test_a_script_has_no_key_in_its_text_but_through_a_family() -> None:
    for name in scripts.names():
        body = scripts.source(name, "<prefix>").text
        assert PREFIX not in body, name


def test_a_script_cannot_name_what_is_of_no_partition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILIES, "OPEN", FAMILIES["WORKERS"])
    with pytest.raises(ValueError, match="its partition, not OPEN"):
        scripts.source("open", "carillon:{p9.9}:")
