"""Publishes what a running product knows of devices, members and mutes, line by line, and remembers how far it came."""

import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import msgspec

from producers.documents import document
from producers.errors import BackPressureError, EventError
from producers.events import MAX_DOCUMENT, DeviceRegistered, accepted, decode
from producers.members import PAGE
from producers.publisher import Publisher
from worker.core.model import AppSettings
from worker.core.truncation import json_size

#: What a line may be.
KINDS: Final = (
    *("device.registered", "member.added", "members.replaced", "channel.updated", "user.muted"),
    *("preferences.updated", "quiet.updated"),
)
#: Bytes of the longest line that is read whole: a list of members may be longer than one event may be.
_LONGEST: Final = 64 * 1024 * 1024
#: Bytes for the users of one event, and between two of them.
_ROOM, _BETWEEN = MAX_DOCUMENT - 8 * 1024, 3
#: Lines that are published at once; after each the place is remembered.
_LINES: Final = 500
#: Bytes of the file that tell it from another one.
_HEAD: Final = 64 * 1024
#: The part of an app's registration rate that an import takes, and of what may come at once. The rest is for people who log in.
_SHARE, _SHARE_AT_ONCE = 0.8, 0.5
#: Reasons that are counted apart, and characters of one.
_REASONS, _REASON = 50, 200
#: Seconds between two tries where too much waits already.
_PAUSE: Final = 1.0


class State(msgspec.Struct):
    """How far an import came. Kept beside the file as JSON."""

    app: str
    #: Identifies the file: its size in bytes, and a hash of its beginning.
    size: int
    digest: str
    #: The time of every line that brings none.
    at: datetime
    line: int = 0
    offset: int = 0
    published: dict[str, int] = {}
    refused: int = 0
    #: Why, with how many lines each; the most frequent ones that came first.
    reasons: dict[str, int] = {}
    #: Bytes of the list of refused lines.
    refused_bytes: int = 0
    done: bool = False
    #: The last entry that was published.
    entry: str = ""

    @property
    def id(self) -> str:
        """What the ids of its events begin with."""
        return f"import-{self.digest[:12]}-"


class Files(NamedTuple):
    """The import's file, and the files next to it."""

    lines: Path
    state: Path
    refused: Path

    @classmethod
    def beside(cls, lines: Path) -> "Files":
        return cls(lines, lines.with_name(f"{lines.name}.import"), lines.with_name(f"{lines.name}.refused"))


def fingerprint(lines: Path) -> tuple[int, str]:
    with lines.open("rb") as file:
        return os.fstat(file.fileno()).st_size, hashlib.sha256(file.read(_HEAD)).hexdigest()


def read_state(files: Files) -> State | None:
    """Raises `OSError`, or `ValueError` for a file that is no state."""
    try:
        return msgspec.json.decode(files.state.read_bytes(), type=State)
    except FileNotFoundError:
        return None


def write_state(files: Files, state: State) -> None:
    new = files.state.with_name(f"{files.state.name}.new")
    new.write_bytes(msgspec.json.encode(state))
    new.replace(files.state)


class Pace:
    """How fast devices may go, so that an app's registration rate leaves room for people who log in."""

    def __init__(self, app: AppSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = None if app.registration_rate is None else app.registration_rate * _SHARE
        self._left, self._clock = app.registration_burst * _SHARE_AT_ONCE, clock
        self._most, self._looked = self._left, clock()

    def wait_for(self, devices: int) -> float:
        """Seconds to wait after so many were published."""
        if self.rate is None:
            return 0.0
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._looked) * self.rate) - devices
        self._looked = now
        return max(0.0, -self._left / self.rate)


