"""The layout of a data directory: names and formats of its files. Knows no engine's behaviour."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Self

from config.private import check_directory, make_directory, read_private, write_private

#: The advice when the engines' wheels are missing.
INSTALL: Final = "run pip install ./producers '.[embedded]' in Carillon's source tree"


@dataclass(frozen=True)
class Urls:
    """The URLs of Redis and Postgres. `repr` shows neither, because they hold passwords."""

    redis: str = field(repr=False)
    postgres: str = field(repr=False)


@dataclass(frozen=True)
class Home:
    """The paths of the engines in one data directory."""

    root: Path

    @classmethod
    def at(cls, data_dir: Path) -> Self:
        """The home in `data_dir`. A later change of the working directory does not matter."""
        return cls(Path(os.path.abspath(data_dir)))

    def create(self) -> None:
        """Makes the directories, with private modes. As root it lets the user `nobody` pass through to the database.

        Raises `SettingsError` if another user owns one of them or may write to it.
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
        """The URLs of the running engines, or None. Raises `SettingsError` if another user may have written the file."""
        try:
            return Urls(**json.loads(read_private(self._urls_file)))
        except FileNotFoundError:
            return None

    def publish(self, urls: Urls) -> None:
        """Writes the engines' URLs for all commands."""
        write_private(self._urls_file, json.dumps(asdict(urls)))

    def withdraw(self) -> None:
        """Removes the URLs: no engines run."""
        self._urls_file.unlink(missing_ok=True)
