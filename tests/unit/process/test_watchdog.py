"""Signs for systemd: as long as this process works, to the socket that it names."""

import socket
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from worker.process import watchdog


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "notify"))
        server.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "30000")
        yield server


def test_it_gives_signs_until_something_has_a_fault(systemd, monkeypatch) -> None:
    looked, fault = threading.Semaphore(0), None

    def ask() -> str | None:
        looked.release()
        return fault

    monkeypatch.setattr(watchdog, "alive", {"part": ask})
    watchdog.start()
    assert [systemd.recv(64) for _ in range(2)] == [b"WATCHDOG=1"] * 2
    fault = "has ended"

    def looks(n: int) -> None:
        assert all(looked.acquire(timeout=5) for _ in range(n))

    while looked.acquire(blocking=False):
        pass
    looks(2)  # the sign of a look before the fault may be on its way
    systemd.setblocking(False)
    with suppress(BlockingIOError):
        while systemd.recv(64):
            pass
    looks(3)
    with pytest.raises(BlockingIOError):
        systemd.recv(64)


@pytest.mark.parametrize(
    ("name", "value"), [("NOTIFY_SOCKET", ""), ("WATCHDOG_USEC", ""), ("WATCHDOG_USEC", "x"), ("WATCHDOG_PID", "1")]
)
def test_it_does_nothing_where_nobody_asked_this_process(systemd, monkeypatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    before = threading.active_count()
    watchdog.start()
    assert threading.active_count() == before
