"""A way: what a fault of scope `origin` is about. It is a provider, or one origin of a provider that has several.

Origins are hosts, or whatever else a kind tells apart: `[a-z0-9.-]`, at a simulator with `:<port>`. What is wrong with the way
without an origin is wrong with the whole provider.
"""

from typing import Final

#: A provider's id, or `<id>@<origin>`. Redis has the same text.
Way = int | str

#: Origins of one provider that have a way of their own. Those beyond them share one.
MOST_ORIGINS: Final = 256
#: What these share. No host has such a name.
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
