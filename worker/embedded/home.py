"""The layout of a data directory and the few facts kept there. Owns names and formats, no behaviour of an engine."""

import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self


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
        """Make the directories. What is private has modes of its own; root lets `nobody` pass to the database below."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700 if os.geteuid() else 0o711)
        for directory in (self.pids, self.postgres, self.valkey):
            directory.mkdir(exist_ok=True, mode=0o711 if directory == self.postgres else 0o700)
        ignore = self.root / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")

    @property
    def users_lock(self) -> Path:
        return self.root / "users.lock"

    @property
    def start_lock(self) -> Path:
        return self.root / "start.lock"

    @property
    def keeper_lock(self) -> Path:
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
        """Where the running engines are, or None."""
        try:
            return Urls(**json.loads(self._urls_file.read_text()))
        except FileNotFoundError:
            return None

    def publish(self, urls: Urls) -> None:
        """Tell every command where the engines are."""
        write_private(self._urls_file, json.dumps(asdict(urls)))

    def withdraw(self) -> None:
        """Tell every command that there are none."""
        self._urls_file.unlink(missing_ok=True)


def write_private(file: Path, text: str) -> None:
    """Replace a file at once with one that only its owner reads."""
    draft = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
    draft.replace(file)
