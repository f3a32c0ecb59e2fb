"""Makes a rendered template fit a limit: what gives way, in which order, and a word about each."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from worker.core.notification import LEAST_BODY, SHORT_NAME
from worker.core.template_form import Path, dotted
from worker.core.template_values import LARGEST
from worker.core.truncation import fit, json_size

Values = dict[Path, Any]
encoded: Final = msgspec.json.Encoder().encode


def size(document: Any) -> int:
    return len(encoded(document))


def cut(
    values: Values, texts: Sequence[Path], spare: Iterable[Path], measure: Callable[[Values], int], room: int
) -> list[str]:
    """Changes `values` until `measure` says at most `room` bytes or nothing more may go; says what was cut.

    First the longest `texts`, each down to a line; then what is `spare`, the largest first and each whole, for half of what an
    app knows is worse than nothing; then the texts down to a name's length.
    """
    texts = [path for path in texts if isinstance(values.get(path), str)]
    before = {path: values[path] for path in texts}
    left_out: list[str] = []
    _shorten(values, texts, measure(values) - room, LEAST_BODY)
    _leave_out(values, spare, measure, room, left_out)
    _shorten(values, texts, measure(values) - room, SHORT_NAME)
    shortened = [
        f"{dotted(path)}: cut from {_bytes(json_size(text))} to {json_size(values[path]):,}"
        for path, text in before.items()
        if values[path] != text
    ]
    return shortened + left_out


def _shorten(values: Values, texts: list[Path], over: int, least: int) -> None:
    """Until the document is `over` bytes smaller."""
    lengths = {path: json_size(values[path]) for path in texts}
    for path in sorted(texts, key=lambda one: -lengths[one]):
        if over <= 0:
            return
        length = lengths[path]
        if length > least:
            values[path] = fit(values[path], max(least, length - over))
            over -= length - json_size(values[path])


def _leave_out(
    values: Values, spare: Iterable[Path], measure: Callable[[Values], int], room: int, said: list[str]
) -> None:
    """Of a list the whole list, for its elements go by place."""
    groups: dict[Path, list[Path]] = {}
    for path in spare:
        whole = next((path[:end] for end, part in enumerate(path) if isinstance(part, int)), path)
        groups.setdefault(whole, []).append(path)
    sizes = {whole: sum(size(values[path]) for path in paths) for whole, paths in groups.items()}
    largest = sorted(groups, key=lambda one: -sizes[one])

    def without(number: int) -> Values:
        gone = {path for whole in largest[:number] for path in groups[whole]}
        return {path: value for path, value in values.items() if path not in gone}

    # How many of the largest have to go: as many as it takes, or all.
    enough = bisect_left(range(len(largest)), True, key=lambda number: measure(without(number)) <= room)
    for whole in largest[:enough]:
        for path in groups[whole]:
            del values[path]
        said.append(f"{dotted(whole)}: left out, {_bytes(sizes[whole])}")


def _bytes(number: int) -> str:
    """A value that certainly does not fit was not read to its end."""
    return f"{number:,} bytes" if number < LARGEST else f"{LARGEST:,} bytes or more"