class Importer:
    """`check` raises `EventError` for a device that workers would refuse; `progress` is called after each piece.

    `provider` is that of devices that name none.
    """

    def __init__(
        self,
        files: Files,
        state: State,
        publisher: Publisher,
        pace: Pace,
        *,
        check: Callable[[DeviceRegistered, bytes], object],
        provider: str | None = None,
        progress: Callable[[State], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._files, self._state, self._publisher, self._pace = files, state, publisher, pace
        self._check, self._provider, self._progress, self._sleep = check, provider, progress, sleep

    def run(self) -> None:
        """Publishes the rest. Raises `PublishError`; the position so far is kept."""
        state = self._state
        mode = "r+b" if self._files.refused.exists() else "w+b"
        with self._files.lines.open("rb") as lines, self._files.refused.open(mode) as refused:
            lines.seek(state.offset)
            # Notes behind the kept position are written again.
            refused.truncate(state.refused_bytes)
            refused.seek(state.refused_bytes)
            for some in _pieces(lines, state):
                self._publish(some, refused)
                state.offset, state.refused_bytes = lines.tell(), refused.tell()
                write_state(self._files, state)
                self._progress(state)
        state.done = True
        write_state(self._files, state)
        if not state.refused:
            self._files.refused.unlink(missing_ok=True)

    def _publish(self, lines: list[tuple[int, bytes]], refused: IO[bytes]) -> None:
        good, kinds = [], Counter(self._state.published)
        faults = []
        for number, line in lines:
            self._state.line = number
            try:
                events, kind = self._read(number, line)
            except EventError as fault:
                faults.append({"line": number, "error": str(fault)})
            else:
                good += events
                kinds[kind] += 1
        devices = kinds["device.registered"] - self._state.published.get("device.registered", 0)
        entries = self._written(good)
        for one in faults:
            refused.write(msgspec.json.encode(one) + b"\n")
        refused.flush()
        self._state.refused += len(faults)
        for one in faults:
            self._count(str(one["error"])[:_REASON])
        self._state.published = dict(+kinds)
        self._state.entry = entries[-1] if entries else self._state.entry
        if (seconds := self._pace.wait_for(devices)) > 0.0:
            self._sleep(seconds)

    def _count(self, reason: str) -> None:
        reasons = self._state.reasons
        if reason in reasons or len(reasons) < _REASONS:
            reasons[reason] = reasons.get(reason, 0) + 1

    def _written(self, good: list[bytes]) -> list[str]:
        while True:
            try:
                return self._publisher.publish_many(good)
            except BackPressureError:
                # The workers have to catch up first. Lines may be published again.
                self._sleep(_PAUSE)

    def _read(self, number: int, line: bytes) -> tuple[list[bytes], str]:
        """The line's events: one, or the pages of a long list of users."""
        if len(line) > _LONGEST:
            raise EventError(f"document: more than {_LONGEST:,} bytes")
        try:
            value = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            decode(line)  # which has words for it
            raise
        if not isinstance(value, dict):
            raise EventError("document: expected an object")
        kind = value.get("type")
        if kind not in KINDS:
            raise EventError(f"type: expected one of {', '.join(KINDS)}")
        state = self._state
        event = {"v": 1, "id": f"{state.id}{number}", "app": state.app, "at": state.at} | value
        if (
            kind == "device.registered"
            and self._provider is not None
            and isinstance(device := value.get("device"), dict)
        ):
            event["device"] = {"provider": self._provider} | device
        if event["app"] != state.app:
            raise EventError(f"app: this is an import of app {state.app!r}")
        events = [document(page) for page in _pages(event)]
        if isinstance(found := accepted(events[0]), DeviceRegistered):
            self._check(found, events[0])
        return events, kind


def _pages(event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The event, or several that say the same of a part of its users each, where they are too many for one."""
    users = event.get("users")
    if not isinstance(users, list) or not users or not all(isinstance(user, str) for user in users):
        yield event  # the contract says what is wrong with it
        return
    ordered = sorted(set(users))
    page = max(1, min(PAGE, _ROOM // max(json_size(user) + _BETWEEN for user in ordered)))
    if len(ordered) <= page:
        yield event
        return
    for number, start in enumerate(range(0, len(ordered), page)):
        some = ordered[start : start + page]
        one = event | {"id": f"{event['id']}:{number}", "users": some}
        if event["type"] == "members.replaced":
            one["after"] = ordered[start - 1] if start else event.get("after")
            one["through"] = some[-1] if start + page < len(ordered) else event.get("through")
        yield one


def _pieces(lines: IO[bytes], state: State) -> Iterator[list[tuple[int, bytes]]]:
    """Lines that are not blank with their numbers, some at a time, each at most a little longer than the longest may be."""
    number, some, size = state.line, [], 0
    while line := lines.readline(_LONGEST + 2):
        number += 1
        while not line.endswith(b"\n") and (rest := lines.readline(MAX_DOCUMENT)):
            line = line[: _LONGEST + 1] + rest[-1:]
        text = line.strip().removeprefix(b"\xef\xbb\xbf")
        if text:
            some.append((number, text))
            size += len(text)
        if len(some) >= _LINES or size >= MAX_DOCUMENT:
            yield some
            some, size = [], 0
    if some:
        yield some
