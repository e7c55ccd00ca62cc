"""The files that tell what is known of samples, opened once and asked for candidates and pool.

N: samples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from lightpool_core.annotating.asked import Asked
from lightpool_core.annotating.label_files import read_label_files
from lightpool_core.annotating.lightly_metadata import LightlyMetadata
from lightpool_core.annotating.lightly_predictions import LightlyPredictions
from lightpool_core.annotating.objects import Found
from lightpool_core.annotating.tables import Table
from lightpool_core.annotations import Annotations
from lightpool_core.arrays import Array
from lightpool_core.errors import SourceError
from lightpool_core.media.source import SampleRef


class _Predicted(Protocol):
    def found_in(self, asked: Asked) -> dict[str, Found]: ...


@dataclass(frozen=True, slots=True)
class AnnotationFiles:
    """Files and folders that are open: there, and sound as far as can be told before samples are asked for."""

    metadata: Table | LightlyMetadata | None = None
    predictions: _Predicted | None = None
    scores: Table | None = None

    @classmethod
    def open(cls, metadata: Path | None, predictions: Path | None, scores: Path | None) -> AnnotationFiles:
        """What lies at these paths. Raises SourceNotFound, and SourceError naming the file."""
        return cls(
            _metadata(metadata) if metadata else None,
            _predictions(predictions) if predictions else None,
            Table.read(scores) if scores else None,
        )


def annotated(
    refs: Sequence[SampleRef], annotations: Annotations, files: AnnotationFiles, *, required: bool = True
) -> Annotations:
    """`annotations` of the samples `refs`, and what the `files` say of them; where both say something, the files win.

    Raises SourceError naming the file, where `required` also for one that knows none of the samples.
    """
    if files == AnnotationFiles():
        return annotations
    asked = Asked.of(refs, required=required)
    metadata, defaults = _columns(files.metadata, asked)
    found = files.predictions.found_in(asked) if files.predictions else {}
    computed = {f"{task}/{name}": column for task, each in found.items() for name, column in each.scores.items()}
    scores = _scores(files.scores, asked) if files.scores else {}
    return Annotations(
        _with_defaults(_merged(annotations.metadata, metadata), defaults),
        _merged(_merged(annotations.scores, computed), scores),
        {**annotations.predictions, **{task: each.predictions for task, each in found.items()}},
    )


def foreseen(annotations: Annotations, files: AnnotationFiles, keys: Iterable[str]) -> Annotations:
    """What `annotated` will know, in columns without rows.

    Files about single pictures in a folder of metadata may hold more than its schema, so with such a folder all `keys`
    count as known. Raises SourceError naming a file that no sample could make good.
    """
    known = annotated((), annotations, files)
    if not isinstance(files.metadata, LightlyMetadata):
        return known
    return dataclasses.replace(known, metadata={**dict.fromkeys(keys, np.empty(0)), **known.metadata})


def _metadata(path: Path) -> Table | LightlyMetadata:
    return LightlyMetadata.read(path) if path.is_dir() else Table.read(path)


def _predictions(path: Path) -> _Predicted:
    for place in (path, path / ".lightly" / "predictions", path / "predictions"):
        if (place / "tasks.json").is_file():
            return LightlyPredictions.read(place)
    return read_label_files(path)


def _columns(metadata: Table | LightlyMetadata | None, asked: Asked) -> tuple[dict[str, Array], Mapping[str, object]]:
    if metadata is None:
        return {}, {}
    return metadata.columns_for(asked), metadata.defaults if isinstance(metadata, LightlyMetadata) else {}


def _scores(table: Table, asked: Asked) -> dict[str, Array]:
    """The columns of numbers. Raises SourceError where there is none, or one is infinite."""
    scores = {name: column for name, column in table.columns_for(asked).items() if column.dtype == np.float64}
    if not scores:
        raise SourceError(f"{table.path} has no column of numbers; a score is one, named `score` or `task/score`")
    for name, column in scores.items():
        if np.isinf(column).any():
            where = asked.names[int(np.isinf(column).argmax())]
            raise SourceError(f"{table.path}: the score {name!r} of {where} is infinite; leave unknown ones empty")
    return scores


def _merged(before: Mapping[str, Array], given: Mapping[str, Array]) -> dict[str, Array]:
    """The columns of both; a `given` value wins, and where it is unknown, one of the same type from `before` stays."""
    merged = {**before, **given}
    for name in before.keys() & given.keys():
        unknown = _unknown(given[name])
        if unknown.all():
            merged[name] = before[name]
        elif (before[name].dtype == object) == (given[name].dtype == object):
            merged[name] = np.where(unknown, before[name], given[name])
    return merged


def _with_defaults(columns: Mapping[str, Array], defaults: Mapping[str, object]) -> dict[str, Array]:
    """`columns` with the defaults in the place of what is unknown."""
    filled = dict(columns)
    for name, value in defaults.items():
        if filled[name].dtype == object or isinstance(value, float):
            filled[name] = filled[name].copy()
            filled[name][_unknown(filled[name])] = value
    return filled


def _unknown(column: Array) -> Array:
    """(N,) true for NaN and None."""
    return np.asarray(column == None) if column.dtype == object else np.isnan(column)  # noqa: E711, each by itself
