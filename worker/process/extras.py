"""What is installed only where somebody wants it."""

from typing import TYPE_CHECKING

from config.settings import SettingsError

if TYPE_CHECKING:
    from worker.process.traces import Traces


def traces() -> "type[Traces]":
    """Raises `SettingsError` if OpenTelemetry is not installed."""
    try:
        from worker.process.traces import Traces  # noqa: PLC0415
    except ModuleNotFoundError as fault:
        raise SettingsError(
            f"CARILLON_TRACES_SAMPLE: {fault.name} is missing, install Carillon with its extra `traces`"
        ) from None
    return Traces
