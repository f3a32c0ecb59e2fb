"""Hides task arguments from Flower, `celery inspect` and logs: they may be a chat server's events."""

from typing import Any

from celery.worker.request import Request

from config.celeryconfig import LANES


class QuietRequest(Request):  # type: ignore[misc]  # Celery has no types
    """Replaces the sender's printed form of the arguments when a message is received."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        positional, named = described(self._request_dict.get("args"), self._request_dict.get("kwargs"))
        self._argsrepr = self._request_dict["argsrepr"] = positional
        self._kwargsrepr = self._request_dict["kwargsrepr"] = named

    def info(self, safe: bool = False) -> Any:
        """For `celery inspect`."""
        return super().info(safe=True)


def described(args: Any, kwargs: Any) -> tuple[str, str]:
    """What may be shown of a task's arguments: the lane, and how many events."""
    positional = "()" if not args else f"({len(args)} hidden)" if isinstance(args, list | tuple) else "(hidden)"
    if not isinstance(kwargs, dict):
        return positional, "{}" if not kwargs else "{hidden}"
    return positional, "{" + ", ".join(
        f"{name!r}: {_value(value)}" for name, value in kwargs.items() if _is_ours(name)
    ) + "}"


def _is_ours(name: object) -> bool:
    return name in ("lane", "events", "key")


def _value(value: object) -> str:
    if isinstance(value, str) and value in LANES:
        return repr(value)
    return f"{len(value)} hidden" if isinstance(value, list | tuple | dict) else "hidden"
