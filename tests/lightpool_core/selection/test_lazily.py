from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import pytest

from lightpool_core.selection.lazily import Lazily


@dataclass(frozen=True)
class Shelf:
    name: str
    books: Lazily[tuple[str, ...]] = Lazily(("none",))  # noqa: RUF009  # what is tested here


def test_a_field_takes_a_value_or_has_its_default() -> None:
    assert Shelf("a").books == ("none",)
    assert Shelf("a", ("one", "two")).books == ("one", "two")
    assert dataclasses.replace(Shelf("a", ("one",)), books=("two",)) == Shelf("a", ("two",))


def test_what_a_function_makes_is_made_once_and_only_when_it_is_looked_at() -> None:
    made = []

    def make() -> tuple[str, ...]:
        made.append("made")
        return ("one",)

    shelf = Shelf("a", books=make)
    assert made == []
    assert shelf.books == shelf.books == ("one",)
    assert dataclasses.replace(shelf, name="b").books == ("one",)
    assert made == ["made"]


def test_a_frozen_field_stays_as_it_is() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Shelf("a").books = ("two",)  # type: ignore[misc]
