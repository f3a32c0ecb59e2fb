"""A simulator in a thread of this process, for tests and demos whose own code is synchronous."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from worker.simulator import faults
from worker.simulator.script import Answer, Script
from worker.simulator.sealed import DeviceKeys, Opened
from worker.simulator.settings import CommonSettings
from worker.simulator.simulator import Simulator

#: Seconds within which the loop of a simulator must answer a call.
PATIENCE: Final = 10.0

T = TypeVar("T")


class SimulatorThread:
    """Runs a `Simulator` on its own event loop. All methods may be called from any thread."""

    def __init__(self, settings: CommonSettings | None = None) -> None:
        self._simulator = Simulator(settings)
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="simulator", daemon=True)

    def start(self) -> None:
        """Start and wait until it listens. Raises what its start raised."""
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Stop and wait for the thread's end."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(PATIENCE)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(self._main())
        except BaseException as error:  # noqa: BLE001 - handed to the thread that started this one
            self._error = error
            self._ready.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        async with self._simulator:
            self._ready.set()
            await self._stopping.wait()

    def _call(self, act: Callable[[], T]) -> T:
        async def run() -> T:
            return act()

        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(PATIENCE)

    @property
    def host(self) -> str:
        """The address it listens on."""
        return self._simulator.host

    @property
    def port(self) -> int:
        """The port of APNs."""
        return self._simulator.port

    @property
    def control_port(self) -> int | None:
        """The port of the control."""
        return self._simulator.control_port

    @property
    def control_token(self) -> str:
        """The token that a control request needs."""
        return self._simulator.control_token

    @property
    def ca_pem(self) -> str:
        """The CA to trust, in PEM."""
        return self._simulator.ca_pem

    @property
    def ca_path(self) -> Path:
        """The file of `ca_pem`."""
        return self._simulator.ca_path

    @property
    def accepted(self) -> list[Any]:
        """The accepted notifications."""
        return self._call(lambda: self._simulator.accepted) if self._thread.is_alive() else self._simulator.accepted

    def opened(self, keys: Mapping[str, DeviceKeys]) -> list[Opened]:
        """What apps with these keys, by device token, find in the sealed notifications that were accepted."""
        return self._call(lambda: self._simulator.opened(keys))

    @property
    def refused(self) -> list[Any]:
        """All other requests."""
        record = self._simulator.record
        return self._call(lambda: record.refused) if self._thread.is_alive() else record.refused

    @property
    def counts(self) -> dict[str, object]:
        """Totals."""
        return self._call(lambda: self._simulator.counts) if self._thread.is_alive() else self._simulator.counts

    def set_script(self, script: Script) -> None:
        """Replace the script."""
        self._call(lambda: self._simulator.set_script(script))

    def set_tokens(self, tokens: Mapping[str, Answer]) -> None:
        """Add answers for single device tokens."""
        self._call(lambda: self._simulator.set_tokens(tokens))

    def inflict(self, fault: faults.Fault, connection: int | None = None) -> int:
        """Carry out a fault now. Returns on how many connections."""
        return self._call(lambda: self._simulator.inflict(fault, connection))

    def reset(self) -> None:
        """Forget the record and every script but the first."""
        self._call(self._simulator.reset)

    def wait_accepted(self, count: int, seconds: float = PATIENCE) -> None:
        """Return once so many notifications were accepted. Raises TimeoutError."""
        assert self._loop is not None
        waiting = self._simulator.wait_accepted(count, seconds)
        asyncio.run_coroutine_threadsafe(waiting, self._loop).result(seconds + 1)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A loop of uvloop, if it is installed."""
    try:
        import uvloop  # noqa: PLC0415 - not everywhere there is one
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
