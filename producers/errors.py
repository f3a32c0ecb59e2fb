"""The errors of publishing.

ValueError
  EventError              a document breaks the contract: correct the document
    RefusedError          the workers refuse it: correct the document, or what is configured
      SupersededError     something newer is known of the device: what was asked for is not so
Exception
  PublishError            Redis did not take it: publish again
    BackPressureError     the backlog is too long, or Redis is full: slow down
    RateLimitError        the app's rate of registrations is exceeded: try again later
    NoReplyError          it is on the stream, but no worker reported its outcome in time
"""

from collections.abc import Sequence
from datetime import datetime


class EventError(ValueError):
    """A document breaks the contract. The text is `field: rule`."""

    @property
    def field(self) -> str:
        """The path of the faulty field, such as `message.text`; `document` for the whole."""
        return str(self).partition(":")[0]


class RefusedError(EventError):
    """A worker refused the event. The text says why: an app or provider is not configured, or the token has a wrong form."""


class SupersededError(RefusedError):
    """A newer write about the device overrides this one. `at`: its time, None if it has none."""

    def __init__(self, message: str, at: datetime | None = None) -> None:
        super().__init__(message)
        self.at = at

    def __reduce__(self) -> tuple[type["SupersededError"], tuple[str, datetime | None]]:
        return type(self), (str(self), self.at)


class PublishError(Exception):
    """Redis did not confirm every event of the call.

    `accepted` holds the entry ids of the leading events that are known to be written. Later events may have been written
    too, if the answer was lost. Publish the rest again: an `id` that is there already does nothing.
    """

    def __init__(self, message: str, accepted: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.accepted = tuple(accepted)

    def __reduce__(self) -> tuple[type["PublishError"], tuple[str, tuple[str, ...]]]:
        return type(self), (str(self), self.accepted)


class BackPressureError(PublishError):
    """Nothing after `accepted` was written: the backlog is too long, or Redis has no memory left."""


class RateLimitError(PublishError):
    """The app exceeds its registration rate. Nothing was changed."""


class NoReplyError(PublishError):
    """No worker reported the outcome in time. The event is on the stream; a worker will apply or refuse it when it reads it."""
