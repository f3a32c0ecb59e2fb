"""Hides task arguments from Flower, `celery inspect` and logs: they may be a chat server's events."""

from typing import Any, Final

from celery.worker.request import Request

from config.celeryconfig import LANES

#: What running tasks work on, by their ids, on its way to Flower.
_arguments: Final[dict[str, str]] = {}


def show_arguments(task_id: str | None, text: str) -> None:
    """What Flower is to show as the positional arguments of a task of ours, which has none, once it ends."""
    if task_id is not None:
        _arguments[task_id] = text


def arguments_of(task_id: str) -> str | None:
    """What Flower is to show of it, once."""
    text = _arguments.pop(task_id, None)
    return None if text is None else f"({text})"


class QuietRequest(Request):  # type: ignore[misc]  # Celery has no types
    """Replaces the sender's printed form of the arguments when a message is received."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        positional, named = described(self._request_dict.get("args"), self._request_dict.get("kwargs"))
        self._argsrepr = self._request_dict["argsrepr"] = positional
        self._kwargsrepr = self._request_dict["kwargsrepr"] = named

    def send_event(self, type: str, **fields: Any) -> None:  # noqa: A002 - Celery's name
        """A wake-up does not say what it is about: only its end does."""
        if (text := arguments_of(self.id)) is not None:
            fields["args"] = text
        super().send_event(type, **fields)

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
    return name in ("lane", "events", "key", "partition")


def _value(value: object) -> str:
    if isinstance(value, str) and value in LANES:
        return repr(value)
    if type(value) is int:
        return str(value)
    return f"{len(value)} hidden" if isinstance(value, list | tuple | dict) else "hidden"
