"""Fields of a frozen dataclass that are made when somebody looks at them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Lazily(Generic[T]):
    """A field that takes a value, or a function that makes it when it is first looked at.

    A descriptor as `dataclasses` knows them: `field: Lazily[T] = Lazily(default)`.
    """

    def __init__(self, default: T) -> None:
        self._default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object | None, owner: type) -> T:
        if instance is None:
            return self._default
        held: Any = instance.__dict__[self._name]
        if callable(held):
            held = instance.__dict__[self._name] = held()
        found: T = held
        return found

    def __set__(self, instance: object, value: T | Callable[[], T]) -> None:
        instance.__dict__[self._name] = value
