"""What an APNs simulator is."""

from typing import Literal

from worker.simulator.apns.provider_token import Key
from worker.simulator.settings import CommonSettings


class Settings(CommonSettings, frozen=True, kw_only=True, tag="apns"):
    """What is Apple's beside `CommonSettings`."""

    environment: Literal["production", "sandbox"] = "production"
    #: Keys whose tokens are valid; empty: any well-formed token is.
    keys: tuple[Key, ...] = ()
    #: Bundle ids; empty: any.
    topics: tuple[str, ...] = ()
    #: Streams at once, from the first valid provider token on; until then `first_streams`.
    max_streams: int = 1000
    first_streams: int = 1
    #: Refused device tokens in a row after which a connection is closed; None: never.
    bad_tokens: int | None = 100
    #: Whether apps have the capability for broadcast channels, and how many channels each may have.
    broadcasts: bool = True
    max_channels: int = 10_000
