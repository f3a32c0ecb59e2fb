"""Which of a noun's forms goes with a number, by language. Source: Unicode CLDR, cardinal rules, whole numbers."""

from collections.abc import Callable, Sequence
from typing import Final


def plural(number: float, forms: Sequence[str], language: str) -> str:
    """The form for the number: `forms` are one and other, in Slavic languages one, few and many; too few: the last one."""
    if not forms:
        return ""
    rule = _RULES.get(language.lower().partition("-")[0], _one_other)
    return forms[min(rule(abs(number)), len(forms) - 1)]


def _one_other(n: float) -> int:
    return 0 if n == 1 else 1


def _zero_is_one(n: float) -> int:
    return 0 if n < 2 else 1


def _always_other(_: float) -> int:
    return 0


def _east_slavic(n: float) -> int:
    if n % 10 == 1 and n % 100 != 11:
        return 0
    return 1 if 2 <= n % 10 <= 4 and not 12 <= n % 100 <= 14 else 2


def _polish(n: float) -> int:
    return 0 if n == 1 else _east_slavic(n) or 2


def _czech(n: float) -> int:
    return 0 if n == 1 else 1 if 2 <= n <= 4 else 2


_RULES: Final[dict[str, Callable[[float], int]]] = {
    **dict.fromkeys(("fr", "pt", "hy"), _zero_is_one),
    **dict.fromkeys(("ja", "zh", "ko", "vi", "th", "id", "ms"), _always_other),
    **dict.fromkeys(("ru", "uk", "be", "sr", "hr", "bs"), _east_slavic),
    "pl": _polish,
    **dict.fromkeys(("cs", "sk"), _czech),
}
