"""Selection configs: what a choice is to achieve, in the form of Lightly's, from JSON, YAML or TOML."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightpool_core.errors import LightpoolError, SettingsError
from lightpool_core.selection.stop import Stop
from lightpool_core.selection.strategy_config import parsed_strategies
from lightpool_core.selection.tables import Table, as_name, finite
from lightpool_core.settings_file import SETTINGS_NAME

_WHOLE = "selection_config"
_NAMES = ("n_samples", "proportion_samples", "strategies")
_ELSEWHERE = {
    "lightly_path_regex": "is not supported; give what it would read off the names with --metadata FILE",
    "auto_tasks": "is not supported; give predictions with --predictions PATH",
}
_MOST_VALUES = 100_000
"""Of a config: YAML that repeats parts of parts makes any number of them from a few lines."""
_DISTANCE = "stopping_condition_minimum_distance"


@dataclass(frozen=True, slots=True)
class SelectionConfig:
    """What a selection config says."""

    strategies: tuple[Mapping[str, Any], ...]
    """As they stand in the file, checked, in values that TOML can hold; without the minimum distance of DIVERSITY."""
    n_samples: int | float | None = None
    """See Stop; -1 is off, None where nothing is said."""
    min_distance: float | None = None
    """See Stop; None where nothing is said."""


def read_config(path: str | Path) -> SelectionConfig:
    """The selection config in a .json, .yaml or .toml file, alone or as `selection_config` of a whole config.

    A query's `images` start at the file's folder. Raises SettingsError naming the file and the place in it.
    """
    path = Path(path)
    try:
        return _config(_loaded(path), path)
    except SettingsError as error:
        raise SettingsError(f"config {path}: {error}") from error


@contextmanager
def naming(config: str | Path | None, pool: Path | None = None) -> Iterator[None]:
    """Name the file in errors that name a place among strategies: `config`, or without one the settings of `pool`."""
    try:
        yield
    except LightpoolError as error:
        if not str(error).startswith("strategies["):
            raise
        where = f"config {config}: " if config else f"settings {pool / SETTINGS_NAME}: sampler." if pool else ""
        raise type(error)(f"{where}{error}") from error


def with_hoisted_distance(
    strategies: Sequence[Mapping[str, Any]],
) -> tuple[tuple[Mapping[str, Any], ...], float | None]:
    """Checked strategies without the minimum distance of DIVERSITY, and this; None where it is off.

    A choice has one minimum distance, which an option of the command line can change.
    """
    distances = [strategy.min_distance for strategy in parsed_strategies(strategies) if strategy.type == "DIVERSITY"]
    fields = [Table.of(entry["strategy"], "").fields for entry in strategies]
    bare = [{name: value for name, value in table.items() if name != _DISTANCE} for table in fields]
    rest = tuple({**entry, "strategy": table} for entry, table in zip(strategies, bare, strict=True))
    return rest, next(iter(distances), None)


def with_absolute_images(strategies: Sequence[Mapping[str, Any]], folder: Path) -> tuple[Mapping[str, Any], ...]:
    """Checked strategies whose queries name their pictures in a way that holds anywhere."""

    def absolute(entry: Mapping[str, Any]) -> Mapping[str, Any]:
        images = entry["input"].get("images")
        return {**entry, "input": {**entry["input"], "images": os.path.abspath(folder / images)}} if images else entry

    return tuple(map(absolute, strategies))


def _loaded(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot be read: {_line(error)}") from error
    if path.suffix.lower() == ".toml":
        return _toml(text)
    try:
        return json.loads(text, object_pairs_hook=_once)
    except SettingsError:
        _yaml(text.replace("\t", "    "))  # which knows the place
        raise
    except RecursionError as error:
        raise SettingsError("is nested too deeply; mend the file") from error
    except ValueError as error:
        if path.suffix.lower() != ".json":
            return _yaml(text)
        if "#" in text:  # with comments, as on Lightly's pages, it is YAML, but for tabs
            return _yaml(text.replace("\t", "    "))
        raise SettingsError(f"is no JSON: {_line(error)}; mend the file") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for name, value in pairs:
        if name in table:
            raise SettingsError(f"{name!r} is given twice in one table; leave one out")
        table[name] = value
    return table


def _toml(text: str) -> Any:
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        return tomlkit.parse(text).unwrap()
    except TOMLKitError as error:
        raise SettingsError(f"is no TOML: {_line(error)}; mend the file") from error


def _yaml(text: str) -> Any:
    import yaml

    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:  # an empty file
            return None
        _check_names(root, "", set())
        content = loader.construct_document(root)
        if _size(content, {}) > _MOST_VALUES:
            raise SettingsError(f"repeats itself to more than {_MOST_VALUES:,} values; mend the file")
        return content
    except RecursionError as error:
        raise SettingsError("is nested too deeply; mend the file") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none
        raise SettingsError(f"is neither JSON nor YAML: {_line(error)}; mend the file") from error


def _check_names(node: Any, place: str, seen: set[int]) -> None:
    """Raise SettingsError for a name that is twice in a mapping of the YAML `node`, which would take the last."""
    if id(node) in seen:  # an alias
        return
    seen.add(id(node))
    if node.id == "sequence":
        for i, entry in enumerate(node.value):
            _check_names(entry, f"{place}[{i}]", seen)
    elif node.id == "mapping":
        names: set[str] = set()
        for key, entry in node.value:
            name = f"{place}.{key.value}".lstrip(".")
            if name in names:
                raise SettingsError(f"{name} is given twice, again in line {key.start_mark.line + 1}; leave one out")
            names.add(name)
            _check_names(entry, name, seen)


def _size(value: Any, known: dict[int, int]) -> int:
    """How many values `value` holds, each counted as often as it comes; `known` are those of its parts, by id."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        parts = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(value)]


def _config(content: Any, path: Path) -> SelectionConfig:
    table = Table.of(content, "")
    if _WHOLE in table.fields:
        table = table.table(_WHOLE)
    for name in table.fields:
        if name in _ELSEWHERE:
            raise SettingsError(f"{table.at(name)} {_ELSEWHERE[name]}")
    table.check_names(_NAMES)
    raw = table.value("strategies")
    parsed_strategies(raw, table.at("strategies"))
    strategies, distance = with_hoisted_distance([_plain(entry) for entry in raw])
    return SelectionConfig(with_absolute_images(strategies, path.parent), _n_samples(table), distance)


def _n_samples(table: Table) -> int | float | None:
    """From a count or a proportion, of which one can be given."""
    count, proportion = table.value("n_samples", None), table.number("proportion_samples", None)
    if proportion is None or proportion == -1:
        if count is None:
            return None
        finite(count, table.at("n_samples"))
        Stop.of(count, None)
        return int(count) if count == -1 else count
    if count is not None and count != -1:
        raise SettingsError(f"{table.at('n_samples')} and proportion_samples are both given; write -1 for one of them")
    if not 0 <= proportion <= 1:
        raise SettingsError(f"{table.at('proportion_samples')} {proportion:g} is not from 0 to 1; -1 is off")
    return float(proportion)


def _plain(value: Any) -> Any:
    """`value` as TOML can hold it: names are text, and what is null is left out."""
    if isinstance(value, Mapping):
        return {as_name(name): _plain(entry) for name, entry in value.items() if entry is not None}
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value


def _line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
