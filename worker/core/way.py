"""A way is a provider, or one origin of a provider that has several. A fault of scope `origin` is about a way.

An origin is a host, or another part of a provider that can fail alone: `[a-z0-9.-]`, at a simulator with `:<port>`. A fault of
the way without an origin is a fault of the whole provider.
"""

from typing import Final

#: A provider's id, or `<id>@<origin>`. Redis has the same text.
Way = int | str

#: How many origins of one provider have their own way. Further ones share one.
MOST_ORIGINS: Final = 256
#: The origin that further ones share. No host has this name.
OTHER: Final = "other"


def way_of(provider: int, origin: str = "") -> Way:
    return f"{provider}@{origin}" if origin else provider


def way_in(text: bytes) -> Way:
    """A way as Redis has it."""
    return int(text) if text.isdigit() else text.decode()


def provider_in(way: Way) -> int:
    return way if isinstance(way, int) else int(way.partition("@")[0])


def origin_in(way: Way) -> str:
    """Empty where the way is the whole provider."""
    return str(way).partition("@")[2]
