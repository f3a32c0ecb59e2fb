"""Reads keys of any type and writes them elsewhere, in large steps: many small keys, or a part of a large one."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from worker.state.redis import Redis

#: Keys that one step reads; items of a value that one command reads or writes.
CHUNK: Final = 500
ITEMS: Final = 1_000


def _add(pipe: Any, key: str, items: Sequence[tuple[str, Any]]) -> None:
    for item, n in items:
        pipe.hincrby(key, item, int(n))


_WRITE: Final[Mapping[str, Callable[[Any, str, Sequence[tuple[str, Any]]], object]]] = {
    "hash": lambda pipe, key, items: pipe.hset(key, mapping=dict(items)),
    "counts": _add,
    "zset": lambda pipe, key, items: pipe.zadd(key, dict(items)),
    "set": lambda pipe, key, items: pipe.sadd(key, *(item for item, _ in items)),
    "list": lambda pipe, key, items: pipe.rpush(key, *(item for item, _ in items)),
    "string": lambda pipe, key, items: pipe.set(key, items[0][1]),
}


class Writer:
    """Writes in large steps. Nothing is written twice: lists would grow, and `counts`, a hash whose numbers are added."""

    def __init__(self, clients: Sequence[Redis]) -> None:
        self._clients = clients
        self._pipes: dict[int, Any] = {}

    def write(self, p: int, key: str, kind: str, items: Iterable[tuple[str, Any]], life: int) -> None:
        pipe = self._pipes.get(p)
        if pipe is None:
            pipe = self._pipes[p] = self._clients[p].pipeline(transaction=False)
        for some in chunks(list(items), ITEMS):
            _WRITE[kind](pipe, key, some)
        if life > 0:
            pipe.pexpire(key, life)
        if len(pipe) >= CHUNK:
            pipe.execute()

    def flush(self) -> None:
        for pipe in self._pipes.values():
            pipe.execute()


def values_of(
    client: Redis, keys: Sequence[tuple[str, tuple[str, ...]]], kind: str
) -> Iterator[tuple[tuple[str, tuple[str, ...]], Iterable[tuple[str, Any]], int]]:
    """Of each key its items, and its life in milliseconds or less than 0. Large values are read in pieces."""
    size = {"hash": "hlen", "zset": "zcard", "set": "scard", "list": "llen", "string": "exists"}[kind]
    with client.pipeline(transaction=False) as pipe:
        for key, _ in keys:
            getattr(pipe, size)(key)
            pipe.pttl(key)
        answers = pipe.execute()
    small = [one for one, n in zip(keys, answers[::2], strict=True) if 0 < n <= ITEMS]
    whole: dict[str, Any] = {}
    with client.pipeline(transaction=False) as pipe:
        for key, _ in small:
            _ask_whole(pipe, key, kind)
        whole = dict(zip((key for key, _ in small), pipe.execute(), strict=True))
    for one, n, life in zip(keys, answers[::2], answers[1::2], strict=True):
        if n:
            yield one, _plain(kind, whole[one[0]]) if n <= ITEMS else items_of(client, one[0], kind), life


def _ask_whole(pipe: Any, key: str, kind: str) -> None:
    match kind:
        case "hash":
            pipe.hgetall(key)
        case "zset":
            pipe.zrange(key, 0, -1, withscores=True)
        case "set":
            pipe.smembers(key)
        case "list":
            pipe.lrange(key, 0, -1)
        case _:
            pipe.get(key)


def _plain(kind: str, value: Any) -> list[tuple[str, Any]]:
    match kind:
        case "hash":
            return [(text_of(item), of) for item, of in value.items()]
        case "zset":
            return [(text_of(item), score) for item, score in value]
        case "set" | "list":
            return [(text_of(item), None) for item in value]
    return [("", value)]


def items_of(client: Redis, key: str, kind: str) -> Iterator[tuple[str, Any]]:
    match kind:
        case "hash":
            for item, value in client.hscan_iter(key, count=ITEMS):
                yield text_of(item), value
        case "zset":
            for item, score in client.zscan_iter(key, count=ITEMS):
                yield text_of(item), score
        case "set":
            for item in client.sscan_iter(key, count=ITEMS):
                yield text_of(item), None
        case _:
            at = 0
            while some := _range(client, key, at):
                yield from ((text_of(item), None) for item in some)
                at += ITEMS


def _range(client: Redis, key: str, at: int) -> Any:
    return client.lrange(key, at, at + ITEMS - 1)


def delete(client: Redis, keys: Iterable[Any]) -> None:
    for some in chunks(list(keys), CHUNK):
        client.unlink(*some)


def chunks(values: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for at in range(0, len(values), size):
        yield values[at : at + size]


def text_of(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
