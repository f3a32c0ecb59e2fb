"""Which of a noun's forms goes with a number, by language: the rules of Unicode CLDR, as Babel has them."""

import math
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from babel.plural import PluralRule

#: In the order in which CLDR names them, and templates write their forms.
_CATEGORIES: Final = ("zero", "one", "two", "few", "many", "other")


def plural(number: float, forms: Sequence[str], language: str) -> str:
    """The form for the number: `forms` are those of the language in CLDR's order (zero, one, two, few, many, other).

    With fewer forms than the language has, the last one stands for the rest, and none is for zero.
    """
    if not forms:
        return ""
    rule, categories = _rule(language)
    category = rule(abs(number)) if math.isfinite(number) else "other"
    if len(forms) < len(categories):
        categories = tuple(name for name in categories if name != "zero")
    place = categories.index(category) if category in categories else len(categories)
    return forms[min(place, len(forms) - 1)]


@lru_cache(maxsize=256)
def _rule(language: str) -> "tuple[PluralRule, tuple[str, ...]]":
    """The rule of a language, and the categories that it tells apart; English where the language is not known."""
    # Babel is loaded for the first template that needs it: it takes time, and a megabyte for each language.
    from babel.core import Locale, UnknownLocaleError  # noqa: PLC0415

    rule = Locale.parse("en").plural_form
    for name in (language.partition("-")[0], language):
        with suppress(UnknownLocaleError, ValueError):
            rule = Locale.parse(name, sep="-").plural_form
    return rule, tuple(name for name in _CATEGORIES if name in rule.tags or name == "other")
