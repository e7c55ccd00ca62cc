"""What the inputs of strategies say of each sample: a number, or how it divides among categories.

N: samples.
"""

from __future__ import annotations

import difflib
from typing import Any

import numpy as np

from lightpool_core.annotations import Annotations, Predictions
from lightpool_core.arrays import Array, ExactDistances, Mask
from lightpool_core.candidates import Candidates
from lightpool_core.errors import SettingsError
from lightpool_core.selection.counts import Counts
from lightpool_core.selection.strategies import Strategy

LABEL = "label"
"""Metadata key of the weak label, unless there is metadata of that name."""
_WEAK = "weak_label"
"""What the pool calls it."""
_GREATEST = 1e150
"""Of a number, either way: sums of such have logarithms."""
OTHER = "(other)"
"""Categories that a target does not mention."""


def numbers(strategy: Strategy, candidates: Candidates, rng: np.random.Generator) -> ExactDistances:
    """(N,) what `strategy` looks at. Raises SettingsError naming the place where that is missing or no number."""
    given = strategy.input
    if given.type == "RANDOM":
        lots = rng if given.random_seed is None else np.random.default_rng(given.random_seed)
        return lots.random(len(candidates))
    if given.type == "PREDICTIONS":
        values = _counted(strategy, _predictions(strategy, candidates.annotations))
    elif given.type == "SCORES":
        values = _floats(strategy, _score(strategy, candidates.annotations))
    else:
        values = _floats(strategy, _metadata(strategy, candidates.annotations, candidates.labels))
    unknown = ~np.isfinite(values)
    if unknown.any():
        raise SettingsError(
            f"{strategy.place}: {given} is unknown for {int(unknown.sum())} of {len(values)} candidates, the first"
            f" {candidates.filenames[int(unknown.argmax())]}; give each a value, or the key a default value"
        )
    greatest = np.abs(values).max(initial=0.0)
    if greatest > _GREATEST:
        raise SettingsError(f"{strategy.place}: {given} is {greatest:g} for some; give numbers up to {_GREATEST:g}")
    return values


def classes(strategy: Strategy, candidates: Candidates) -> Counts:
    """How the candidates divide among the categories that `strategy` balances.

    Nothing is known of one with nothing in it. Raises SettingsError naming the place.
    """
    if strategy.input.type == "PREDICTIONS":
        return _counts(strategy, _predictions(strategy, candidates.annotations))
    return Counts.of_names(_names(_metadata(strategy, candidates.annotations, candidates.labels)))


def kept_counts(strategy: Strategy, annotations: Annotations) -> dict[str, float]:
    """How much of each category is kept already, as far as `annotations` tell."""
    if strategy.input.type == "PREDICTIONS":
        predictions = annotations.predictions.get(strategy.input.task)
        found = _counts(strategy, predictions) if predictions else Counts.of_names([])
    else:
        key, known = strategy.input.key, annotations.metadata
        column = known.get(_WEAK if key == LABEL and key not in known else key)
        found = Counts.of_names([] if column is None else _names(column))
    return dict(zip(found.categories, found.by_category().tolist(), strict=True))


def passing(strategy: Strategy, values: ExactDistances) -> Mask:
    """(N,) True where `values` meet the threshold."""
    compare = {
        "SMALLER": np.less,
        "SMALLER_EQUAL": np.less_equal,
        "BIGGER": np.greater,
        "BIGGER_EQUAL": np.greater_equal,
    }[strategy.operation]
    mask: Mask = compare(values, strategy.threshold)
    return mask


def _metadata(strategy: Strategy, annotations: Annotations, labels: Array) -> Array:
    key, known = strategy.input.key, annotations.metadata
    if key in known:
        return known[key]
    if key == LABEL:
        return labels
    raise SettingsError(f"{strategy.place}: no metadata is called {key!r}; {_there_are({**known, LABEL: labels}, key)}")


def _score(strategy: Strategy, annotations: Annotations) -> Array:
    task, score, known = strategy.input.task, strategy.input.score, annotations.scores
    names = [f"{task}/{score}", score] if task else [score, *(name for name in known if name.endswith(f"/{score}"))]
    if not task and score not in known and len(names) > 2:
        raise SettingsError(f"{strategy.place}: score {score!r} is there more than once; give its task: {names[1:]}")
    for name in names:
        if name in known:
            return known[name]
    raise SettingsError(f"{strategy.place}: no score is called {names[0]!r}; {_there_are(known, names[0])}")


def _predictions(strategy: Strategy, annotations: Annotations) -> Predictions:
    task, known = strategy.input.task, annotations.predictions
    if task in known:
        return known[task]
    raise SettingsError(f"{strategy.place}: there are no predictions of task {task!r}; {_there_are(known, task)}")


def _there_are(names: Any, wanted: str) -> str:
    close = difflib.get_close_matches(wanted, list(names), n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"there are {', '.join(sorted(names))}" if names else "none were given (--metadata, --predictions, --scores)"


def _floats(strategy: Strategy, column: Array) -> ExactDistances:
    try:
        return np.array([np.nan if value is None else value for value in column.tolist()], dtype=np.float64)
    except (TypeError, ValueError):
        words = next(value for value in column.tolist() if not isinstance(value, int | float | None))
        raise SettingsError(
            f"{strategy.place}: {strategy.input} is {words!r} for some, no number; {strategy.type} takes numbers"
        ) from None


def _counts(strategy: Strategy, predictions: Predictions) -> Counts:
    """Objects of each category, or as Lightly does the sum of their distributions; nothing where unknown."""
    counts, shares = np.nan_to_num(predictions.counts), np.nan_to_num(predictions.shares)
    table = counts if strategy.input.name == "CATEGORY_COUNT" else shares * counts.sum(axis=1, keepdims=True)
    return Counts.of_table(predictions.categories, table)


def _counted(strategy: Strategy, predictions: Predictions) -> ExactDistances:
    """How many objects of the wanted categories each picture has."""
    wanted = strategy.input.categories or predictions.categories
    for name in wanted:
        if name not in predictions.categories:
            raise SettingsError(
                f"{strategy.place}: task {strategy.input.task} has no category {name!r};"
                f" {_there_are(predictions.categories, name)}"
            )
    columns = [predictions.categories.index(name) for name in wanted]
    return np.asarray(predictions.counts[:, columns].sum(axis=1))


def _names(column: Array) -> list[str | None]:
    return [_name(value) for value in column.tolist()]


def _name(value: Any) -> str | None:
    """How a target calls a value: as JSON would, 3 for 3.0 and true for True; None for an unknown one."""
    if value is None or value != value:  # noqa: PLR0124  # NaN
        return None
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
