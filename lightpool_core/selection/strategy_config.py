"""Strategies out of a selection config: all is checked that can be told without data.

The form is that of Lightly's selection configs, https://docs.lightly.ai/docs/selection, and a few fields more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from lightpool_core.candidates import Query
from lightpool_core.errors import SettingsError
from lightpool_core.media.quality import COMPUTED, PREFIX, not_computed
from lightpool_core.selection.stop import SMALLEST
from lightpool_core.selection.strategies import Distribution, Input, InputType, Operation, Strategy, StrategyType
from lightpool_core.selection.tables import Table, finite, mapping

_QUERY = ("images", "samples", "text")
_INPUT_FIELDS: dict[InputType, tuple[str, ...]] = {
    "EMBEDDINGS": (*_QUERY, "task", "dataset_id", "tag_name"),
    "METADATA": ("key",),
    "SCORES": ("task", "score"),
    "PREDICTIONS": ("task", "name", "categories"),
    "RANDOM": ("random_seed",),
}
_STRATEGY_FIELDS: dict[StrategyType, tuple[str, ...]] = {
    "DIVERSITY": ("stopping_condition_minimum_distance",),
    "WEIGHTS": ("stopping_condition_max_sum", "target_range"),
    "THRESHOLD": ("threshold", "operation"),
    "BALANCE": ("distribution", "target"),
    "SIMILARITY": (),
    "TYPICALITY": ("num_nearest_neighbors", "stopping_condition_minimum_typicality"),
}
_NUMBERS = ("METADATA", "SCORES", "PREDICTIONS CATEGORY_COUNT", "RANDOM")
_INPUTS_OF: dict[StrategyType, tuple[str, ...]] = {
    "DIVERSITY": ("EMBEDDINGS",),
    "WEIGHTS": _NUMBERS,
    "THRESHOLD": _NUMBERS,
    "BALANCE": ("METADATA", "PREDICTIONS CLASS_DISTRIBUTION", "PREDICTIONS CATEGORY_COUNT"),
    "SIMILARITY": ("EMBEDDINGS",),
    "TYPICALITY": ("EMBEDDINGS",),
}
_OLD_NAMES = {"DIVERSIFY": "DIVERSITY"}
_PREDICTIONS = ("CLASS_DISTRIBUTION", "CATEGORY_COUNT")
_STRONGEST = 1e9
_SUM_TOLERANCE = 1e-3
_ELSEWHERE = {
    "task": "asks for embeddings of objects, which are not supported; leave it out for those of whole pictures",
    "dataset_id": 'names a dataset of the Lightly platform, which is not asked; write "images": "DIR" instead',
    "tag_name": 'names a tag of the Lightly platform, which is not asked; write "images": "DIR" instead',
    "stopping_condition_max_sum": "is not supported; leave it out and give n_samples",
    "target_range": "is not supported; leave it out and give n_samples",
    "stopping_condition_minimum_typicality": "is not supported; leave it out and give n_samples",
}


def parsed_strategies(raw: Sequence[Mapping[str, Any]], place: str = "strategies") -> tuple[Strategy, ...]:
    """The strategies of the list `raw`. Raises SettingsError naming the place in it, which itself stands at `place`."""
    if not isinstance(raw, list | tuple):
        raise SettingsError(f"{place} should be a list of tables, each with an input and a strategy")
    if not raw:
        raise SettingsError(f"{place} is empty; give at least one, with an input and a strategy")
    found = tuple(_strategy(Table.of(entry, f"{place}[{i}]")) for i, entry in enumerate(raw))
    for strategy in [strategy for strategy in found if strategy.type == "DIVERSITY"][1:]:
        raise SettingsError(f"{strategy.place}.strategy.type DIVERSITY is there twice; add the strengths up in one")
    return found


def _strategy(entry: Table) -> Strategy:
    entry.check_names(("input", "strategy", "strength"))
    read, wanted = _input(entry.table("input")), _renamed(entry.table("strategy"))
    kind: StrategyType = wanted.word("type", get_args(StrategyType))  # type: ignore[assignment]
    _check_fields(wanted, kind, _STRATEGY_FIELDS, ("type", "strength"))
    _check_pair(entry, kind, read)
    return Strategy(
        read,
        kind,
        strength=_strength(entry, wanted),
        place=entry.place,
        **_OPTIONS[kind](wanted) if kind in _OPTIONS else {},
    )


def _input(table: Table) -> Input:
    kind: InputType = table.word("type", get_args(InputType))  # type: ignore[assignment]
    _check_fields(table, kind, _INPUT_FIELDS, ("type",))
    if kind == "METADATA":
        return Input(kind, key=_key(table))
    if kind == "SCORES":
        return Input(kind, task=table.text("task", ""), score=table.text("score"))
    if kind == "PREDICTIONS":
        return _predictions(table)
    if kind == "RANDOM":
        return Input(kind, random_seed=table.whole("random_seed", 0, None))
    return Input(kind, query=_query(table))


def _key(table: Table) -> str:
    key = table.text("key")
    if key.startswith(PREFIX) and key not in COMPUTED:
        raise SettingsError(f"{table.at('key')} {not_computed(key)}")
    return key


def _predictions(table: Table) -> Input:
    name, categories = table.word("name", _PREDICTIONS), table.texts("categories")
    if categories and name != "CATEGORY_COUNT":
        raise SettingsError(f"{table.at('categories')} is for CATEGORY_COUNT, not for {name}; leave it out")
    return Input("PREDICTIONS", task=table.text("task"), name=name, categories=categories)  # type: ignore[arg-type]


def _query(table: Table) -> Query | None:
    given = [name for name in _QUERY if name in table.fields]
    if len(given) > 1:
        raise SettingsError(f"{table.place} has {given[0]} and {given[1]}; a query is one of {', '.join(_QUERY)}")
    if not given:
        return None
    return Query(table.text("images", ""), table.texts("samples"), table.text("text", ""), table.at(given[0]))


def _renamed(table: Table) -> Table:
    """The table with names of strategies as they are now."""
    kind = table.fields.get("type")
    if not isinstance(kind, str):
        return table
    return Table({**table.fields, "type": _OLD_NAMES.get(kind, kind)}, table.place)


def _check_fields(table: Table, kind: str, by_kind: Mapping[Any, tuple[str, ...]], always: tuple[str, ...]) -> None:
    """Raise SettingsError for a field that is unknown, of another kind, or not supported."""
    table.check_names({*always, *(name for names in by_kind.values() for name in names)})
    for name in table.fields:
        owners = [owner for owner, names in by_kind.items() if name in names]
        if name not in always and kind not in owners:
            raise SettingsError(f"{table.at(name)} is for {' and '.join(owners)}, not for {kind}; leave it out")
        if name in _ELSEWHERE and not (name == "task" and kind != "EMBEDDINGS"):
            raise SettingsError(f"{table.at(name)} {_ELSEWHERE[name]}")


def _check_pair(entry: Table, kind: StrategyType, read: Input) -> None:
    """Raise SettingsError where an input does not go with a strategy."""
    what = f"{read.type} {read.name}".strip()
    if what not in _INPUTS_OF[kind]:
        raise SettingsError(
            f"{entry.at('input')} {what} does not go with {kind}; {kind} takes {_any(_INPUTS_OF[kind])}"
        )
    if kind == "SIMILARITY" and read.query is None:
        raise SettingsError(f"{entry.at('input')} has no query; SIMILARITY needs one of {', '.join(_QUERY)}")
    if kind != "SIMILARITY" and read.query is not None:
        raise SettingsError(f"{entry.at('input')} has a query, which is for SIMILARITY, not for {kind}; leave it out")


def _any(names: Sequence[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _strength(entry: Table, wanted: Table) -> float:
    """Lightly's pages show it inside the strategy, and beside it."""
    if "strength" in entry.fields and "strength" in wanted.fields:
        raise SettingsError(f"{entry.at('strength')} is given in the strategy as well; give it once")
    table = entry if "strength" in entry.fields else wanted
    strength = float(table.number("strength", 1.0))
    if strength == 0:
        raise SettingsError(f"{table.at('strength')} 0 takes the strategy away; leave the strategy out instead")
    if abs(strength) > _STRONGEST:
        raise SettingsError(f"{table.at('strength')} {strength:g} is not from -1e9 to 1e9")
    return strength


