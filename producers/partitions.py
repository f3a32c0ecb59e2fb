"""Where an app's events go: its partition, and the names of that partition's keys. Touches no socket.

With one partition and no layout in Redis, the keys are `carillon:<name>`. Otherwise they are `carillon:{<tag>}:<name>`: Redis
puts all keys with one tag in the same slot, so that a script may touch all of a partition's. `docs/contract.md` has the rules
for producers in other languages, `docs/partitions-vectors.json` what they can be checked by.
"""

from binascii import crc_hqx
from collections.abc import Sequence
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
    """

    generation: int
    tags: tuple[str, ...] = ()
    closed: bool = False

    @property
    def partitions(self) -> int:
        """How many there are."""
        return len(self.tags) or 1

    def partition_of(self, app: str) -> int:
        """The partition that the app lives in."""
        return hash_of(app) % len(self.tags) if self.tags else 0

    def prefix(self, partition: int) -> str:
        """What the partition's keys begin with."""
        return f"{_PREFIX}{{{self.tags[partition]}}}:" if self.tags else _PREFIX

    def stream(self, app: str, own: bool = False) -> str:
        """The stream that the app's events are put on: of its partition, or its `own` there."""
        inlet = self.prefix(self.partition_of(app)) + _EVENTS if self.tags else STREAM
        return f"{inlet}:{app}" if own else inlet

    def pressure(self, app: str) -> str:
        """The hash that says how much waits in the app's partition."""
        return self.prefix(self.partition_of(app)) + "pressure"

    def shown(self, app: str) -> str:
        """The sorted set of the notifications of the app that may be shown."""
        return f"{self.prefix(self.partition_of(app))}shown:{app}"


#: The layout where none stands in Redis.
UNTAGGED: Final = Layout(generation=1)


@lru_cache(_APPS)
def hash_of(app: str) -> int:
    """The first four octets of SHA-256 of the app's UTF-8, as a number. Bytes as published: no Unicode normalisation."""
    return int.from_bytes(sha256(app.encode()).digest()[:4])


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
    _check(found.generation, found.partitions, found.tags)
    return Layout(found.generation, tuple(found.tags), found.closed)


def encoded(layout: Layout) -> bytes:
    """The value of `LAYOUT_KEY` for a layout. Raises `LayoutError` for one that cannot be."""
    _check(layout.generation, layout.partitions, layout.tags)
    document = _Document(layout.generation, layout.partitions, list(layout.tags), layout.closed)
    plain = msgspec.to_builtins(document)
    if not layout.closed:
        del plain["closed"]
    return msgspec.json.encode(plain)


def _check(generation: int, partitions: int, tags: Sequence[str]) -> None:
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
