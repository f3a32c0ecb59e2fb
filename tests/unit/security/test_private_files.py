"""Keys and passwords lie where nobody else can put, read or change them; the umask of whoever starts us decides nothing."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.private import check_directory, check_file, make_directory, read_private, write_private, write_private_once
from config.secrets import FILE, generate_key, secret_keys
from config.settings import SettingsError, load
from worker.embedded import running
from worker.embedded.home import Home, Urls

NOBODY = 65534


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("open_to", [0o720, 0o702, 0o777])
def test_a_directory_that_others_may_write_is_refused_with_what_to_run(tmp_path: Path, open_to: int) -> None:
    (data := tmp_path / "data").mkdir()
    data.chmod(open_to)
    with pytest.raises(SettingsError, match=f"chmod go-w {data}"):
        check_directory(data)
    with pytest.raises(SettingsError, match="chmod"):
        secret_keys(load({"CARILLON_DATA_DIR": str(data)}))
    with pytest.raises(SettingsError, match="chmod"):
        Home.at(data).create()
    with pytest.raises(SettingsError, match="chmod"):
        running(data)
    assert list(data.iterdir()) == []


def test_a_key_that_somebody_planted_is_not_used(tmp_path: Path) -> None:
    (data := tmp_path / "data").mkdir(mode=0o700)
    (data / FILE).write_text(generate_key())
    (data / FILE).chmod(0o644)
    with pytest.raises(SettingsError, match=f"chmod 600 {data / FILE}"):
        secret_keys(load({"CARILLON_DATA_DIR": str(data)}))
    (data / FILE).chmod(0o600)
    assert len(secret_keys(load({"CARILLON_DATA_DIR": str(data)}))) == 1


def test_addresses_of_engines_that_somebody_wrote_are_not_believed(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "data")
    home.create()
    home.publish(Urls("redis://here", "postgresql://here"))
    assert home.urls() == Urls("redis://here", "postgresql://here")
    (home.root / "engines.json").chmod(0o666)
    with pytest.raises(SettingsError, match="chmod 600"):
        home.urls()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_belongs_to_another_user_is_refused_by_name(tmp_path: Path) -> None:
    (data := tmp_path / "data").mkdir(mode=0o700)
    (file := data / FILE).write_text(generate_key())
    file.chmod(0o600)
    os.chown(file, NOBODY, NOBODY)
    with pytest.raises(SettingsError, match="belongs to nobody, not to root"):
        check_file(file)
    os.chown(data, NOBODY, NOBODY)
    with pytest.raises(SettingsError, match="CARILLON_DATA_DIR of your own"):
        check_directory(data)


def test_a_link_to_a_file_elsewhere_is_no_key_file(tmp_path: Path) -> None:
    write_private(tmp_path / "elsewhere", "x")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SettingsError, match="no regular file"):
        read_private(tmp_path / "link")


@pytest.mark.usefixtures("no_umask")
def test_modes_are_what_they_are_meant_to_be_without_a_umask(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "new" / "data")
    home.create()
    secret_keys(load({"CARILLON_DATA_DIR": str(home.root)}))
    home.publish(Urls("r", "p"))
    files = [path for path in home.root.rglob("*") if path.is_file()]
    assert len(files) == 3
    assert {mode(path) for path in files} == {0o600}
    assert not [path for path in (tmp_path / "new", *home.root.rglob("*")) if mode(path) & 0o022]
    assert mode(home.root) == (0o711 if os.geteuid() == 0 else 0o700)


@pytest.mark.usefixtures("no_umask")
def test_of_two_who_write_a_key_at_once_both_read_the_first(tmp_path: Path) -> None:
    write_private_once(tmp_path / "key", "first")
    write_private_once(tmp_path / "key", "second")
    assert read_private(tmp_path / "key") == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_directory_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir(mode=0o750)
    make_directory(tmp_path / "there", 0o700)
    assert mode(tmp_path / "there") == 0o750
