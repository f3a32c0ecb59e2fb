"""The layout of a data directory and the few facts kept there. Owns names and formats, no behaviour of an engine."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Self

from config.private import check_directory, make_directory, read_private, write_private

#: Said where the engines' wheels are missing.
INSTALL: Final = "run pip install ./producers '.[embedded]' in Carillon's source tree"


@dataclass(frozen=True)
class Urls:
    """Where Redis and Postgres are. `repr` shows neither, for they hold passwords."""

    redis: str = field(repr=False)
    postgres: str = field(repr=False)


@dataclass(frozen=True)
class Home:
    """The paths of the engines in one data directory."""

    root: Path

    @classmethod
    def at(cls, data_dir: Path) -> Self:
        """The home in `data_dir`, independent of the working directory from here on."""
        return cls(Path(os.path.abspath(data_dir)))

    def create(self) -> None:
        """Make the directories. What is private has modes of its own; root lets `nobody` pass to the database below.

        Raises `SettingsError` where one of them is somebody else's or others may write there.
        """
        make_directory(self.root, 0o700 if os.geteuid() else 0o711)
        check_directory(self.root)
        for directory in (self.pids, self.postgres, self.valkey):
            make_directory(directory, 0o711 if directory == self.postgres else 0o700)
            check_directory(directory)
        ignore = self.root / ".gitignore"
        if not ignore.exists():
            write_private(ignore, "*\n")

    @property
    def users_lock(self) -> Path:
        return self.root / "users.lock"

    @property
    def start_lock(self) -> Path:
        return self.root / "start.lock"

    @property
    def supervisor_lock(self) -> Path:
        return self.root / "keeper.lock"

    @property
    def log(self) -> Path:
        return self.root / "engines.log"

    @property
    def pids(self) -> Path:
        return self.root / "pids"

    @property
    def postgres(self) -> Path:
        return self.root / "postgres"

    @property
    def valkey(self) -> Path:
        return self.root / "valkey"

    @property
    def _urls_file(self) -> Path:
        return self.root / "engines.json"

    def urls(self) -> Urls | None:
        """Where the running engines are, or None. Raises `SettingsError` where somebody else may have written it."""
        try:
            return Urls(**json.loads(read_private(self._urls_file)))
        except FileNotFoundError:
            return None

    def publish(self, urls: Urls) -> None:
        """Tell every command where the engines are."""
        write_private(self._urls_file, json.dumps(asdict(urls)))

    def withdraw(self) -> None:
        """Tell every command that there are none."""
        self._urls_file.unlink(missing_ok=True)
