"""Where an app's events go: their partition, and the names of that partition's keys. Touches no socket.

With one partition and no layout in Redis, the keys are `carillon:<name>`. Otherwise they are `carillon:{<tag>}:<name>`: Redis
puts all keys with one tag in the same slot, so that a script may touch all of a partition's. `docs/contract.md` has the rules
for producers in other languages, `docs/partitions-vectors.json` what they can be checked by.
"""

from binascii import crc_hqx
from collections.abc import Collection, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Final

import msgspec

from producers.events import STREAM

#: Where the layout is. Never tagged.
LAYOUT_KEY: Final = "carillon:layout"
#: The most partitions that there can be.
MOST: Final = 256
#: Octets of a tag at most.
LONGEST_TAG: Final = 64
_PREFIX: Final = "carillon:"
_EVENTS: Final = STREAM.removeprefix(_PREFIX)
_SLOTS: Final = 16_384
#: Apps whose hash is remembered.
_APPS: Final = 10_000


class LayoutError(ValueError):
    """What stands under `LAYOUT_KEY` is no layout that this release knows. The text says what to do."""


class Layout(msgspec.Struct, frozen=True):
    """The partitions of an installation. Without tags there is one partition, whose keys have no tag.

    `generation` grows with each change. A `closed` layout is about to be replaced: nothing may be published meanwhile.
    `spread`: large apps, each channel of which has a partition of its own choice; all else of them is in their home.
    """

    generation: int
    tags: tuple[str, ...] = ()
    closed: bool = False
    spread: frozenset[str] = frozenset()

    @property
    def partitions(self) -> int:
        """How many there are."""
        return len(self.tags) or 1

    def is_spread(self, app: str) -> bool:
        """Whether the app's channels are spread over the partitions."""
        return app in self.spread

    def home_of(self, app: str) -> int:
        """The partition that the app lives in; of a spread one, all of it but its channels."""
        return hash_of(app) % len(self.tags) if self.tags else 0

    def partition_of(self, app: str, channel: str | None = None) -> int:
        """The partition of a channel of the app, or with None its home. Only a spread app's channels have another one."""
        if channel is None or app not in self.spread:
            return self.home_of(app)
        return hash_of(app, channel) % len(self.tags)

    def prefix(self, partition: int) -> str:
        """What the partition's keys begin with."""
        return f"{_PREFIX}{{{self.tags[partition]}}}:" if self.tags else _PREFIX

    def stream(self, app: str, own: bool = False, *, channel: str | None = None) -> str:
        """The stream that events of the app about the channel are put on, or with None its other events.

        It is that of their partition, or the app's `own` there. A spread app's are always put on its own.
        """
        inlet = self.prefix(self.partition_of(app, channel)) + _EVENTS if self.tags else STREAM
        return f"{inlet}:{app}" if own or app in self.spread else inlet

    def pressure(self, app: str, channel: str | None = None) -> str:
        """The hash that says how much waits in the partition of the channel, or with None in that of the app."""
        return self.prefix(self.partition_of(app, channel)) + "pressure"

    def shown(self, app: str, channel: str | None = None) -> str:
        """The sorted set of the notifications of the app that may be shown, those of this channel among them."""
        return f"{self.prefix(self.partition_of(app, channel))}shown:{app}"


#: The layout where none stands in Redis.
UNTAGGED: Final = Layout(generation=1)


@lru_cache(_APPS)
def hash_of(app: str, channel: str | None = None) -> int:
    """The first four octets of SHA-256 of the app's UTF-8, as a number; of a channel: of both, with a zero octet in between.

    Bytes as published: no Unicode normalisation.
    """
    hashed = app if channel is None else f"{app}\0{channel}"
    return int.from_bytes(sha256(hashed.encode()).digest()[:4])


def slot_of(tag: str) -> int:
    """The hash slot of keys with this tag, from 0 to 16,383."""
    return crc_hqx(tag.encode(), 0) % _SLOTS


@lru_cache(32)
def tags(partitions: int, generation: int = 2) -> tuple[str, ...]:
    """A tag for each partition, searched so that partition p of n lies in the middle half of the p-th of n equal ranges of slots.

    So any number of servers with equal ranges gets an equal share, where it divides n. Each generation has tags of its own:
    no key of an earlier one is ever used again.
    """
    check_partitions(partitions)
    found = []
    for p in range(partitions):
        first, end = p * _SLOTS // partitions, (p + 1) * _SLOTS // partitions
        edge, n = (end - first) // 4, 0
        while not first + edge <= slot_of(tag := f"p{p}g{generation}.{n}") < end - edge:
            n += 1
        found.append(tag)
    return tuple(found)


def check_partitions(partitions: int) -> None:
    """Raises `LayoutError` where there cannot be so many."""
    if not 1 <= partitions <= MOST:
        raise LayoutError(f"partitions: expected a whole number from 1 to {MOST}")


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    generation: int
    partitions: int
    tags: list[str]
    closed: bool = False
    spread: list[str] = []


_decode: Final = msgspec.json.Decoder(_Document).decode


def parsed(value: bytes | None) -> Layout:
    """The layout that stands under `LAYOUT_KEY`; None: nothing does. Raises `LayoutError`."""
    if value is None:
        return UNTAGGED
    try:
        found = _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        # A field that is not known may change where events go.
        raise LayoutError(f"{LAYOUT_KEY}: {fault}; if a newer release wrote it, update the producers") from None
    _check(found.generation, found.partitions, found.tags, found.spread)
    return Layout(found.generation, tuple(found.tags), found.closed, frozenset(found.spread))


def encoded(layout: Layout) -> bytes:
    """The value of `LAYOUT_KEY` for a layout. Raises `LayoutError` for one that cannot be."""
    _check(layout.generation, layout.partitions, layout.tags, layout.spread)
    document = _Document(layout.generation, layout.partitions, list(layout.tags), layout.closed, sorted(layout.spread))
    plain = msgspec.to_builtins(document)
    # Without spread apps it is what a release before 0.8 reads.
    for name in ("closed", "spread"):
        if not plain[name]:
            del plain[name]
    return msgspec.json.encode(plain)


def _check(generation: int, partitions: int, tags: Sequence[str], spread: Collection[str]) -> None:
    if generation < 1:
        raise LayoutError(f"{LAYOUT_KEY}: generation: expected 1 or more")
    check_partitions(partitions)
    if len(tags) != partitions and (tags or partitions != 1):
        raise LayoutError(f"{LAYOUT_KEY}: tags: {len(tags)}, but there are {partitions} partitions")
    if len(set(tags)) != len(tags):
        raise LayoutError(f"{LAYOUT_KEY}: tags: each partition needs one of its own")
    for tag in tags:
        if not 1 <= len(tag.encode()) <= LONGEST_TAG or any(not "!" <= c <= "~" or c in "{}:" for c in tag):
            raise LayoutError(
                f"{LAYOUT_KEY}: tags: each is 1 to {LONGEST_TAG} printable ASCII characters, without braces and colons"
            )
    if spread and partitions == 1:
        raise LayoutError(f"{LAYOUT_KEY}: spread: with one partition there is nothing to spread an app over")
    if "" in spread:
        raise LayoutError(f"{LAYOUT_KEY}: spread: no app has an empty name")
