"""A way: what a fault of scope `origin` is about. It is a provider, or one origin of a provider that has several.

Origins are hosts, or whatever else a kind tells apart: `[a-z0-9.-]`, at a simulator with `:<port>`. In Redis a way is
`<provider>` or `<provider>@<origin>`. What is wrong with the way without an origin is wrong with the whole provider.
"""

from typing import Final, NewType

#: A way as the keys in Redis name it.
Way = NewType("Way", str)

#: Origins of one provider that have a way of their own. Those beyond them share one.
MOST_ORIGINS: Final = 256
#: What these share. No host has such a name.
OTHER: Final = "other"


def way_of(provider: int, origin: str = "") -> Way:
    return Way(f"{provider}@{origin}" if origin else str(provider))


def provider_in(way: str) -> int:
    return int(way.partition("@")[0])


def origin_in(way: str) -> str:
    """Empty where the way is the whole provider."""
    return way.partition("@")[2]
