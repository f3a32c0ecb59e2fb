"""Words that a command needs: given as flags, or asked for, one after another, until each is right."""

from collections.abc import Callable
from typing import Any, TypeVar

import typer

from worker.cli._session import refuse
from worker.cli._terminal import echo
from worker.providers.base import SettingsError

T = TypeVar("T")


class Asker:
    """`interactive`: a person can be asked for missing values. `bare`: also for values with a default."""

    def __init__(self, *, interactive: bool, bare: bool) -> None:
        self._interactive, self.bare = interactive, bare

    def word(
        self,
        flag: str,
        given: str | None,
        question: str,
        check: Callable[[str], T],
        *,
        default: str | None = None,
        hidden: bool = False,
    ) -> T:
        """What `check` makes of the word. A wrong flag ends the command, a wrong answer is asked for again."""
        if given is not None:
            return self._checked(given, check)
        if not (self.bare if default is not None else self._interactive):
            if default is None:
                refuse(
                    f"{flag}: needed ({question}). In a terminal this command asks for what is not given; -h lists all"
                )
            return self._checked(default, check)
        while True:
            answer: Any = typer.prompt(question, default=default, hide_input=hidden, show_default=not hidden, err=True)
            try:
                return check(str(answer).strip())
            except SettingsError as fault:
                echo(f"  {fault}", err=True)

    def tell(self, text: str) -> None:
        """Explains a question to the person at the terminal."""
        if self.bare:
            echo(text, err=True)

    def _checked(self, word: str, check: Callable[[str], T]) -> T:
        try:
            return check(word)
        except SettingsError as fault:
            refuse(fault)


def one_of(what: str, *known: str) -> Callable[[str], str]:
    """A check for one of a few words, of which a beginning is enough."""

    def check(word: str) -> str:
        fitting = [one for one in known if word and one.startswith(word.lower())]
        if len(fitting) != 1:
            raise SettingsError(f"{what}: {word!r} is none of: {', '.join(known)}")
        return fitting[0]

    return check
