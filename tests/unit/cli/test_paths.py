"""Paths as people drag them into a terminal."""

from pathlib import Path

import pytest

from worker.cli._paths import given_path


@pytest.mark.parametrize(
    "written",
    [
        "{}",
        "'{}'",
        '"{}"',
        " '{}' ",
        "{escaped}",
        "{escaped} ",
        "file://{url}",
        "'file://{url}'",
        "~/My Keys/AuthKey_ä.p8",
        "'~/My Keys/AuthKey_ä.p8'",
    ],
)
def test_what_a_file_manager_makes_of_a_path(written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "My Keys" / "AuthKey_ä.p8"
    file.parent.mkdir()
    file.write_text("")
    escaped = str(file).replace(" ", "\\ ")
    url = str(file).replace(" ", "%20").replace("ä", "%C3%A4")
    assert given_path(written.format(file, escaped=escaped, url=url)) == file


def test_what_exists_as_it_is_written_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("'quoted'", "a\\ b", "it's"):
        Path(name).write_text("")
        assert given_path(name) == Path(name)


@pytest.mark.parametrize("written", ["", "it's not there", "~nobody-at-all/x", "x" * 5000, "a\0b", "file://[x"])
def test_anything_is_a_path_and_none_a_fault(written: str) -> None:
    assert isinstance(given_path(written), Path)
