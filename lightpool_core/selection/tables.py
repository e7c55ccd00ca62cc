"""A table of a config, read field by field: what is wrong is told in one line, with its place."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lightpool_core.errors import SettingsError

_REQUIRED: Any = object()


@dataclass(frozen=True, slots=True)
class Table:
    """The fields of one table, by name in snake_case, and where it stands, such as `strategies[0].input`."""

    fields: Mapping[str, Any]
    place: str

    @classmethod
    def of(cls, value: Any, place: str) -> Table:
        """`value` as a table; camelCase names are read as snake_case, and what is null or '' is not given."""
        fields = mapping(value, place).items()
        given = ((_snake(name), entry) for name, entry in fields if entry is not None and entry != "")
        return cls(_once(given, place), place)

    def at(self, name: str) -> str:
        """The place of a field."""
        return f"{self.place}.{name}" if self.place else name

    def check_names(self, known: Collection[str]) -> None:
        """Raise SettingsError for a field that is none of `known`."""
        for name in self.fields:
            if name not in known:
                raise SettingsError(f"{self.at(name)} is unknown; {suggestion(name, known)}")

    def value(self, name: str, default: Any = _REQUIRED) -> Any:
        """The field as it is. Raises SettingsError where it is missing and there is no default."""
        if name not in self.fields and default is _REQUIRED:
            raise SettingsError(f"{self.at(name)} is missing; it has to be given")
        return self.fields.get(name, default)

    def table(self, name: str) -> Table:
        """The field, a table of its own."""
        return Table.of(self.value(name), self.at(name))

    def word(self, name: str, words: Collection[str], default: Any = _REQUIRED) -> str:
        """The field, one of `words`."""
        value = self.value(name, default)
        if value is not default and (not isinstance(value, str) or value not in words):
            raise SettingsError(f"{self.at(name)} {_shown(value)} is unknown; {suggestion(value, words)}")
        return str(value)

    def text(self, name: str, default: Any = _REQUIRED) -> str:
        """The field, a text."""
        value = self.value(name, default)
        if value is not default and not isinstance(value, str):
            raise SettingsError(f"{self.at(name)} {_shown(value)} should be a text, in quotes")
        return str(value)

    def texts(self, name: str) -> tuple[str, ...]:
        """The field, a list of at least one text and none twice; none at all where it is not given."""
        value = self.value(name, ())
        if name in self.fields and (
            not isinstance(value, list | tuple)
            or not value
            or not all(isinstance(text, str) and text for text in value)
        ):
            raise SettingsError(f"{self.at(name)} {_shown(value)} should be a list of names, such as ['car', 'bus']")
        for text in value:
            if value.count(text) > 1:
                raise SettingsError(f"{self.at(name)} names {text!r} twice")
        return tuple(value)

    def number(self, name: str, default: Any = _REQUIRED) -> Any:
        """The field, a finite number."""
        value = self.value(name, default)
        return value if value is default else finite(value, self.at(name))

    def whole(self, name: str, least: int, default: Any = _REQUIRED) -> Any:
        """The field, a whole number of at least `least`."""
        value = self.value(name, default)
        if value is not default and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise SettingsError(f"{self.at(name)} {_shown(value)} should be a whole number from {least} up")
        return value


def mapping(value: Any, place: str) -> dict[str, Any]:
    """`value` as named values, their names as they are. Raises SettingsError naming `place`."""
    if not isinstance(value, Mapping):
        raise SettingsError(f"{place} {_shown(value)} should be a table of named values".lstrip())
    return _once(((as_name(name), entry) for name, entry in value.items()), place)


def as_name(key: Any) -> str:
    """A key as text, as JSON would write it: YAML has keys that are numbers, and `true`."""
    return str(key).lower() if isinstance(key, bool) else str(key)


def finite(value: Any, place: str) -> float:
    """`value` as a finite number. Raises SettingsError naming `place`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SettingsError(f"{place} {_shown(value)} should be a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise SettingsError(f"{place} {_shown(value)} should be a finite number")
    return number


def suggestion(word: Any, known: Iterable[str]) -> str:
    """What to write instead of a word that is none of `known`."""
    by_spelling = {_plain(name): name for name in known}
    close = difflib.get_close_matches(_plain(str(word)), by_spelling, n=1)
    return f"did you mean {by_spelling[close[0]]}?" if close else f"known are {', '.join(by_spelling.values())}"


def _once(pairs: Iterable[tuple[str, Any]], place: str) -> dict[str, Any]:
    """The named values; several spellings of one name are refused, for only one of the values could count."""
    named: dict[str, Any] = {}
    for name, entry in pairs:
        if name in named:
            raise SettingsError(f"{place}.{name}".lstrip(".") + " is given twice; leave one out")
        named[name] = entry
    return named


def _plain(word: str) -> str:
    return re.sub(r"[\W_]", "", word).lower()


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])[A-Z]", lambda match: f"_{match[0].lower()}", name)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
