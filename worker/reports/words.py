"""Numbers with their nouns, in English."""


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """`1 device`, `2,000 devices`; `plural` where it is not made by an s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
