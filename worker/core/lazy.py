"""Values that an object works out when they are first asked for."""

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

_T = TypeVar("_T")


class lazy(Generic[_T]):  # noqa: N801 used as a decorator
    """As `functools.cached_property`, without the lock that all instances share up to Python 3.11.

    A fork may leave that locked for good, and behind it threads wait for each other's servers. Two threads may work out the same
    value: what the first has is kept.
    """

    def __init__(self, make: Callable[[Any], _T]) -> None:
        self._make, self.__doc__ = make, make.__doc__

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None) -> _T: ...
    def __get__(self, instance: object, owner: type[Any] | None = None) -> Self | _T:
        return self if instance is None else self.of(instance)

    def of(self, instance: object) -> _T:
        """The object's value."""
        made = vars(instance)
        if self._name not in made:
            made.setdefault(self._name, self._make(instance))
        value: _T = made[self._name]
        return value