def _diversity(table: Table) -> dict[str, Any]:
    distance = table.number("stopping_condition_minimum_distance", None)
    if distance is None or distance == -1:
        return {}
    place = table.at("stopping_condition_minimum_distance")
    if not 0 <= distance <= 2:
        raise SettingsError(f"{place} {distance:g} is not from 0 to 2; -1 is off")
    if 0 < distance < SMALLEST:
        raise SettingsError(f"{place} {distance:g} is below {SMALLEST:g}, what float32 can tell; 0 keeps everything")
    return {"min_distance": distance}


def _threshold(table: Table) -> dict[str, Any]:
    return {"threshold": table.number("threshold"), "operation": table.word("operation", get_args(Operation))}


def _balance(table: Table) -> dict[str, Any]:
    distribution = table.word("distribution", get_args(Distribution), "TARGET")
    if distribution == "TARGET":
        return {"distribution": distribution, "target": _target(table.value("target"), table.at("target"))}
    if "target" in table.fields:
        raise SettingsError(f"{table.at('target')} is for distribution TARGET, not for {distribution}; leave one out")
    return {"distribution": distribution}


def _target(value: Any, place: str) -> dict[str, float]:
    shares = {name: finite(share, f"{place}.{name}") for name, share in mapping(value, place).items()}
    for name, share in shares.items():
        if share < 0:
            raise SettingsError(f"{place}.{name} {share:g} is negative; a share is from 0 to 1")
    total = sum(shares.values())
    if abs(total - 1) > _SUM_TOLERANCE:
        raise SettingsError(f"{place} sums to {total:g}, not to 1; give a share for every value that is wanted")
    return shares


def _typicality(table: Table) -> dict[str, Any]:
    neighbours = table.whole("num_nearest_neighbors", 1, None)
    return {} if neighbours is None else {"n_neighbours": neighbours}


_OPTIONS = {"DIVERSITY": _diversity, "THRESHOLD": _threshold, "BALANCE": _balance, "TYPICALITY": _typicality}
