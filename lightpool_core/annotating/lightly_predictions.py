"""A folder of Lightly predictions: `tasks.json`, for each task `schema.json` and one JSON file about each picture.

The format: https://docs.lightly.ai/docs/prediction-format. N: samples. C: categories. K: objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from lightpool_core.annotating.asked import Asked
from lightpool_core.annotating.json_files import name_in, read_json, read_sidecars
from lightpool_core.annotating.objects import AT_ONCE, Found, Objects, Tally
from lightpool_core.arrays import ExactDistances
from lightpool_core.errors import SourceError

_SUM = 0.05
"""How far from 1 probabilities may add up, for they may be written with few digits."""

_Picture = tuple[int, Sequence[Mapping[str, Any]]]
"""Row of a sample, and the objects in it."""


@dataclass(frozen=True, slots=True)
class Task:
    """One task, its schema read."""

    folder: Path
    single: bool
    """A classification: one category for each picture."""
    columns: Mapping[int, int]
    """Id of a category → its column."""
    categories: tuple[str, ...]
    """(C,) in the order of their ids."""

    @classmethod
    def read(cls, folder: Path) -> Task:
        """The task in `folder`. Raises SourceError naming the file."""
        path = folder / "schema.json"
        schema = read_json(path, "prediction schema")
        try:
            kind = schema.get("task_type", schema.get("task_description"))
            names = {int(category["id"]): str(category["name"]) for category in schema["categories"]}
            n_categories = len(schema["categories"])
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise SourceError(f"{path} is no object with task_type and categories of id and name") from error
        if not isinstance(kind, str) or not names:
            raise SourceError(f"{path} has no {'categories' if names == {} else 'task_type'}")
        if len(names) < n_categories:
            raise SourceError(f"{path} has two categories with the same id")
        ids = sorted(names)
        return cls(
            folder, kind == "classification", dict(zip(ids, range(len(ids)), strict=True)), tuple(names[i] for i in ids)
        )

    def found(self, asked: Asked) -> tuple[Found, int]:
        """What the files of this task say of the samples, and of how many. Raises SourceError naming the file."""
        tally = Tally(len(asked), self.categories)
        pictures = self._pictures(asked)
        n_known = 0
        while some := list(islice(pictures, AT_ONCE)):
            n_known += len(some)
            tally.add(np.array([row for row, _ in some]), self._objects(some, asked))
        return tally.found(single=self.single), n_known

    def _pictures(self, asked: Asked) -> Iterator[_Picture]:
        for row, found in enumerate(read_sidecars(self.folder, asked.names)):
            if found is not None:
                objects = found.get("predictions")
                if not isinstance(objects, list) or not all(isinstance(each, dict) for each in objects):
                    raise self._wrong(asked.names[row], "has no list 'predictions' of objects")
                if self.single and len(objects) > 1:
                    objects = [max(objects, key=_score)]
                if objects or not self.single:
                    yield row, objects

    def _objects(self, some: Sequence[_Picture], asked: Asked) -> Objects:
        flat = [(row, each) for row, objects in some for each in objects]
        names = [asked.names[row] for row, _ in flat]
        ids: list[Any] = [each.get("category_id") for _, each in flat]
        for name, given in zip(names, ids, strict=True):
            if not isinstance(given, int) or given not in self.columns:
                raise self._wrong(name, f"has category_id {given!r}, which schema.json lacks")
        confidences = self._numbers([[each.get("score")] for _, each in flat], names, "score", 1)[:, 0]
        off = ~np.isnan(confidences) & ~((confidences >= 0) & (confidences <= 1))
        if off.any():
            raise self._wrong(names[int(off.argmax())], f"has the score {confidences[off][0]:g}, not one from 0 to 1")
        return Objects(
            np.array([row for row, _ in flat], dtype=np.int64),
            np.array([self.columns[given] for given in ids], dtype=np.int64),
            confidences,
            self._probabilities([each.get("probabilities") for _, each in flat], names),
        )

    def _probabilities(self, given: Sequence[Any], names: Sequence[str]) -> ExactDistances:
        """(K, C) rows of sum 1, NaN where none are given."""
        n_categories = len(self.categories)
        for name, row in zip(names, given, strict=True):
            if row is not None and (not isinstance(row, list) or len(row) != n_categories):
                n_given = len(row) if isinstance(row, list) else repr(row)
                raise self._wrong(name, f"has {n_given} probabilities, not one for each of {n_categories} categories")
        probabilities = self._numbers(
            [row or [None] * n_categories for row in given], names, "probability", n_categories
        )
        known = np.array([row is not None for row in given], dtype=bool)
        sums = probabilities.sum(axis=1)
        off = known & ~((np.abs(sums - 1) <= _SUM) & (probabilities >= 0).all(axis=1))
        if off.any():
            reason = f"has probabilities that add up to {sums[off][0]:g}; they are to be 0 or more and add up to 1"
            raise self._wrong(names[int(off.argmax())], reason)
        normalised: ExactDistances = probabilities / sums[:, None]
        return normalised

    def _numbers(self, rows: Sequence[Sequence[Any]], names: Sequence[str], what: str, width: int) -> ExactDistances:
        """(K, width) numbers; NaN for None."""
        try:
            return np.array(rows, dtype=np.float64).reshape(len(rows), width)
        except (TypeError, ValueError, OverflowError):
            plain = [all(value is None or isinstance(value, int | float) for value in row) for row in rows]
            wrong = plain.index(False) if False in plain else 0
            raise self._wrong(names[wrong], f"has a {what} that is no number") from None

    def _wrong(self, name: str, reason: str) -> SourceError:
        return SourceError(f"the file about {name} in {self.folder} {reason}")


@dataclass(frozen=True, slots=True)
class LightlyPredictions:
    """Such a folder, its schemas read."""

    folder: Path
    tasks: Mapping[str, Task]

    @classmethod
    def read(cls, folder: Path) -> LightlyPredictions:
        """The tasks that `tasks.json` in `folder` names. Raises SourceError naming the file."""
        names = read_json(folder / "tasks.json", "list of tasks")
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise SourceError(f"{folder / 'tasks.json'} is no list of names of tasks")
        for name in names:
            if not _is_inside(folder, name):
                raise SourceError(f"{folder / 'tasks.json'}: the task {name!r} is not in the folder")
        return cls(folder, {name: Task.read(folder / name) for name in names})

    def found_in(self, asked: Asked) -> dict[str, Found]:
        """What each task found. Raises SourceError naming the file, also where none knows any of the samples."""
        found = {name: task.found(asked) for name, task in self.tasks.items()}
        n_known = sum(n for _, n in found.values())
        asked.check_known(n_known, self.folder, None if n_known or not len(asked) else name_in(self.folder))
        return {name: of_task for name, (of_task, _) in found.items()}


def _score(each: Mapping[str, Any]) -> float:
    score = each.get("score")
    return float(score) if isinstance(score, int | float) else 0.0


def _is_inside(folder: Path, name: str) -> bool:
    try:
        return (folder / name).resolve().is_relative_to(folder.resolve())
    except ValueError:  # characters that no name of a file has
        return False
