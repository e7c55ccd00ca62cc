"""What files say, attached to those that are chosen from and those they are compared with."""

from __future__ import annotations

import dataclasses

import numpy as np

from lightpool_core.annotating.files import AnnotationFiles, annotated
from lightpool_core.annotations import Annotations
from lightpool_core.arrays import Array
from lightpool_core.candidates import Candidates
from lightpool_core.selection.neighbours import ArrayView


def attached(candidates: Candidates, pool: ArrayView, files: AnnotationFiles) -> tuple[Candidates, ArrayView]:
    """`candidates` and `pool`, annotated by `files`; what they say of the pool is read when somebody looks at it.

    Raises SourceError naming the file, also for one that knows none of the candidates.
    """
    if files == AnnotationFiles():
        return candidates, pool
    known = annotated(candidates.refs, candidates.annotations, files)

    def known_of_pool() -> Annotations:
        if len(pool.refs) < len(pool):  # nobody knows what they are called
            return pool.annotations
        return annotated(pool.refs, pool.annotations, files, required=False)

    view = dataclasses.replace(pool, refs=lambda: pool.refs, annotations=known_of_pool)
    return dataclasses.replace(candidates, annotations=known), view


def stacked(*parts: tuple[Annotations, int]) -> Annotations:
    """The metadata of samples one after the other, each part with how many they are; unknown where a part has none."""
    names = sorted({name for known, _ in parts for name in known.metadata})
    return Annotations({name: _stacked([(known.metadata.get(name), n) for known, n in parts]) for name in names})


def _stacked(columns: list[tuple[Array | None, int]]) -> Array:
    words = any(column is not None and column.dtype == object for column, _ in columns)
    if not words:
        return np.concatenate([np.full(n, np.nan) if column is None else column for column, n in columns])
    plain = [value for column, n in columns for value in ([None] * n if column is None else column.tolist())]
    together = np.empty(len(plain), dtype=object)
    together[:] = [None if value != value else value for value in plain]  # noqa: PLR0124  # NaN
    return together
